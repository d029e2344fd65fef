"""Preparation of raw scans: all images and labels of a subject on one grid."""
