"""A trained network with all that stands between a scan and its prediction, as its run's config tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_tl.device import choose_device
from monai_tl.errors import ConfigError
from monai_tl.storage.files import sha256_of
from monai_tl.transfer.source import find_weights
from monai_tl.workflow.config_check import check_config, read_overrides
from monai_tl.workflow.launch import bundle_config, read_run_config, refuse_idle_overrides, refuse_unknown_overrides
from monai_tl.workflow.task_file import TaskFile, read_task_file

# ids of a run's config that inference.yaml has too: values, and parts that may refer to them
VALUES = ("modalities", "classes", "spacing", "orientation", "normalisation", "head_norm")
WINDOWS = ("inference_window", "inference_overlap", "precision")
PARTS = ("network_def", "image_transforms")
READ = ("imports", "contract", "network", "preprocessing", "inferer", "postprocessing", "classes")  # by a prediction


@dataclass(frozen=True)
class Model:
    """A bundle's ``inference.yaml`` with a run's settings in it; weights are loaded when ``network`` is asked for.

    Example:
        >>> from monai_tl import find_model
        >>> model = find_model("runs/hippocampus")
        >>> model.set({"inference_window": [16, 16, 16]})
        >>> model.part("modalities"), model.part("spacing"), model.part("inference_window")
        (['T1', 'T2'], [1.0, 1.0, 1.0], [16, 16, 16])
    """

    parser: ConfigParser

    @property
    def weights(self) -> Path:
        """The file that the network is loaded from."""
        return find_weights(self.part("ckpt"))

    @property
    def task(self) -> TaskFile:
        """What the bundle knows of its task besides its configs."""
        return read_task_file(Path(self.part("bundle_root")))

    def part(self, name: str) -> Any:
        """Give the object or value of an id of ``inference.yaml``."""
        return self.parser.get_parsed_content(name)

    def set(self, overrides: Mapping[str, Any], also: Sequence[str] = ()) -> None:
        """Set ids of ``inference.yaml`` to other values, e.g. ``{"device": "cuda"}``; ``also`` may have been meant.

        Raises:
            ConfigError: if an id does not exist, no part of a prediction reads it, a device is not there, or settings, the
                run's own too, cannot be used.
        """
        refuse_unknown_overrides(self.parser, overrides, also)
        told = read_overrides(self.parser, overrides)
        refuse_idle_overrides(self.parser, told, READ)
        device = {"device": str(choose_device(str(told["device"])))} if "device" in told else {}
        self.parser.update({**told, **device})
        check_config(self.parser)

    def settings(self) -> dict[str, Any]:
        """Give what the voxels of a prediction depend on, as plain data."""
        values = {key: self.part(key) for key in VALUES + WINDOWS}
        parts = {key: self.parser[key] for key in (*PARTS, "crop", "inferer")}
        return {"weights_sha256": sha256_of(self.weights), **values, **parts}


def find_model(location: str | Path, bundle_root: str | None = None) -> Model:
    """Read how to predict; no weights are loaded yet.

    Args:
        location: a run folder, or a bundle, whose ``models`` folder is the run that trained it.
        bundle_root: the bundle of a run, where it has moved.

    Raises:
        ConfigError: if it is neither.
        TransferError: if there are no weights.

    Example:
        >>> from monai_tl import find_model
        >>> type(find_model("runs/hippocampus").part("network")).__name__
        'HighRes3DNet'
    """
    folder = Path(location)
    run = next((at for at in (folder, folder / "models") if (at / "config.yaml").is_file()), None)
    if run is None and not (folder / "configs").is_dir():
        raise ConfigError(f"'{location}' is neither a run folder (it has no config.yaml) nor a bundle (it has no configs)")
    weights = find_weights(run or folder)
    config = read_run_config(run) if run else {"bundle_root": str(folder)}
    bundle = Path(bundle_root or config["bundle_root"])
    if not bundle.is_dir():
        raise ConfigError(f"the bundle that '{location}' was trained by is no longer at {bundle}; name it by --bundle_root")
    parser = ConfigParser()
    parser.read_config(str(bundle_config(bundle, "inference")))
    parser.update({**(_settings_of(config) if run else {}), "bundle_root": str(bundle), "ckpt": str(weights)})
    return Model(parser)


def _settings_of(config: dict[str, Any]) -> dict[str, Any]:
    """Give what ``inference.yaml`` takes from the config of a run, so that scans are seen as in its validation."""
    parser = ConfigParser(config)
    values = {key: parser.get_parsed_content(key) for key in VALUES + WINDOWS}
    return {**values, **{key: config[key] for key in PARTS}, **{key: config["validate"][key] for key in ("crop", "inferer")}}
