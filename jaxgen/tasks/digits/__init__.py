"""Digits: which digit is an image of 8 by 8? Logistic regression, an MLP and a small CNN."""
