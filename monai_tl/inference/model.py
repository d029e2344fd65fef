"""A trained network with its preprocessing, sliding window and postprocessing, from its bundle and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_tl.datasets.regions import painted_values
from monai_tl.device import choose_device
from monai_tl.inference.model_files import OF_OWN_NETWORK, PARTS, READ_BY_PREDICTION, RUN_VALUES, WINDOWS, find_model_files
from monai_tl.storage.files import sha256_of
from monai_tl.transfer.source import find_weights
from monai_tl.workflow.config_check import check_config
from monai_tl.workflow.merged_config import bundle_config
from monai_tl.workflow.overrides import read_overrides, refuse_idle_overrides, refuse_unknown_overrides
from monai_tl.workflow.task_file import TaskFile, read_task_file


@dataclass(frozen=True)
class Model:
    """A bundle's ``inference.yaml`` with a run's settings; weights are loaded when ``network`` is first used.

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
        """The network's weights file."""
        return find_weights(self.part("ckpt"))

    @property
    def task(self) -> TaskFile:
        """The bundle's task file: class codes, plausible volumes and the like."""
        return read_task_file(Path(self.part("bundle_root")))

    def part(self, name: str) -> Any:
        """Return the object or value of an id of ``inference.yaml``."""
        return self.parser.get_parsed_content(name)

    def set(self, overrides: Mapping[str, Any], also: Sequence[str] = ()) -> None:
        """Set ids of ``inference.yaml``, e.g. ``{"device": "cuda"}``; ``also`` are names to suggest for misspelt ids.

        Raises:
            ConfigError: if an id does not exist or no part of a prediction reads it, if a device is not available, or if a
                setting, including those of the run, is invalid.
        """
        refuse_unknown_overrides(self.parser.get(), overrides, also)
        values = read_overrides(self.parser.get(), overrides)
        refuse_idle_overrides(self.parser.get(), values, READ_BY_PREDICTION)
        device = {"device": str(choose_device(str(values["device"])))} if "device" in values else {}
        self.parser.update({**values, **device})
        check_config(self.parser)

    def settings(self) -> dict[str, Any]:
        """Return all settings that determine the voxels of a prediction, as plain data."""
        values = {key: self.part(key) for key in RUN_VALUES + OF_OWN_NETWORK + WINDOWS if key in self.parser}
        parts = {key: self.parser[key] for key in (*PARTS, "crop", "inferer")}
        shown = painted_values(self.part("regions"))  # the voxel values of a segmentation, by region
        return {"weights_sha256": sha256_of(self.weights), "segmentation_values": shown, **values, **parts}


def find_model(location: str | Path, bundle_root: str | None = None) -> Model:
    """Read the config of a trained network; no weights are loaded yet.

    Args:
        location: a run folder, or a bundle, whose ``models`` folder is the run that trained it.
        bundle_root: the run's bundle, if it was moved.

    Raises:
        ConfigError: if it is neither a run folder nor a bundle.
        TransferError: if there are no weights.

    Example:
        >>> from monai_tl import find_model
        >>> type(find_model("runs/hippocampus").part("network")).__name__
        'HighRes3DNet'
    """
    files = find_model_files(str(location), bundle_root)
    parser = ConfigParser()
    parser.read_config(str(bundle_config(files.bundle, "inference")))
    values = _values_of(files.run_config) if files.run_config else {}
    parser.update({**values, **files.parts(), "bundle_root": str(files.bundle), "ckpt": str(find_weights(files.weights))})
    return Model(parser)


def _values_of(config: dict[str, Any]) -> dict[str, Any]:
    """Return the evaluated settings of a run, so that scans are processed as in its validation."""
    parser = ConfigParser(config)
    return {key: parser.get_parsed_content(key) for key in RUN_VALUES + OF_OWN_NETWORK + WINDOWS if key in config}
