"""Transfer learning for 3D medical image segmentation, on MONAI: load, account, freeze, fine-tune, measure."""

__version__ = "0.1.0"
