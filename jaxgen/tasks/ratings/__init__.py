"""Ratings: what will a user make of an item? Embeddings whose products, or networks beside them, say it."""
