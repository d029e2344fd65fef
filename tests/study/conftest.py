"""A study's plan on the phantoms, and runs that are files alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monai_tl.networks.stage_map import StageMap
from monai_tl.storage.files import write_json
from monai_tl.study.request import Request
from monai_tl.study.study_plan import PlannedRun, Study, cross
from monai_tl.study.subsets import Size
from monai_tl.training.cost import Cost, write_costs
from monai_tl.training.metrics_table import write_metrics
from monai_tl.transfer.arms import read_arms
from tests.conftest import BRATS, TINY, leave_scores, score_of

STAGES = StageMap({name: (name,) for name in ("conv_0", "res_1", "res_2", "res_3", "conv_1", "conv_2")})


@pytest.fixture
def request_of(phantoms: Path, source: Path) -> Callable[..., Request]:
    """Give what a verb asks for, on the phantoms: ``request_of(arms=("scratch",), settings={"patience": 2})``."""

    def ask(**changes: Any) -> Request:
        settings = {"dataset_dir": str(phantoms / "brats"), **TINY, **changes.pop("settings", {})}
        asked = Request("size", str(BRATS), str(source), ("scratch", "2"), ("1", "2", "all"), (0, 1), settings=settings)
        return replace(asked, **changes)

    return ask


def a_study(arms: str = "scratch,0", sizes: tuple[int, ...] = (26,), seeds: tuple[int, ...] = (0,), **parts: Any) -> Study:
    """Give a plan without a bundle or data, 100 iterations an arm."""
    read = read_arms(arms.split(","), STAGES)
    runs = tuple(cross(read, [Size(n) for n in sizes], seeds, "/source", {arm.name: 100 for arm in read}))
    common: dict[str, Any] = {
        "kind": "size",
        "target": "/bundle",
        "source": {"path": "/source", "weights": "/source/model.pt", "sha256": "a" * 64},
        "configs": {"/bundle/configs/train.yaml": "b" * 64},
        "datalist": {"path": "/data/datalist.json", "sha256": "c" * 64},
        "settings": {"patience": 0},
        "rule": {},
        "threads": 1,
        "volumes_ml": {"one": 1.5},
    }
    axes = {"arms": tuple(arm.name for arm in read), "sizes": sizes, "seeds": seeds, "runs": runs}
    return Study(**{**common, **axes, **parts})


def finish(folder: Path, run: PlannedRun, dices: list[float], test: float = 0.5) -> None:
    """Leave what a run leaves: validations every 25 iterations, costs, the best Dice, scores of two cases."""
    place = folder / run.folder
    at = range(25, 25 * len(dices) + 1, 25)
    rows = [
        {"iteration": n, "loss": 1.0, "val_dice": dice, "learning_rate": 0.1, "seconds": n / 10}
        for n, dice in zip(at, dices, strict=True)
    ]
    write_metrics(place / "metrics.csv", rows)
    write_costs(place / "cost.csv", [Cost(n, 0.25, 100.0 + n) for n in at])
    write_json(place / "metadata.json", {"validation_dice": max(dices)})
    leave_scores(place, [score_of(name, test, 2.0, 10.0, 9.0, 0.1) for name in ("A", "B")])
