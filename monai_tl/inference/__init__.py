"""Predict scans with a trained network; segmentations lie on each case's own grid."""
