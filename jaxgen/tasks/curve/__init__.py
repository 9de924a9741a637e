"""Curve: a noisy sine by polynomials and networks, where overfitting is seen with the eye."""
