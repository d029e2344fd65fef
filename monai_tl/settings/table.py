"""The one table of all settings of the bundles' configs, with type, range and example.

A setting is a top-level id that users set, on the command line or in a config. Ids that are computed or built from settings are
not settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_tl.settings.normalisation import Normalisations, normalisation_for
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.values import Either, Kind, Listed, Nothing, Number, Pairs, Text, Whole, Words, YesNo

LARGEST_SEED = 2**32 - 1  # MONAI takes seeds modulo 2**32: a larger one would repeat another seed's run

EXPRESSION = ("$", "@", "%")  # prefixes of config texts that MONAI evaluates
SPLITS = ("train", "validation", "test")

PATH = Text("a path without #, which MONAI would replace", r"(?s)[^#]*[^#\s][^#]*")
NAME = Text("a name without #, which MONAI would replace", PATH.pattern)
SEED = Whole(0, LARGEST_SEED, example="0")
COUNT = Whole(1)
POLICY = Words(("refuse", "leave_out"))  # for incomplete cases
ENGINE = Words(("here", "ray"))  # where the runs of a study are executed
NAMES = Listed(NAME, "different names without #, e.g. \"['T1','T2']\"", different=True)
LABELS = Listed(Whole(1), "different label values, whole numbers from 1, separated by commas, e.g. 1,4", different=True)
EDGES = "three whole numbers from 1 to 1024 (voxels), e.g. [32,32,32]"
WINDOW = Listed(Whole(1, 1024), EDGES, count=3)  # no scan has an edge of more than 1024 voxels
CLASSES = Listed(
    NAME,
    "different names: background, then a region each, which exclude each other; or regions alone, which may overlap, e.g. "
    "\"['background','tumour core']\"",
    different=True,
)
SPACING = Listed(Number(above=0), "three lengths above 0 in mm, e.g. [1.0, 1.0, 1.0]", count=3)
RATIOS = Listed(
    Number(least=0),
    "two numbers from 0, not all 0, for background and foreground, or one for background and each region, e.g. [1,1]",
    least=2,
    any_above=0,
)
ORIENTATION = Text("three axis codes, one each of R/L, A/P and I/S, e.g. RAS", r"(?=.*[RL])(?=.*[AP])(?=.*[IS])[RLAPIS]{3}")
METRIC_NAMES = (
    "dice", "hd95", "nsd", "asd", "volume_error", "relative_volume_error", "sensitivity", "precision", "lesion_f1"
)  # fmt: skip
LENGTH = Number(above=0, unit="mm")
STAGES = "the number of frozen stages, a whole number from 0, or the name of the last frozen stage, e.g. 2 or res_1, or frozen "
STAGES += "stages joined by +, e.g. conv_0+res_2"
STAGE = Text("a stage's name", r"[^\W\d]\w*")
STRATEGY = Text("the name of a strategy, e.g. head, lora8, gradual, llrd0.75 (see docs/strategies.md)", r"[^\s#]+")

SETTINGS: dict[str, Kind] = {
    # where
    "bundle_root": PATH,
    "dataset_dir": PATH,
    "datalist": PATH,
    "run_dir": PATH,
    "resume": YesNo(as_text=True),
    "device": Text("auto, cpu, cuda or cuda:1", r"auto|cpu|mps|cuda(:\d+)?|mps:\d+", also="device"),
    "precision": Words(("auto", "bfloat16", "float32")),
    "seed": SEED,
    "anonymous": YesNo(),
    # what
    "modalities": NAMES,
    "classes": CLASSES,
    "spacing": SPACING,
    "orientation": ORIENTATION,
    "normalisation": Normalisations(),
    # how
    "iterations": Whole(1, example="4000"),
    "validate_every": Whole(1, unit="iterations", example="50"),
    "val_interval": Whole(1, 1, what="only 1: validate_every sets the number of iterations between validations"),
    "patience": Whole(0, unit="iterations; 0: no early stopping", example="300"),
    "batch_size": Whole(1, unit="patches per step", example="2"),
    "window": WINDOW,
    "class_ratios": RATIOS,
    "rotation": Number(least=0, most=180, unit="degrees", example="10"),
    "scaling": Number(least=0, below=1, example="0.1"),
    "learning_rate": Number(above=0, example="1.0e-3"),
    "weight_decay": Number(least=0, example="1.0e-2"),
    "warm_up": Number(least=0, most=1, unit="fraction of the iterations", example="0.1"),
    "stage_rate": Number(above=0, example="0.5"),
    "head_rate": Number(above=0, example="10"),
    "head_norm": YesNo(),
    "inference_window": WINDOW,
    "inference_overlap": Number(least=0, below=1, unit="fraction of a window", example="0.25"),
    "cache_rate": Number(least=0, most=1, unit="fraction of the cases", example="1.0"),
    "workers": Whole(0, 128, unit="processes", example="4"),
    # transfer
    "source": Either((Nothing(), PATH), "a bundle, a run folder, a .pt or .safetensors file, or null"),
    "strategy": Either((Nothing(), Whole(0), STRATEGY), STRATEGY.what),
    "freeze": Either((Whole(0), Text(STAGES, r"\+?[^\W\d]\w*(\+[^\W\d]\w*)*")), STAGES),
    "norm": Words(("freeze", "track")),
    "fresh": Either(
        (Nothing(), Text("", r"[^\[\]()]*\S[^\[\]()]*"), Listed(STAGE, "", different=True, empty=True)),
        "stages separated by commas, e.g. conv_1,conv_2, or none",
    ),
    "rename": Either((Nothing(), Pairs(NAME, "")), "names SOURCE=TARGET separated by commas, each given once, e.g. MR=T1"),
    "new_channels": Words(("zero", "mean", "frozen")),
    "accept_differences": YesNo(),
    "accept_overlap": YesNo(),
    # evaluation and inference
    "split": Words(SPLITS),
    "ckpt": PATH,
    "scores": PATH,
    "metrics": Listed(Words(METRIC_NAMES), f"metrics separated by commas, of {', '.join(METRIC_NAMES)}", different=True),
    "tolerance": Either((LENGTH, Listed(LENGTH, "")), "a length above 0 in mm, or one per region, e.g. 1 or [1,2]"),
    "overlays": PATH,
    "output_dir": PATH,
    "probabilities": YesNo(),
}
DESCRIPTIONS = {
    "bundle_root": "the bundle's folder",
    "dataset_dir": "folder of the datalist",
    "datalist": "the datalist file",
    "run_dir": "the run folder",
    "resume": "resume the run in the run folder",
    "device": "device to compute on",
    "precision": "number format of the convolutions; auto: bfloat16 if the device supports it",
    "seed": "seed of weights, patches and augmentation",
    "anonymous": "store pseudonyms instead of subject ids with the weights",
    "modalities": "image channels by name, in order",
    "classes": "names of background and foreground",
    "spacing": "voxel spacing that images are resampled to, along right, anterior, superior",
    "orientation": "directions of the voxel axes",
    "normalisation": "how the intensities of each modality are normalised",
    "iterations": "largest number of training steps",
    "validate_every": "training steps between validations",
    "val_interval": "epochs between validations",
    "patience": "stop early after so many training steps without a better validation Dice",
    "batch_size": "training patches per step",
    "window": "size of a training patch",
    "class_ratios": "ratio of training patches centred on background and on foreground, or on each region",
    "rotation": "augmentation: largest random rotation about each axis",
    "scaling": "augmentation: largest random change of size, as a fraction",
    "learning_rate": "AdamW's peak step size",
    "weight_decay": "AdamW's weight decay",
    "warm_up": "warm-up, in which the learning rate rises",
    "stage_rate": "factor on the learning rate for each stage away from the head",
    "head_rate": "factor on the learning rate of the head",
    "head_norm": "BatchNorm on the logits, as in the 2019 study",
    "inference_window": "size of the sliding window",
    "inference_overlap": "overlap of neighbouring sliding windows",
    "cache_rate": "preprocessed cases that are kept in memory",
    "workers": "processes that draw training patches",
    "source": "weights to transfer; null: random weights",
    "strategy": "how the target learns; null: as freeze says",
    "freeze": "",  # the text of its kind is enough
    "norm": "BatchNorm statistics of frozen stages: freeze them too, or let them follow the new data",
    "fresh": "stages that are newly initialised; null: the head if it shares no region with the source's",
    "rename": "modalities whose name in the source (SOURCE) is another in the target (TARGET)",
    "new_channels": "initial weights of modalities that the source does not have",
    "accept_differences": "continue if spacing, orientation or normalisation differ or are unknown",
    "accept_overlap": "continue if the source was trained on test cases; every report says so",
    "split": "split to score or predict",
    "ckpt": "the weights file",
    "scores": "the table of scores",
    "metrics": "what cases are scored by; Dice always is",
    "tolerance": "deviation of a surface that counts as none, for nsd (normalised surface Dice)",
    "overlays": "folder for one picture per case",
    "output_dir": "folder of the predictions",
    "probabilities": "also write the foreground probability",
}
"""Help text of each setting."""
FOLLOWS = {
    "epochs": "iterations and validate_every",
    "margin": "window, rotation and scaling",
    "room": "window, rotation and scaling",
}
"""Ids that are computed from settings; a fixed value could contradict these."""
REFERRED: dict[str, Kind] = {
    **SETTINGS,
    "epochs": COUNT,
    "margin": Listed(Whole(0), "three whole numbers from 0 (voxels)", count=3),
    "room": Listed(COUNT, "three whole numbers from 1 (voxels)", count=3),
}
"""What a nested config id takes in place of a reference such as ``@window``."""


def problems(given: Mapping[str, Any]) -> list[str]:
    """List the problems of settings: invalid values, then valid values that contradict each other.

    Args:
        given: evaluated value by id; ids that are not settings are ignored.
    """
    refusals = [refusal(name, SETTINGS[name], value) for name, value in given.items() if name in SETTINGS]
    valid = {name: value for name, value in given.items() if name in SETTINGS and SETTINGS[name].allows(value)}
    return [*filter(None, refusals), *_contradictions(valid)]


def refuse_settings(**given: Any) -> None:
    """Refuse settings, passed by id, that are invalid or contradict each other.

    Raises:
        ConfigError: with all problems.
    """
    raise_refusals(problems(given))


def is_true(resume: bool | str) -> bool:
    """Return whether a run is to be resumed; ``monai.bundle`` passes ``--resume true`` as text.

    Raises:
        ConfigError: if the value is neither true nor false.
    """
    refuse_settings(resume=resume)
    return resume if isinstance(resume, bool) else YesNo().read(resume)


def _contradictions(valid: Mapping[str, Any]) -> list[str]:
    found = []
    every, iterations, patience = (valid.get(name) for name in ("validate_every", "iterations", "patience"))
    if every and iterations and iterations % every:
        found.append(f"iterations ({iterations}) must be a multiple of validate_every ({every}); set that too")
    if every and patience and patience < every:
        found.append(
            f"patience ({patience}) counts iterations and is shorter than validate_every ({every}), so training would stop at "
            f"the first validation without improvement; set {every} or more, or 0 for no early stopping"
        )
    if "normalisation" in valid and "modalities" in valid:
        try:
            normalisation_for(valid["normalisation"], len(valid["modalities"]))
        except ValueError as error:
            found.append(str(error))
    if "background" in valid.get("classes", ())[1:]:
        found.append(f"classes must name the background first; got {list(valid['classes'])}")
    return found
