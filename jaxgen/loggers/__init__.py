"""Where people already look: a run's trials in TensorBoard, MLflow, Weights & Biases, trackio, or a logger of one's own."""
