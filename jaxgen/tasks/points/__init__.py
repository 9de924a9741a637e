"""Points: of which of two kinds is a point? Perceptron, logistic regression, shallow and deep networks."""
