"""Strategies: how a target starts and learns, as values that are read from one grammar and can be printed and compared.

This module needs no PyTorch, so that a command line is checked before its import, which takes seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.errors import ConfigError, TransferError, did_you_mean
from monai_tl.networks.stage_map import StageMap
from monai_tl.networks.stage_names import freeze_text, resolve_freeze
from monai_tl.settings.values import DECIMAL, Kind, Number, Text, Whole

SCRATCH, CONTROL = "scratch", "random"  # the strategy without transfer; prefix of the names of those with frozen random stages
UNTRAINED = "untrained"  # scores the source without any training on the target
PREFIX, STAGE_SET = "prefix", "freeze="
OPENMIND = "Wald et al. 2025, arXiv 2412.17041"
THEIR_CODE = f"{OPENMIND} (their code)"


@dataclass(frozen=True)
class StrategyKind:
    """What all strategies of one kind share.

    Attributes:
        label: in a sentence and in figures; ``{}`` is the strategy's value.
        does: what it does, a clause for explanations.
        paper: authors, year and identifier; empty for a control.
        takes: its value; None if it has none.
        called: what its value is, for the record.
        freezes: whether it decides by itself which stages are frozen, so that ``freeze`` must be 0.
        source: whether it needs a source's weights.
    """

    label: str
    does: str
    paper: str = ""
    takes: Kind | None = None
    called: str = ""
    freezes: bool = False
    source: bool = True


STRATEGIES: dict[str, StrategyKind] = {
    UNTRAINED: StrategyKind(UNTRAINED, "the source’s weights, not fine-tuned", freezes=True),
    SCRATCH: StrategyKind(SCRATCH, "random weights, every stage trained", freezes=True, source=False),
    PREFIX: StrategyKind(
        "freeze {}", "the source’s weights, the first {} stages frozen", "Yosinski et al. 2014, arXiv 1411.1792",
        Whole(0, what="a number of stages"), "frozen stages", freezes=True,
    ),
    CONTROL: StrategyKind(
        "random freeze {}", "no source: the first {} stages frozen at random weights", "Yosinski et al. 2014, arXiv 1411.1792",
        Whole(1, what="a number of stages from 1"), "frozen stages", freezes=True, source=False,
    ),
    "head": StrategyKind(
        "head only", "the source’s weights, only the head trained", "Kumar et al. 2022, arXiv 2202.10054", freezes=True
    ),
    "decoder": StrategyKind(
        "decoder only", "the source’s weights, the encoder frozen, decoder and head trained", THEIR_CODE, freezes=True
    ),
    STAGE_SET: StrategyKind(
        "freeze {}", "the source’s weights, {} frozen, all other stages trained", "",
        Text("what --freeze takes: stages joined by +, e.g. conv_0+res_2, or the last frozen one", r"[^,=\s]+"),
        "frozen stages", freezes=True,
    ),
    "gradual": StrategyKind(
        "gradual unfreezing", "the source’s weights, stages unfrozen one after the other, from the head inwards",
        "Howard and Ruder 2018, arXiv 1801.06146", freezes=True,
    ),
    "llrd": StrategyKind(
        "stage-wise rates {}", "the source’s weights, the learning rate of each stage {} times that of the next",
        "Bao et al. 2022, arXiv 2106.08254", Number(above=0, below=1, example="llrd0.75"), "factor per stage",
    ),
    "l2sp": StrategyKind(
        "L2-SP {}", "the source’s weights, and a penalty of {} on their distance from the source’s",
        "Li et al. 2018, arXiv 1802.01483", Number(above=0, example="l2sp0.01"), "penalty",
    ),
    "lora": StrategyKind(
        "LoRA rank {}", "the source’s weights frozen, low-rank adapters of rank {} and the head trained",
        "Hu et al. 2022, arXiv 2106.09685", Whole(1, 256, example="lora8"), "rank",
    ),
    "bitfit": StrategyKind(
        "biases and norms", "the source’s weights, only biases, weights of norms and the head trained",
        "Ben Zaken et al. 2022, arXiv 2106.10199",
    ),
    "ema": StrategyKind(
        "averaged weights", "the source’s weights, every stage trained; a moving average of the weights is kept",
        "Tarvainen and Valpola 2017, arXiv 1703.01780",
    ),
    "warmup": StrategyKind(
        "full with warm-up", "the source’s weights, every stage trained after a linear warm-up", OPENMIND
    ),
    "valley": StrategyKind(
        "valley", "the source’s weights: the decoder alone, then a warm-up of all stages, then all stages", OPENMIND,
        freezes=True,
    ),
    "sawtooth": StrategyKind(
        "sawtooth", "the source’s weights: the decoder with warm-up, then all stages with a warm-up of their own", THEIR_CODE,
        freezes=True,
    ),
}  # fmt: skip
VALUED = (STAGE_SET, "random", "llrd", "l2sp", "lora")
LEARNING = ("gradual", "llrd0.75", "l2sp0.01", "lora8", "bitfit", "ema", "warmup", "valley", "sawtooth")


@dataclass(frozen=True)
class Strategy:
    """How a target starts and learns; printed, it is its name in configs, flags and studies.

    Attributes:
        kind: a key of ``STRATEGIES``, such as ``"lora"``.
        value: its value, e.g. the rank of ``lora8``; None for kinds without one.

    Example:
        >>> from monai_tl.transfer.strategy import read_strategy
        >>> strategy = read_strategy("lora8")
        >>> strategy.label, strategy.paper
        ('LoRA rank 8', 'Hu et al. 2022, arXiv 2106.09685')
        >>> strategy.settings("runs/hippocampus")
        {'source': 'runs/hippocampus', 'freeze': 0, 'strategy': 'lora8'}
    """

    kind: str
    value: int | float | str | None = None

    def __str__(self) -> str:
        """Return its name."""
        return self.name

    @property
    def name(self) -> str:
        """Return its name, e.g. ``scratch``, ``2``, ``random2``, ``llrd0.75``."""
        word = "" if self.kind == PREFIX else self.kind
        return word if self.value is None else f"{word}{self.value}"

    @property
    def folder(self) -> str:
        """Return its name as part of a folder's name."""
        return re.sub(r"[^\w.+-]+", "-", self.name)

    @property
    def label(self) -> str:
        """Return its name for sentences and figures, e.g. ``"freeze 2"``, ``"LoRA rank 8"``."""
        alone = isinstance(self.value, str) and self.value.startswith("+")  # one stage
        return STRATEGIES[self.kind].label.format(f"only {str(self.value)[1:]}" if alone else self.value)

    @property
    def parameters(self) -> dict[str, Any]:
        """Return its value by what it is, e.g. ``{"rank": 8}``."""
        return {} if self.value is None else {STRATEGIES[self.kind].called: self.value}

    @property
    def paper(self) -> str:
        """Return authors, year and identifier of its source; empty if it has none."""
        return STRATEGIES[self.kind].paper

    @property
    def takes_source(self) -> bool:
        """Return whether the network is initialised with a source's weights."""
        return STRATEGIES[self.kind].source

    @property
    def explanation(self) -> str:
        """Return a description in one clause."""
        if self == Strategy(PREFIX, 0):
            return "the source’s weights, every stage trained"
        value = str(self.value)
        if self.kind == STAGE_SET:
            named = value.removeprefix("+").replace("+", ", ")
            value = named if "+" in value else f"the {value}" if value == "encoder" else f"all stages up to {value}"
        return STRATEGIES[self.kind].does.format(value).replace("first 1 stages", "first stage")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, as in ``transfer_report.json``."""
        return {"name": self.name, "label": self.label, "paper": self.paper, "parameters": self.parameters}

    def settings(self, source: str | Path | None) -> dict[str, Any]:
        """Return the settings of ``transfer.yaml`` that define it; ``source`` is not used by strategies that take none."""
        origin = str(source) if source is not None and self.takes_source else None
        settings: dict[str, Any] = {"source": origin, "freeze": 0}
        if self.kind in (PREFIX, CONTROL, STAGE_SET):
            settings["freeze"] = self.value
        elif self.kind == UNTRAINED:
            settings["fresh"] = []
        elif self.kind != SCRATCH:
            settings["strategy"] = self.name
        if self.kind == CONTROL:
            settings["norm"] = "track"  # random stages have no trained statistics to preserve
        return settings

    def frozen(self, stages: StageMap) -> tuple[str, ...]:
        """Return the stages that it freezes from the first step to the last.

        Raises:
            TransferError: if the network lacks a stage that it names, or has no decoder although it needs one.
        """
        if self.kind in (PREFIX, CONTROL, STAGE_SET):
            return resolve_freeze(stages, self.value)  # type: ignore[arg-type]  # these kinds have a number or a text
        if self.kind == "head":
            return stages.names[:-1]
        return stages.encoder if self.kind == "decoder" else ()

    def refuse_stages(self, stages: StageMap) -> None:
        """Refuse a network that lacks the stages which the strategy needs.

        Raises:
            ConfigError, TransferError: with the stages that exist.
        """
        most = len(stages) - 1
        if self.kind in (PREFIX, CONTROL) and isinstance(self.value, int) and self.value > most:
            existing = did_you_mean("", names_of(stages))
            raise ConfigError(f"no strategy is called '{self}', since {self.value} stages cannot be frozen: {existing}")
        if self.kind == "decoder" and not stages.decoder:
            raise TransferError(
                f"strategy {self} needs a network with a decoder; this one keeps its resolution: its stages are "
                f"{', '.join(stages)}. Choose the frozen stages, e.g. freeze={stages.names[0]}, or head"
            )
        self.frozen(stages)

    def refuse_freeze(self, freeze: int | str) -> None:
        """Refuse ``freeze`` beside a strategy that decides itself what is frozen.

        Raises:
            ConfigError: with the strategies that take it.
        """
        if STRATEGIES[self.kind].freezes and freeze not in (0, "0"):
            others = ", ".join(name for name, kind in STRATEGIES.items() if not kind.freezes)
            raise ConfigError(
                f"strategy {self} decides itself which stages are frozen: set freeze to 0, not {freeze!r}; freeze goes with "
                f"{others}"
            )


def read_strategy(text: str, stages: StageMap | None = None) -> Strategy:
    """Read a strategy from its name: ``lora8``, ``2``, ``random2``, ``freeze=conv_0+res_2``.

    Args:
        text: the name.
        stages: of the network; None if they are not known yet, so that names and numbers of stages are not checked.

    Raises:
        ConfigError, TransferError: for an unknown name, a value out of its range, or stages that the network does not have.

    Example:
        >>> from monai_tl.transfer.strategy import read_strategy
        >>> read_strategy("llrd1.5")
        Traceback (most recent call last):
        monai_tl.errors.ConfigError: strategy llrd takes a number above 0 and below 1, e.g. llrd0.75; got '1.5'
    """
    text = str(text).strip()
    strategy = _parse(text, stages)
    if stages is not None:
        strategy.refuse_stages(stages)
    return strategy


def choose_strategy(text: str | int | None, freeze: int | str, stages: StageMap, *, source: bool) -> Strategy:
    """Return the strategy that the settings ``strategy`` and ``freeze`` ask for.

    Args:
        text: the name of a strategy; None: the one that ``freeze`` and the source imply.
        freeze: as in `monai_tl.transfer.freeze.freeze`.
        stages: of the network.
        source: whether there is a source.

    Raises:
        ConfigError, TransferError: as `read_strategy` does, for stages that do not exist, for a strategy that decides itself
            what is frozen beside ``freeze``, or one that trains nothing.
    """
    frozen = resolve_freeze(stages, freeze)
    if text is not None:
        strategy = read_strategy(str(text), stages)
        strategy.refuse_freeze(freeze)
        if strategy.kind == UNTRAINED:
            raise ConfigError("strategy untrained trains nothing: monai_tl evaluate --source SOURCE --target BUNDLE scores it")
        return strategy
    if not source:
        return Strategy(CONTROL, freeze) if frozen else Strategy(SCRATCH)
    chosen = freeze_text(stages, frozen) if frozen else "0"
    return Strategy(PREFIX, int(chosen)) if chosen.isdecimal() else Strategy(STAGE_SET, chosen)


def is_plain(name: str) -> bool:
    """Return whether a strategy is said completely by its source and its frozen stages, as ``scratch``, ``2``, ``random2`` are.

    Args:
        name: of a strategy, or as `choose_strategy` makes it.
    """
    return name.startswith((*map(str, range(10)), STAGE_SET, CONTROL, SCRATCH, UNTRAINED))


def refuse_no_source(text: str) -> None:
    """Refuse a strategy that starts from a source's weights, for a training that has none.

    Raises:
        ConfigError: with the strategies that take none.
    """
    if read_strategy(text).takes_source:
        raise ConfigError(
            f"strategy {text} starts from a source's weights, but source is null: set source, or strategy scratch"
        )


def names_of(stages: StageMap | None) -> tuple[str, ...]:
    """Return the names of all strategies of a network, for hints; those with a value have an example."""
    most = len(stages) - 1 if stages else None
    some = "+".join(stages.names[: max(1, most - 1) : 2][:2]) if stages and most else "conv_0+res_2"
    counts = ("0", f"0 to {most}", f"random1 to random{most}") if most else ("0", "2", "random2")
    decoder = ("decoder",) if stages is None or stages.decoder else ()
    return (UNTRAINED, SCRATCH, *counts[most is not None :], "head", *decoder, f"freeze={some}", *LEARNING)


def _parse(text: str, stages: StageMap | None) -> Strategy:
    if re.fullmatch(r"0|[1-9]\d*", text):
        return Strategy(PREFIX, int(text))
    if text in STRATEGIES and STRATEGIES[text].takes is None:
        return Strategy(text)
    kind = next((name for name in VALUED if text.startswith(name)), None)
    if kind is None:
        raise ConfigError(f"no strategy is called '{text}': {did_you_mean(text, names_of(stages))}")
    takes, value = STRATEGIES[kind].takes, text.removeprefix(kind)
    assert takes is not None  # of all valued kinds
    if kind == STAGE_SET and value.isdecimal():
        return Strategy(PREFIX, int(value))
    try:
        read = takes.read(value) if not isinstance(takes, Number) or DECIMAL.fullmatch(value) else None
    except ValueError:
        read = None
    if read is None or not takes.allows(read):
        raise ConfigError(f"strategy {kind} takes {takes.takes}; got '{value}'")
    return Strategy(kind, read)
