"""Image-level metrics, exact; pixel-level metrics in constant memory, each with a guaranteed half-width."""

from typing import TYPE_CHECKING, Any

from adbench.metrics.at_threshold import AtThreshold, pixels_at
from adbench.metrics.detection import false_positives, lesions
from adbench.metrics.exact import exact_pixel
from adbench.metrics.histogram import Histogram
from adbench.metrics.image import accuracy, average_precision, f1_max, image_metrics, roc_auc
from adbench.metrics.overlap import PerImageOverlap, aupimo
from adbench.metrics.patient import by_patient, patient_metrics
from adbench.metrics.pixel import (
    Estimate,
    OperatingPoint,
    pixel_ap,
    pixel_aupro,
    pixel_auroc,
    pixel_f1_max,
    pixel_metrics,
    pixel_operating_point,
)

if TYPE_CHECKING:
    from adbench.metrics.modules import ImageScores, PixelHistogram

__all__ = [
    "AtThreshold",
    "Estimate",
    "Histogram",
    "ImageScores",
    "OperatingPoint",
    "PerImageOverlap",
    "PixelHistogram",
    "accuracy",
    "aupimo",
    "average_precision",
    "by_patient",
    "exact_pixel",
    "f1_max",
    "false_positives",
    "image_metrics",
    "lesions",
    "patient_metrics",
    "pixel_ap",
    "pixel_aupro",
    "pixel_auroc",
    "pixel_f1_max",
    "pixel_metrics",
    "pixel_operating_point",
    "pixels_at",
    "roc_auc",
]


def __getattr__(name: str) -> Any:
    # The torchmetrics classes need torch, which the figures themselves do not.
    if name in ("ImageScores", "PixelHistogram"):
        from adbench.metrics import modules

        return getattr(modules, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
