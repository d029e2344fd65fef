"""Scans: read, their geometry and voxels, and pictures of them."""
