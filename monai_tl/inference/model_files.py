"""Find a trained network's weights, run and bundle, and the config ids that a prediction uses; nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.errors import ConfigError
from monai_tl.transfer.weight_files import weights_at
from monai_tl.workflow.merged_config import bundle_config, merge_configs, read_run_config

# ids that a run's config and inference.yaml share: values, and parts that may refer to values
RUN_VALUES = ("modalities", "classes", "spacing", "orientation", "normalisation")
OF_OWN_NETWORK = ("head_norm",)  # of a config whose network is HighRes3DNet
WINDOWS = ("inference_window", "inference_overlap", "precision")
PARTS = ("network_def", "image_transforms")
READ_BY_PREDICTION = ("imports", "contract", "network", "preprocessing", "inferer", "postprocessing", "classes")


@dataclass(frozen=True)
class ModelFiles:
    """The files of a trained network.

    Attributes:
        weights: the folder that holds its weights.
        bundle: folder with ``configs/inference.yaml``.
        run_config: config of the run that trained it; None for a bundle with weights but without a run.
    """

    weights: Path
    bundle: Path
    run_config: dict[str, Any] | None

    def parts(self) -> dict[str, Any]:
        """Return the parts of the run's config that replace those in ``inference.yaml``."""
        config = self.run_config
        if config is None:
            return {}
        return {**{key: config[key] for key in PARTS}, **{key: config["validate"][key] for key in ("crop", "inferer")}}

    def config(self) -> dict[str, Any]:
        """Return ``inference.yaml`` with the run's values and parts; nothing is evaluated."""
        run = self.run_config or {}
        values = {key: run[key] for key in RUN_VALUES + OF_OWN_NETWORK + WINDOWS if key in run}
        return {**merge_configs([bundle_config(self.bundle, "inference")]), **values, **self.parts()}


def find_model_files(location: str, bundle_root: str | None = None) -> ModelFiles:
    """Find the files of a trained network.

    Args:
        location: a run folder, or a bundle, whose ``models`` folder is the run that trained it.
        bundle_root: the run's bundle, if it was moved.

    Raises:
        ConfigError: if it is neither a run folder nor a bundle, or if the run's bundle does not exist.
        TransferError: if there are no weights.
    """
    folder = Path(location)
    run = next((at for at in (folder, folder / "models") if (at / "config.yaml").is_file()), None)
    if run is None and not (folder / "configs").is_dir():
        raise ConfigError(f"'{location}' is neither a run folder (it has no config.yaml) nor a bundle (it has no configs)")
    weights_at(run or folder)
    config = read_run_config(run) if run else None
    bundle = Path(bundle_root or (config["bundle_root"] if config else folder))
    if not bundle.is_dir():
        raise ConfigError(f"the bundle of '{location}' does not exist at {bundle}; name its folder with --bundle_root")
    bundle_config(bundle, "inference")
    return ModelFiles(run or folder, bundle, config)
