"""The report of `monai_tl check`."""
