"""The same metrics as torchmetrics classes, for Lightning loops and several processes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adbench.errors import AdbenchError
from adbench.metrics.arrays import as_booleans, as_scores
from adbench.metrics.histogram import COLUMNS, Histogram
from adbench.metrics.image import image_metrics
from adbench.metrics.pixel import pixel_metrics
from adbench.system.absent import lean_torchmetrics

with lean_torchmetrics():
    from torchmetrics import Metric


class PixelHistogram(Metric):
    """Pixel AUROC, AP, F1-max and AUPRO (to 30 and to 5 %) of score maps in constant memory.

    `compute` returns the five figures and their half-widths (`pixel_auroc`, `pixel_auroc_half_width`, ...) as float64
    tensors. Under DDP the ranks exchange their non-empty bins, at most 40 bytes each. The counts live in `histogram`,
    in host memory; use one instance per set of maps, not a compute group of a `MetricCollection`.

    >>> metric = PixelHistogram()
    >>> metric.update(torch.tensor([[[0.9, 0.2], [0.1, 0.2]]]), torch.tensor([[[1, 1], [0, 0]]]))
    >>> metric.compute()["pixel_auroc"]
    tensor(0.8750, dtype=torch.float64)
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    packed: list[Tensor] | Tensor

    def __init__(self, max_distinct: int = 2**16, bins: int = 2**20, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.histogram = Histogram(max_distinct, bins)
        # Filled only while ranks exchange their state: packing on every update would cost more than counting.
        self.add_state("packed", default=[], dist_reduce_fx="cat")

    def update(self, maps: Any, masks: Any) -> None:
        """Add maps and masks, both (N, H, W) or (H, W), as in `Histogram.update`."""
        self.histogram.update(maps, masks)

    def total(self) -> Histogram:
        """Return the histogram of everything seen, on all ranks."""
        with self.sync_context(should_sync=self.sync_on_compute, should_unsync=True):
            return self._merged()

    def compute(self) -> dict[str, Tensor]:
        """Return the figures over everything seen, on all ranks."""
        figures = {}
        for name, (value, half_width) in pixel_metrics(self._merged()).items():
            figures[name] = torch.tensor(value, dtype=torch.float64)
            figures[f"{name}_half_width"] = torch.tensor(half_width, dtype=torch.float64)
        return figures

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch and return the figures of that batch alone."""
        seen, count = self.histogram, self._update_count
        self.reset()
        self.update(*args, **kwargs)
        self._to_sync = self.dist_sync_on_step
        try:
            batch = self.compute()
        finally:
            self._to_sync = self.sync_on_compute
            self.histogram, self._update_count, self._computed = seen.merge(self.histogram), count + 1, None
        self._forward_cache = batch  # type: ignore[assignment]
        return batch

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        # torchmetrics comes here only when there are other ranks, and puts `packed` back to [] when they part.
        self.packed = [_pack(self.histogram).to(self.device)]
        super()._sync_dist(*args, **kwargs)

    def merge_state(self, incoming_state: "dict[str, Any] | Metric") -> None:
        """Add the histogram of another `PixelHistogram`, of this or of another process."""
        if not isinstance(incoming_state, PixelHistogram):
            raise ValueError(f"PixelHistogram merges another PixelHistogram, got {type(incoming_state).__name__}")
        self.histogram = self.histogram.merge(incoming_state.histogram)
        self._update_count += incoming_state._update_count
        self._computed = None

    def reset(self) -> None:
        """Forget everything seen."""
        super().reset()
        self.histogram = Histogram(self.histogram.max_distinct, self.histogram.bins)

    def _merged(self) -> Histogram:
        return self._unpacked(self.packed) if isinstance(self.packed, Tensor) else self.histogram

    def _unpacked(self, packed: Tensor) -> Histogram:
        merged = Histogram(self.histogram.max_distinct, self.histogram.bins)
        for arrays in _unpack(packed):
            merged = merged.merge(Histogram.from_arrays(arrays, merged.max_distinct, merged.bins))
        return merged


class ImageScores(Metric):
    """Image AUROC, AP, F1-max and, with a threshold, accuracy: exact, from all scores, each gathered once.

    >>> metric = ImageScores(threshold=0.5)
    >>> metric.update(torch.tensor([0.1, 0.4, 0.8]), torch.tensor([0, 1, 1]))
    >>> metric.compute()["image_accuracy"]
    tensor(0.6667, dtype=torch.float64)
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    scores: list[Tensor] | Tensor
    labels: list[Tensor] | Tensor

    def __init__(self, threshold: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, scores: Any, labels: Any) -> None:
        """Add scores and labels, both (N,)."""
        values, truth = as_scores(scores), as_booleans(labels)
        if values.shape != truth.shape or values.ndim != 1:
            raise AdbenchError(f"scores have shape {values.shape} and labels {truth.shape}; both must be the same (N,)")
        assert isinstance(self.scores, list)
        assert isinstance(self.labels, list)
        self.scores.append(torch.from_numpy(values.astype(np.float64)))
        self.labels.append(torch.from_numpy(truth.copy()))

    def compute(self) -> dict[str, Tensor]:
        """Return the figures over everything seen, on all ranks; without a threshold there is no `image_accuracy`."""
        figures = image_metrics(_cat(self.scores, torch.float64), _cat(self.labels, torch.bool), self.threshold)
        return {k: torch.tensor(v, dtype=torch.float64) for k, v in figures.items() if v is not None}

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        # A rank without images would otherwise send an empty tensor of another type than its peers.
        self.scores = [_cat(self.scores, torch.float64).to(self.device)]
        self.labels = [_cat(self.labels, torch.bool).to(self.device)]
        super()._sync_dist(*args, **kwargs)


def _cat(parts: list[Tensor] | Tensor, dtype: torch.dtype) -> Tensor:
    return parts if isinstance(parts, Tensor) else torch.cat([torch.empty(0, dtype=dtype), *(p.cpu() for p in parts)])


def _pack(histogram: Histogram) -> Tensor:
    # One int64 row per histogram, so that the concatenation over ranks can be taken apart: sizes, then the columns.
    arrays = histogram.to_arrays()
    head = np.array([arrays["keys"].size, arrays["shift"], arrays["n_regions"]], np.int64)
    body = (arrays[name] for name in COLUMNS if name not in ("shift", "n_regions"))
    columns = (column.view(np.int64) if column.dtype == np.float64 else column.astype(np.int64) for column in body)
    return torch.from_numpy(np.concatenate([head, *columns]))


def _unpack(packed: Tensor) -> Iterator[dict[str, npt.NDArray[Any]]]:
    rest = packed.cpu().numpy()
    while rest.size:
        size, shift, n_regions = (int(number) for number in rest[:3])
        keys, positive, negative, weight, mixed = rest[3 : 3 + 5 * size].reshape(5, size)
        yield {
            "keys": keys.astype(np.uint32),
            "shift": np.array(shift),
            "positive": positive,
            "negative": negative,
            "region_weight": weight.view(np.float64),
            "mixed": mixed.astype(np.bool_),
            "n_regions": np.array(n_regions),
        }
        rest = rest[3 + 5 * size :]
