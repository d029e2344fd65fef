"""Bundle configs: merged, checked and run."""
