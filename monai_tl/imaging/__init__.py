"""Reading scans, their geometry and voxels, and drawing them."""
