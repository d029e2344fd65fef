"""Raw IXI onto one grid."""
