"""Transfer learning for 3D medical image segmentation with MONAI.

The names in ``__all__`` are the public Python API; docs/python.md shows how to use them. Each is imported at its first use, so
that ``import monai_tl`` alone loads neither PyTorch nor MONAI.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from monai_tl.datasets.case_checks import check_cases as check_cases
    from monai_tl.datasets.datalist import Datalist as Datalist
    from monai_tl.datasets.datalist import read_datalist as read_datalist
    from monai_tl.datasets.patterns import find_cases as find_cases
    from monai_tl.errors import ConfigError as ConfigError
    from monai_tl.errors import DataError as DataError
    from monai_tl.errors import TransferError as TransferError
    from monai_tl.evaluation.compare import Comparison as Comparison
    from monai_tl.evaluation.compare import compare_runs as compare_runs
    from monai_tl.evaluation.compare import compare_tables as compare_tables
    from monai_tl.evaluation.score_table import read_scores as read_scores
    from monai_tl.evaluation.score_table import write_scores as write_scores
    from monai_tl.evaluation.scores import Score as Score
    from monai_tl.evaluation.scores import score_case as score_case
    from monai_tl.evaluation.scores import summarise as summarise
    from monai_tl.inference.model import Model as Model
    from monai_tl.inference.model import find_model as find_model
    from monai_tl.inference.predict import predict_cases as predict_cases
    from monai_tl.inference.sliding_window import FittedSlidingWindow as FittedSlidingWindow
    from monai_tl.networks.build import build_network as build_network
    from monai_tl.networks.highres3dnet import HighRes3DNet as HighRes3DNet
    from monai_tl.networks.stage_map import StageMap as StageMap
    from monai_tl.networks.stages import stages as stages
    from monai_tl.phantoms.phantom_files import write_phantoms as write_phantoms
    from monai_tl.statistics.pairwise import compare_arms as compare_arms
    from monai_tl.statistics.score_array import StudyScore as StudyScore
    from monai_tl.transfer.apply import Transfer as Transfer
    from monai_tl.transfer.apply import apply_transfer as apply_transfer
    from monai_tl.transfer.contract import Contract as Contract
    from monai_tl.transfer.freeze import freeze as freeze
    from monai_tl.transfer.freeze import frozen_values as frozen_values
    from monai_tl.transfer.plan import TransferPlan as TransferPlan
    from monai_tl.transfer.plan import plan_transfer as plan_transfer
    from monai_tl.transfer.rates import parameter_groups as parameter_groups
    from monai_tl.transfer.source import Source as Source
    from monai_tl.transfer.source import load_weights as load_weights
    from monai_tl.transfer.source import read_source as read_source

_MODULES = {  # the same names as above, which only type checkers read; a test compares the two
    "datasets.case_checks": ("check_cases",),
    "datasets.datalist": ("Datalist", "read_datalist"),
    "datasets.patterns": ("find_cases",),
    "errors": ("ConfigError", "DataError", "TransferError"),
    "evaluation.compare": ("Comparison", "compare_runs", "compare_tables"),
    "evaluation.scores": ("Score", "score_case", "summarise"),
    "evaluation.score_table": ("read_scores", "write_scores"),
    "inference.model": ("Model", "find_model"),
    "inference.predict": ("predict_cases",),
    "inference.sliding_window": ("FittedSlidingWindow",),
    "networks.build": ("build_network",),
    "networks.highres3dnet": ("HighRes3DNet",),
    "networks.stage_map": ("StageMap",),
    "networks.stages": ("stages",),
    "phantoms.phantom_files": ("write_phantoms",),
    "statistics.pairwise": ("compare_arms",),
    "statistics.score_array": ("StudyScore",),
    "transfer.apply": ("Transfer", "apply_transfer"),
    "transfer.contract": ("Contract",),
    "transfer.freeze": ("freeze", "frozen_values"),
    "transfer.plan": ("TransferPlan", "plan_transfer"),
    "transfer.rates": ("parameter_groups",),
    "transfer.source": ("Source", "load_weights", "read_source"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'monai_tl' has no attribute '{name}'")
    value = getattr(import_module(f"monai_tl.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
