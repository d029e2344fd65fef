"""Quality control: the measures and judgements of `monai_tl check`."""
