"""The settings of the bundles' configs: types, ranges, and how text is read."""
