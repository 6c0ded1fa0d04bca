"""Training, prediction and evaluation with Lightning."""
