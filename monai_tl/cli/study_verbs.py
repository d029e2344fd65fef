"""Verbs for studies: grids of arms, training-set sizes and seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from monai_tl.cli.arguments import Arguments, flags_of, names
from monai_tl.cli.network_choice import NetworkName, Stages, with_network
from monai_tl.cli.run_verbs import SOURCE, TARGET
from monai_tl.errors import ConfigError
from monai_tl.settings.table import ENGINE, SETTINGS
from monai_tl.settings.values import Number, Whole
from monai_tl.transfer.network_of_source import AskedNetwork
from monai_tl.workflow.merged_config import source_of_target

LAYERS = "scratch,0,1,2,3,4,5,random2"
SIZES = "0.25,0.5,0.75,1.0"
Parallel = Annotated[int, Whole(1, unit="runs at a time")]
EngineName = Annotated[str, ENGINE]
Metrics = Annotated[list[str], SETTINGS["metrics"]]
Tolerance = Annotated[float | list[float], SETTINGS["tolerance"]]
Gain = Annotated[float, Number(least=0, below=1, unit="a difference in Dice", example="0.01")]


def layers(
    *,
    source: str | None = None,
    target: str = TARGET,
    arms: str = LAYERS,
    sizes: str = "all",
    seeds: str = "3",
    output: str = "studies/layers",
    overlay: str | None = None,
    budget: str = "",
    lists: str | None = None,
    training_dice: bool = False,
    metrics: Metrics | None = None,
    tolerance: Tolerance | None = None,
    parallel: Parallel = 1,
    engine: EngineName = "here",
    plan: bool = False,
    network: NetworkName | None = None,
    set: Arguments | None = None,
    stages: Stages = None,
    **overrides: Any,
) -> None:
    """Study what to freeze, or how to fine-tune: --arms scratch,0,1,2,3,4,5,random2 --seeds 3 [--plan].

    Each arm is a strategy, trained once per seed. scratch: no source; 0 to 5: transfer with so many frozen stages; random2: two
    stages frozen at random weights; also head, decoder, gradual, llrd0.75, l2sp0.01, lora8, bitfit, ema, warmup, valley …
    Any id of the target's configs is a flag, which applies to all runs: --dataset_dir DIR --iterations 4000 --patience 1500 …;
    --budget sets the iterations of single arms. --plan prints the grid and its estimated cost. The same command resumes a study
    that was interrupted.
    """
    asked: dict[str, Any] = {"target": target, "source": source, "overlay": overlay, "training_dice": training_dice}
    asked |= {"arms": _arms(arms), "sizes": names(sizes), "seeds": seeds, "budget": budget, "lists": lists}
    asked |= {"metrics": metrics, "tolerance": tolerance}
    _do(layers, asked, output, (parallel, engine, plan), AskedNetwork(network, set, stages), overrides)


def size(
    *,
    source: str | None = None,
    target: str = TARGET,
    sizes: str = SIZES,
    arms: str = "scratch,1,2,3",
    seeds: str = "3",
    output: str = "studies/size",
    overlay: str | None = None,
    budget: str = "",
    lists: str | None = None,
    training_dice: bool = False,
    metrics: Metrics | None = None,
    tolerance: Tolerance | None = None,
    parallel: Parallel = 1,
    engine: EngineName = "here",
    plan: bool = False,
    network: NetworkName | None = None,
    set: Arguments | None = None,
    stages: Stages = None,
    **overrides: Any,
) -> None:
    """Study how many labels transfer saves: --sizes 26,52,78,105 --arms scratch,1,2,3 --seeds 3 [--plan].

    Each arm is trained once per training-set size and seed. Sizes are counts, fractions of the training split (0.25,0.5,1), or
    names of lists in --lists FILE, by default the target's splits/study.json (S1,S2). Training sets are nested, drawn per seed,
    and stratified by foreground volume. Everything else is as in study layers.
    """
    asked: dict[str, Any] = {"target": target, "source": source, "overlay": overlay, "training_dice": training_dice}
    asked |= {"arms": _arms(arms), "sizes": names(sizes), "seeds": seeds, "budget": budget, "lists": lists}
    asked |= {"metrics": metrics, "tolerance": tolerance}
    _do(size, asked, output, (parallel, engine, plan), AskedNetwork(network, set, stages), overrides)


def depth(
    *,
    source: str | None = None,
    target: str = TARGET,
    search: bool = False,
    gain: Gain | None = None,
    seeds: str = "1",
    output: str = "studies/depth",
    overlay: str | None = None,
    metrics: Metrics | None = None,
    tolerance: Tolerance | None = None,
    parallel: Parallel = 1,
    engine: EngineName = "here",
    plan: bool = False,
    network: NetworkName | None = None,
    set: Arguments | None = None,
    stages: Stages = None,
    **overrides: Any,
) -> None:
    """Study how deep to fine-tune, from the head inwards: [--search] [--gain 0.01] [--seeds 1] [--plan].

    Each round trains one stage more than the round before, for every seed (Tajbakhsh et al. 2016). With --search, the study
    ends when the mean best validation Dice rises by no more than --gain; otherwise all depths are trained. Everything else is
    as in study layers.
    """
    if gain is not None and not search:
        raise ConfigError("--gain ends a search: add --search, or omit --gain to train all depths")
    rule = {"gain": float(0.01 if gain is None else gain)} if search else {}
    asked: dict[str, Any] = {"target": target, "source": source, "overlay": overlay, "rule": rule}
    asked |= {"metrics": metrics, "tolerance": tolerance}
    _do(
        depth,
        asked | {"arms": (), "sizes": ("all",), "seeds": seeds},
        output,
        (parallel, engine, plan),
        AskedNetwork(network, set, stages),
        overrides,
    )


def gather_tables(*, output: str) -> None:
    """Gather the results of a study's runs in scores.csv, runs.csv and curves.csv: --output STUDY."""
    from monai_tl.study.study_plan import read_study

    read_study(Path(output))
    from monai_tl.study.gather import gather, refuse_unreadable_scores

    refuse_unreadable_scores(Path(output))
    gathered = gather(Path(output))
    counts = f"{gathered.finished} of {gathered.runs} runs finished, {gathered.failed} failed"
    scored = f" ({gathered.scored})" if gathered.finished else ""
    print(f"{output}: {counts}; {gathered.scores} scored cases in scores.csv{scored}; see also runs.csv and curves.csv")


def _arms(text: str) -> tuple[str, ...]:
    """Return arms from the command line; at least one, as a request without arms means all depths."""
    arms = names(text)
    if not arms:
        raise ConfigError(f"a study needs arms, e.g. {LAYERS}; got none")
    return arms


def _do(
    verb: Any,
    asked: dict[str, Any],
    output: str,
    how: tuple[int, str, bool],
    network: AskedNetwork,
    overrides: dict[str, Any],
) -> None:
    """Run or plan a study; ``asked`` holds fields of `Request`, and its seeds are still text."""
    from monai_tl.study.request import Request, check_request, study_configs
    from monai_tl.study.study_plan import read_seeds

    parallel, engine, plan = how
    asked["seeds"] = read_seeds(asked["seeds"])
    asked["source"] = asked["source"] or source_of_target(asked["target"]) or SOURCE
    request = Request(verb.__name__, **asked, parallel=parallel, settings=overrides, also=flags_of(verb))
    if network:
        request = replace(request, settings=with_network(overrides, network, study_configs(request), asked["source"]))
    folder = Path(output).absolute()
    check_request(request, folder)
    from monai_tl.study.runner import Conduct, conduct

    conduct(request, Conduct(folder, parallel, engine, plan))
