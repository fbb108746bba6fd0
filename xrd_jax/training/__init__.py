"""Loss, the pure step, seeds, the loop, checkpoints and TensorBoard."""
