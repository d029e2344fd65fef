"""What `monai_tl check` measures."""
