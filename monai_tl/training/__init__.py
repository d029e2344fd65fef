"""Training: patches, handlers, checkpoints and run folders."""
