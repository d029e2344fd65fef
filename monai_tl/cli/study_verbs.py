"""Verbs about studies: grids of arms, sizes of the training set and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from monai_tl.cli.arguments import flags_of, names
from monai_tl.cli.run_verbs import SOURCE, TARGET
from monai_tl.errors import ConfigError
from monai_tl.settings.table import ENGINE
from monai_tl.settings.values import Number, Whole

LAYERS = "scratch,0,1,2,3,4,5,random2"
SIZES = "0.25,0.5,0.75,1.0"
Parallel = Annotated[int, Whole(1, unit="runs at a time")]
EngineName = Annotated[str, ENGINE]
Gain = Annotated[float, Number(least=0, below=1, unit="a difference in Dice", example="0.01")]


def layers(
    *,
    source: str = SOURCE,
    target: str = TARGET,
    arms: str = LAYERS,
    sizes: str = "all",
    seeds: str = "3",
    output: str = "studies/layers",
    overlay: str | None = None,
    budget: str = "",
    lists: str | None = None,
    training_dice: bool = False,
    parallel: Parallel = 1,
    engine: EngineName = "here",
    plan: bool = False,
    **overrides: Any,
) -> None:
    """How many stages should be held still? One run an arm and seed: --arms scratch,0,1,2,3,4,5,random2 --seeds 3 [--plan].

    scratch: no source; 0 to 5: transfers with so many first stages frozen; random2: two frozen random stages. Any id of the
    target's configs is a flag, the same for all runs: --dataset_dir DIR --iterations 4000 --patience 1500 …; --budget
    scratch=5000,default=1500 gives arms their own iterations; --training_dice scores the training cases too. --plan shows
    the grid and what it may cost, and stops. The same command goes on with a study that was ended; --parallel N runs N at a
    time, --engine ray on a Ray cluster.
    """
    asked: dict[str, Any] = {"target": target, "source": source, "overlay": overlay, "training_dice": training_dice}
    asked |= {"arms": _arms(arms), "sizes": names(sizes), "seeds": seeds, "budget": budget, "lists": lists}
    _do(layers, asked, output, (parallel, engine, plan), overrides)


def size(
    *,
    source: str = SOURCE,
    target: str = TARGET,
    sizes: str = SIZES,
    arms: str = "scratch,1,2,3",
    seeds: str = "3",
    output: str = "studies/size",
    overlay: str | None = None,
    budget: str = "",
    lists: str | None = None,
    training_dice: bool = False,
    parallel: Parallel = 1,
    engine: EngineName = "here",
    plan: bool = False,
    **overrides: Any,
) -> None:
    """How many labels does a transfer save? --sizes 26,52,78,105 --arms scratch,1,2,3 --seeds 3 [--plan].

    Sizes are counts, fractions of the training split (0.25,0.5,1) or lists by name (S1,S2; --lists FILE, else the target's
    splits/study.json). Sets are nested, drawn per seed, stratified by foreground volume. All else as in study layers.
    """
    asked: dict[str, Any] = {"target": target, "source": source, "overlay": overlay, "training_dice": training_dice}
    asked |= {"arms": _arms(arms), "sizes": names(sizes), "seeds": seeds, "budget": budget, "lists": lists}
    _do(size, asked, output, (parallel, engine, plan), overrides)


def depth(
    *,
    source: str = SOURCE,
    target: str = TARGET,
    search: bool = False,
    gain: Gain | None = None,
    seeds: str = "1",
    output: str = "studies/depth",
    overlay: str | None = None,
    parallel: Parallel = 1,
    engine: EngineName = "here",
    plan: bool = False,
    **overrides: Any,
) -> None:
    """How deep should a network be fine-tuned? From the head inwards until validation stops improving: --search [--seeds 1].

    Each round trains one stage more, for every seed (Tajbakhsh 2016); it ends with the first whose mean best validation
    Dice is not higher by --gain 0.01. Without --search all depths are trained. --plan, --parallel, --engine and config ids
    as in study layers.
    """
    if gain is not None and not search:
        raise ConfigError("--gain ends a search: add --search, or leave it away to train all depths")
    rule = {"gain": float(0.01 if gain is None else gain)} if search else {}
    asked: dict[str, Any] = {"target": target, "source": source, "overlay": overlay, "rule": rule}
    _do(depth, asked | {"arms": (), "sizes": ("all",), "seeds": seeds}, output, (parallel, engine, plan), overrides)


def gather_tables(*, output: str) -> None:
    """Write scores.csv, runs.csv and curves.csv of a study from its runs, finished or not: --output STUDY."""
    from monai_tl.study.study_plan import read_study

    read_study(Path(output))
    from monai_tl.study.gather import gather

    found = gather(Path(output))
    told = f"{found.finished} of {found.runs} runs finished, {found.failed} failed"
    print(f"{output}: {told}; {found.scores} scores in scores.csv, runs.csv and curves.csv beside it")


def _arms(text: str) -> tuple[str, ...]:
    """Read arms; none at all would mean every depth, as `depth` asks for."""
    arms = names(text)
    if not arms:
        raise ConfigError(f"a study needs arms, e.g. {LAYERS}; got none")
    return arms


def _do(verb: Any, asked: dict[str, Any], output: str, how: tuple[int, str, bool], overrides: dict[str, Any]) -> None:
    """Do what a verb was asked for, in the fields of a `Request`; seeds among them are read here."""
    from monai_tl.study.request import Request, check_request
    from monai_tl.study.study_plan import read_seeds

    parallel, engine, plan = how
    asked["seeds"] = read_seeds(asked["seeds"])
    request = Request(verb.__name__, **asked, parallel=parallel, settings=overrides, also=flags_of(verb))
    folder = Path(output).absolute()
    check_request(request, folder)
    from monai_tl.study.runner import Conduct, conduct

    conduct(request, Conduct(folder, parallel, engine, plan))
