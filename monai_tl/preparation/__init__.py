"""Preparation of raw IXI: every subject's scans and labels on one grid."""
