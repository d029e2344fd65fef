"""The network that a user asks for, by name or as the source has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from monai_tl.errors import ConfigError
from monai_tl.networks.network_flags import LIKE_SOURCE
from monai_tl.settings.table import EXPRESSION
from monai_tl.workflow.network_entry import refuse_bad_entry


@dataclass(frozen=True)
class AskedNetwork:
    """What the flags ``--network``, ``--set`` and ``--stages`` ask for; all None: nothing.

    Attributes:
        network: a known network, a class by its dotted path, or ``like_source``.
        settings: arguments of its class.
        stages: stage -> prefixes of weight names, or ``auto``.
    """

    network: str | None = None
    settings: Mapping[str, Any] | None = None
    stages: Any = None

    def __bool__(self) -> bool:
        """Return whether anything is asked for."""
        return not (self.network is self.settings is self.stages is None)

    def entry(self, before: Mapping[str, Any] | None, source: str | None) -> dict[str, Any]:
        """Return the network as an entry of ``task.yaml``: name, stages, and arguments.

        Args:
            before: the entry that ``--set`` and ``--stages`` change without ``--network``; None if there is none.
            source: of ``like_source``.

        Raises:
            ConfigError: if the source's network is unknown, or something is no argument.
            TransferError: if the source cannot be read.
        """
        if self.network == LIKE_SOURCE:
            entry = _entry_of_source(source)
        elif self.network is not None:
            entry = {"name": self.network}
        elif before is not None:
            entry = dict(before)
        else:
            raise ConfigError("--set and --stages change a network that is built by its name: set --network, too")
        entry |= dict(self.settings or {}) | ({} if self.stages is None else {"stages": self.stages})
        refuse_bad_entry(entry, "network")
        return entry


def _entry_of_source(source: str | None) -> dict[str, Any]:
    if source is None:
        raise ConfigError(f"--network {LIKE_SOURCE} takes the network of a source: set --source")
    from monai_tl.transfer.source import read_source

    spec = getattr(read_source(source), "network", None)
    if spec is None:
        raise ConfigError(
            f"--network {LIKE_SOURCE}: source '{source}' does not say to which network its weights belong; "
            "name it by --network, and its arguments by --set"
        )
    entry = {"name": spec.network, **_plain(dict(spec.settings))}
    if code := next(_code_in(entry), None):  # a config would evaluate it
        raise ConfigError(
            f"--network {LIKE_SOURCE}: source '{source}' states '{code}', which is code: name its network yourself"
        )
    return entry


def _code_in(value: Any) -> Iterator[str]:
    """Yield what a config would evaluate: expressions, references, and names of components to build."""
    if isinstance(value, str) and value.startswith(EXPRESSION):
        yield value
    if isinstance(value, Mapping):
        yield from (str(name) for name in value if str(name).startswith("_") or str(name).startswith(EXPRESSION))
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _code_in(part)


def _plain(value: Any) -> Any:
    """Return tuples as lists, as configs hold them."""
    if isinstance(value, Mapping):
        return {name: _plain(of) for name, of in value.items()}
    return [_plain(of) for of in value] if isinstance(value, list | tuple) else value
