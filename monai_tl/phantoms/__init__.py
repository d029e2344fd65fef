"""Phantom heads with known anatomy, in the layouts of real datasets."""
