"""Statistics of a study, used by its report and by the verbs. Methods and their measured coverage: docs/statistics.md."""

from monai_tl.statistics.arm_comparison import ArmComparison
from monai_tl.statistics.learning_curve import ArmMean, arm_means
from monai_tl.statistics.mixed_model import CurveModel, CurveTerm, fit_curves
from monai_tl.statistics.pairwise import compare_arms

__all__ = ["ArmComparison", "ArmMean", "CurveModel", "CurveTerm", "arm_means", "compare_arms", "fit_curves"]
