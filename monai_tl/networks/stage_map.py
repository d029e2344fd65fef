"""The ordered stages of a network, as names and prefixes of its weights' names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from monai_tl.errors import TransferError, did_you_mean


@dataclass(frozen=True)
class StageMap:
    """The stages of a network in the order in which data flows, the head last; iterating yields their names.

    A weight belongs to the stage with the longest matching prefix, so that ``decoder.seg_layers`` can be the head of a network
    whose other weights in ``decoder`` belong to other stages.

    Attributes:
        prefixes: stage -> names of the modules and weights that belong to it, e.g. ``{"enc_0": ("conv_0", "down.0")}``.
        decoder: stages between the encoder and the head; empty in a network that keeps its resolution.

    Raises:
        TransferError: if there is no stage, if one has no prefix, if a prefix is given twice, or if a stage's name cannot be
            used: a number, or a name with a comma, a plus sign or an equals sign.

    Example:
        >>> from monai_tl.networks.stage_map import StageMap
        >>> unet = StageMap({"stem": ["conv_0"], "up": ["up_1", "up_0"], "head": ["final."]}, decoder=["up"])
        >>> unet.stage_of("up_0.conv.weight"), unet.head, unet.encoder
        ('up', 'head', ('stem',))
        >>> unet.expand(["decoder", "head"])
        ('up', 'head')
    """

    prefixes: Mapping[str, tuple[str, ...]]
    decoder: tuple[str, ...] = ()
    _owner: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Convert lists, as in configs, to tuples; refuse stages that contradict each other."""
        prefixes = {
            name: tuple(prefix.rstrip(".") for prefix in ([one] if isinstance(one, str) else one))
            for name, one in self.prefixes.items()
        }
        object.__setattr__(self, "prefixes", prefixes)
        object.__setattr__(self, "decoder", tuple(name for name in prefixes if name in self.decoder))
        owner: dict[str, str] = {}
        for name, own in prefixes.items():
            if not name or name.isdecimal() or set(name) & set(",+= "):
                raise TransferError(f"stages: '{name}' cannot name a stage: needed is a word, e.g. enc_0, that is no number")
            if not own or not all(own):
                raise TransferError(f"stages: '{name}' has no weights: needed is at least one prefix of weight names")
            for prefix in own:
                if prefix in owner:
                    raise TransferError(f"stages: '{prefix}' belongs to both {owner[prefix]} and {name}; name it once")
                owner[prefix] = name
        if not prefixes:
            raise TransferError("stages: there are none; needed is stage -> prefixes of weight names, the head last")
        object.__setattr__(self, "_owner", owner)

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the stages, the head last."""
        return iter(self.prefixes)

    def __len__(self) -> int:
        """Return the number of stages."""
        return len(self.prefixes)

    @property
    def names(self) -> tuple[str, ...]:
        """All stages, the head last."""
        return tuple(self.prefixes)

    @property
    def head(self) -> str:
        """The last stage, which holds the output layers."""
        return self.names[-1]

    @property
    def encoder(self) -> tuple[str, ...]:
        """The stages before the decoder, or before the head in a network without one."""
        return tuple(name for name in self.names[:-1] if name not in self.decoder)

    def stage_of(self, name: str) -> str | None:
        """Return the stage of a weight, a buffer or a module; None if it belongs to none, as a container of stages."""
        name = name.replace(".parametrizations.", ".")  # of a layer with an adapter
        while name not in self._owner:
            name = name.rpartition(".")[0]
            if not name:
                return None
        return self._owner[name]

    def expand(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Return stages in order from names of stages and of groups: ``encoder``, ``decoder``, ``head``.

        Raises:
            TransferError: for an unknown name, or a group without stages.
        """
        groups = {"encoder": self.encoder, "decoder": self.decoder, "head": (self.head,)}
        chosen: set[str] = set()
        for name in wanted:
            stages = (name,) if name in self.prefixes else groups.get(name, ())
            if not stages:
                existing = [*self.names, *(group for group, members in groups.items() if members and group not in self.names)]
                raise TransferError(f"no stage is called '{name}': {did_you_mean(name, existing)}")
            chosen.update(stages)
        return tuple(name for name in self.names if name in chosen)
