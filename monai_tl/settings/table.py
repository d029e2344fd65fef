"""Every setting of the bundles' configs: its type, its range and an example, in one table that all parts ask.

A setting is a top-level id that users set, on the command line or in a config. Whatever reads, checks or explains one asks
here, before anything is made; what follows from settings, or is built from them, is no setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.values import Either, Kind, Listed, Nothing, Number, Text, Whole, Words, YesNo

LARGEST_SEED = 2**32 - 1  # MONAI takes seeds modulo 2**32: a larger one would be another run's

EXPRESSION = ("$", "@", "%")  # with which a config's text begins that MONAI evaluates
SPLITS = ("train", "validation", "test")

PATH = Text("a path without #, which MONAI would change", r"(?s)[^#]*[^#\s][^#]*")
NAME = Text("a name without #, which MONAI would change", PATH.pattern)
SEED = Whole(0, LARGEST_SEED, example="0")
COUNT = Whole(1)
POLICY = Words(("refuse", "leave_out"))  # on cases that lack something
ENGINE = Words(("here", "ray"))  # what does the runs of a study
NAMES = Listed(NAME, "different names without #, e.g. \"['T1','T2']\"", different=True)
LABELS = Listed(Whole(1), "label values, whole numbers from 1 joined by commas, each once, e.g. 1,4", different=True)
EDGES = "three whole numbers from 1 to 1024 (voxels), e.g. [32,32,32]"
WINDOW = Listed(Whole(1, 1024), EDGES, count=3)  # the largest edge by far of what a scan has
CLASSES = Listed(
    NAME,
    "two different names, of the background and of one foreground (several regions are not supported yet), e.g. "
    "\"['background','tumour core']\"",
    count=2,
    different=True,
)
SPACING = Listed(Number(above=0), "three lengths in mm above 0, e.g. [1.0, 1.0, 1.0]", count=3)
RATIOS = Listed(
    Number(least=0), "two numbers from 0, not both 0, for background and foreground, e.g. [1,1]", count=2, any_above=0
)
ORIENTATION = Text("three axis codes, of R/L, A/P and I/S one each, e.g. RAS", r"(?=.*[RL])(?=.*[AP])(?=.*[IS])[RLAPIS]{3}")
STAGES = "how many first stages are frozen, a whole number from 0, or the last one's name, e.g. 2 or res_1"
STAGE = Text("a stage's name", r"[^\W\d]\w*")

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
    "normalisation": Words(("zscore_volume", "zscore_nonzero")),
    # how
    "iterations": Whole(1, example="4000"),
    "validate_every": Whole(1, unit="iterations", example="50"),
    "val_interval": Whole(1, 1, what="1 alone: validate_every says how many iterations lie between validations"),
    "patience": Whole(0, unit="iterations; 0: no early stop", example="300"),
    "batch_size": Whole(1, unit="windows a step", example="2"),
    "window": WINDOW,
    "class_ratios": RATIOS,
    "rotation": Number(least=0, most=180, unit="degrees", example="10"),
    "scaling": Number(least=0, below=1, example="0.1"),
    "learning_rate": Number(above=0, example="1.0e-3"),
    "weight_decay": Number(least=0, example="1.0e-2"),
    "warm_up": Number(least=0, most=1, unit="share of the iterations", example="0.1"),
    "stage_rate": Number(above=0, example="0.5"),
    "head_rate": Number(above=0, example="10"),
    "head_norm": YesNo(),
    "inference_window": WINDOW,
    "inference_overlap": Number(least=0, below=1, unit="share of a window", example="0.25"),
    "cache_rate": Number(least=0, most=1, unit="share of the cases", example="1.0"),
    "workers": Whole(0, 128, unit="processes", example="4"),
    # transfer
    "source": Either((Nothing(), PATH), "a bundle, a run folder, a .pt or .safetensors file, or null"),
    "freeze": Either((Whole(0), STAGE), STAGES),
    "norm": Words(("freeze", "track")),
    "fresh": Either(
        (Nothing(), Text("", r"[^\[\]()]*\S[^\[\]()]*"), Listed(STAGE, "", different=True, empty=True)),
        "stages joined by commas, e.g. conv_1,conv_2, or none",
    ),
    "new_channels": Words(("zero", "mean", "frozen")),
    "accept_differences": YesNo(),
    "accept_overlap": YesNo(),
    # evaluation and inference
    "split": Words(SPLITS),
    "ckpt": PATH,
    "scores": PATH,
    "overlays": PATH,
    "output_dir": PATH,
    "probabilities": YesNo(),
}
DESCRIPTIONS = {
    "bundle_root": "the bundle's folder",
    "dataset_dir": "folder that holds the datalist",
    "datalist": "the datalist itself",
    "run_dir": "the run's folder",
    "resume": "go on with the run that the folder holds",
    "device": "where the network is",
    "precision": "number format of the convolutions; auto: bfloat16 where the device has it",
    "seed": "of weights, patches and augmentation",
    "anonymous": "keep pseudonyms in place of subject ids with the weights",
    "modalities": "image channels by name, in order",
    "classes": "names of background and foreground",
    "spacing": "that images are resampled to, along right, anterior, superior",
    "orientation": "to which voxel axes point",
    "normalisation": "each modality by its whole volume, or by its voxels that are not zero",
    "iterations": "steps of the optimiser, at most",
    "validate_every": "steps between validations",
    "val_interval": "epochs between validations",
    "patience": "steps without a better validation until training stops",
    "batch_size": "patches a step",
    "window": "size of a training patch",
    "class_ratios": "share of patches centred on background and foreground",
    "rotation": "random, at most, about each axis",
    "scaling": "random relative change of size, at most",
    "learning_rate": "AdamW's peak step size",
    "weight_decay": "of AdamW",
    "warm_up": "in which the learning rate rises",
    "stage_rate": "factor on the learning rate for each stage away from the head",
    "head_rate": "factor on the learning rate of the head",
    "head_norm": "BatchNorm on the logits, as in the 2019 study",
    "inference_window": "size of the sliding window",
    "inference_overlap": "of neighbouring windows",
    "cache_rate": "that is kept in memory, preprocessed",
    "workers": "that draw patches",
    "source": "what is transferred; null: random weights",
    "freeze": "",  # what it takes says it
    "norm": "BatchNorm statistics of frozen stages: frozen too, or they follow the new data",
    "fresh": "stages that start from random weights; null: the head where the classes differ",
    "new_channels": "how modalities start that the source does not know",
    "accept_differences": "go on where spacing, orientation or normalisation differ or are unknown",
    "accept_overlap": "go on where the source was trained on test cases; every report says so",
    "split": "that is scored or predicted",
    "ckpt": "the weights file",
    "scores": "the table of scores",
    "overlays": "folder of a picture a case",
    "output_dir": "folder of the predictions",
    "probabilities": "write the foreground's probability too",
}
"""What each setting is, for help."""
FOLLOWS = {
    "epochs": "iterations and validate_every",
    "margin": "window, rotation and scaling",
    "room": "window, rotation and scaling",
}
"""Ids that hold an expression of settings; a value in its place would contradict them."""
REFERRED: dict[str, Kind] = {
    **SETTINGS,
    "epochs": COUNT,
    "margin": Listed(Whole(0), "three whole numbers from 0 (voxels)", count=3),
    "room": Listed(COUNT, "three whole numbers from 1 (voxels)", count=3),
}
"""What an id inside a config takes in the place of a reference, ``@window``."""


def problems(given: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with settings: each with its kind, then those that contradict each other.

    Args:
        given: value by id, evaluated; ids that are no settings are passed over.
    """
    told = [refusal(name, SETTINGS[name], value) for name, value in given.items() if name in SETTINGS]
    right = {name: value for name, value in given.items() if name in SETTINGS and SETTINGS[name].allows(value)}
    return [*filter(None, told), *_contradictions(right)]


def refuse_settings(**given: Any) -> None:
    """Refuse settings that are wrong or contradict each other; of those that are given, by id.

    Raises:
        ConfigError: with all that is wrong.
    """
    raise_refusals(problems(given))


def is_true(resume: bool | str) -> bool:
    """Say if a run is to be resumed: ``monai.bundle`` hands ``--resume true`` on as text.

    Raises:
        ConfigError: if it is neither true nor false.
    """
    refuse_settings(resume=resume)
    return resume if isinstance(resume, bool) else YesNo().read(resume)


def _contradictions(right: Mapping[str, Any]) -> list[str]:
    told = []
    every, iterations, patience = (right.get(name) for name in ("validate_every", "iterations", "patience"))
    if every and iterations and iterations % every:
        told.append(f"iterations ({iterations}) must be a multiple of validate_every ({every}); set that too")
    if every and patience and patience < every:
        told.append(
            f"patience ({patience}) counts iterations and is shorter than validate_every ({every}), so the first validation "
            f"that is not better would end training; give {every} or more, or 0 for no early stop"
        )
    if "background" in right.get("classes", ())[1:]:
        told.append(f"classes names the background first; got {list(right['classes'])}")
    return told
