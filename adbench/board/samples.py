"""What intervals need of records: each row's figures by draw, and the figures without each patient."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.board.leaderboard import ROW, lines, run_of
from adbench.errors import AdbenchError
from adbench.metrics import patient
from adbench.metrics.per_image import Contributions
from adbench.records.record import Record
from adbench.statistics import (
    Interval,
    covariance,
    group,
    image_figures_without_each,
    images,
    pixel_figures,
    pixel_figures_without_each,
    pixels,
    placements,
    single,
)
from adbench.statistics.figures import LEAST_PATIENTS
from adbench.statistics.patients import Groups
from adbench.system.progress import track

Floats = NDArray[np.float64]
Draw = tuple[str, int]  # the support's source, as in "draw:0", and the seed
METRICS = (*images.METRICS, *pixels.METRICS, *patient.METRICS)
UNLIKE = 0.5  # standard errors by which the figure of coarse histograms may be another
THREADS = 2  # records at a time; each takes 0.3 GB for 3,715 images


@dataclass(frozen=True)
class Row:
    """One row of a leaderboard on one dataset.

    name: its method, with what else distinguishes it from the other rows. head: its values by the keys of `ROW`.
    folds: for each fold of a cross-validation, by its number, its records by draw; without folds there is one, number
    -1. A method that learns from no image has one record, whose draw is `none`.
    """

    name: str
    head: Mapping[str, str]
    dataset: str
    folds: Mapping[int, Mapping[Draw, Record]]

    @property
    def draws(self) -> set[Draw]:
        """Its draws, the same in each fold."""
        return set(next(iter(self.folds.values())))

    @property
    def drawn(self) -> bool:
        """Whether its support is drawn."""
        return not all(source == "none" for source, _ in self.draws)

    @property
    def sources(self) -> list[str]:
        """Its supports: seeds of one support are no draws of others."""
        return sorted({source for source, _ in self.draws})

    def of(self, fold: int, draws: Iterable[Draw]) -> list[list[Record]]:
        """Return the records of some draws in a fold, a list for each support with those of its seeds.

        Raises AdbenchError for supports with other numbers of seeds: their mean would not be that of the records.
        """
        by_source: dict[str, dict[int, Record]] = {}
        for source, seed in sorted(draws):
            by_source.setdefault(source, {})[seed] = self.folds[fold][source, seed]
        if len({len(seeds) for seeds in by_source.values()}) > 1:
            raise AdbenchError(
                f"{self.name} on {self.dataset}: its draws don't have the same number of seeds. Run the missing ones."
            )
        return [list(seeds.values()) for seeds in by_source.values()]


def rows_of(records: Sequence[Record]) -> list[Row]:
    """Group records into rows, one for each setting and dataset; a setting has one name on all datasets.

    Raises AdbenchError for a row that `row_of` refuses.
    """
    grouped: dict[tuple[str, ...], list[Record]] = {}
    for record, line in zip(records, lines(records), strict=True):
        grouped.setdefault((*(line[key] for key in ROW), line["dataset"]), []).append(record)
    peers: dict[str, list[dict[str, str]]] = {}
    for key in grouped:
        head = dict(zip((*ROW, "dataset"), key, strict=True))
        peers.setdefault(head["method"], []).append(head)
    differ = {method: _telling(heads) for method, heads in peers.items()}
    rows = []
    for key, some in grouped.items():
        head = dict(zip(ROW, key, strict=False))
        more = (_word(name, head[name]) for name in differ[head["method"]])
        rows.append(row_of(" ".join(filter(None, [head["method"], *more])), head, key[-1], some))
    return sorted(rows, key=lambda row: (row.dataset, row.name))


def _telling(heads: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the keys that tell the rows of a method apart, by their values of `ROW` and `dataset`.

    These are the keys in which they differ, on whatever datasets. `train_on` follows from the dataset where all others
    are trained on, so it is one only where two rows differ in nothing else.
    """
    others = [name for name in (*ROW, "dataset") if name != "train_on"]
    elsewhere = len({tuple(head[name] for name in others) for head in heads}) < len(heads)
    differ = {name: len({head[name] for head in heads}) > 1 for name in ROW} | {"train_on": elsewhere}
    return [name for name in ROW if differ[name]]


def of_shots(rows: Sequence[Row], shots: str) -> list[Row]:
    """Keep the rows of a number of shots, and those whose support is not drawn; AdbenchError where none has it.

    0: the latter alone.
    """
    known = sorted({row.head["shots"] if row.drawn else "0" for row in rows})
    if shots not in known:
        raise AdbenchError(f"--shots {shots} matches no record; there are {', '.join(known) or 'none'}.")
    return [row for row in rows if not row.drawn or row.head["shots"] == shots]


def row_of(name: str, head: Mapping[str, str], dataset: str, records: Sequence[Record]) -> Row:
    """Return the row of some records, which differ in draw, seed and fold alone.

    Raises AdbenchError for records that differ in how adbench split the images, which then share test images in an
    unknown way; for two records of one draw, seed and fold; and for folds that don't have the same draws.
    """
    folds: dict[int, dict[Draw, Record]] = {}
    for record in records:
        *_, split, fold = run_of(record)
        other = run_of(records[0])[2]
        if split != other:
            raise AdbenchError(
                f"{records[0].path} and {record.path} are of the splits {other} and {split} of {dataset}, made of the "
                "same images: their test images overlap in part, which no interval allows for. Give the records of "
                "one split alone."
            )
        draw = str(record.content["support"]["source"]), int(record.content["facts"]["seed"])
        drawn = folds.setdefault(fold, {})
        if draw in drawn:
            raise AdbenchError(f"{drawn[draw].path} and {record.path} are of one draw and seed on {dataset}. Keep one.")
        drawn[draw] = record
    found = Row(name, head, dataset, dict(sorted(folds.items())))
    if any(set(drawn) != found.draws for drawn in found.folds.values()):
        raise AdbenchError(f"{name} on {dataset}: its folds don't have the same draws and seeds. Run the missing ones.")
    return found


def _word(name: str, value: str) -> str:
    return value if name in ("variant", "data", "standing", "protocol") or not value else f"{name}={value}"


@dataclass(frozen=True)
class Sample:
    """One record's figure of one metric: over all patients, and without each of them (I,).

    why: what speaks against the latter; they are then not used.
    """

    figure: float
    without: Floats
    why: str = ""


@dataclass(frozen=True)
class ScoredImages:
    """The test images of a record, in the order of their ids.

    table: its predictions; the column `place` is the row in the file. groups: (N,), the patient of each.
    content: a hash of ids, labels and patients, the same for records whose jackknives can be combined.
    """

    table: pd.DataFrame
    groups: Groups
    content: str

    @property
    def patients(self) -> tuple[int, int]:
        """The numbers of patients with an abnormal image, and with a normal one."""
        ill = self.table["label"].to_numpy() == 1
        return len(np.unique(self.groups[ill])), len(np.unique(self.groups[~ill]))

    @property
    def groups_in_file(self) -> Groups:
        """The patient of each image in the order of the record's files."""
        found = np.empty_like(self.groups)
        found[self.table["place"].to_numpy()] = self.groups
        return found

    def classes(self, metric: str) -> tuple[int, int]:
        """The numbers of patients who enter a metric as abnormal and as normal; at patient level as one of both."""
        abnormal, normal = self.patients
        return (abnormal, len(np.unique(self.groups)) - abnormal) if metric in patient.METRICS else (abnormal, normal)

    @property
    def known(self) -> set[str]:
        """The names of its patients; an image of an unknown one counts as a patient of its own."""
        return set(self.table["patient"].dropna()) - {""}

    @property
    def unknown(self) -> int:
        """The number of images whose patient is unknown."""
        return int((self.table["patient"].isna() | (self.table["patient"] == "")).sum())


class Samples:
    """Test images, figures and jackknives of records; each is read and computed once."""

    def __init__(self) -> None:
        self._images: dict[str, ScoredImages] = {}
        self._samples: dict[tuple[str, str], Sample] = {}

    def images(self, record: Record) -> ScoredImages:
        """Return the test images of a record."""
        if record.key not in self._images:
            table = record.predictions().reset_index(names="place")
            table = table.sort_values("image", kind="stable").reset_index(drop=True)
            groups = group(table["patient"])
            text = "\n".join([*table["image"], *map(str, table["label"]), *map(str, groups)])
            content = sha256(text.encode(errors="surrogatepass")).hexdigest()
            self._images[record.key] = ScoredImages(table, groups, content)
        return self._images[record.key]

    def of(self, record: Record, metric: str) -> Sample:
        """Return a record's figure with its jackknife.

        Pixel metrics are those of the record's coarse histograms: of their covariances alone use is made, the figure
        itself is the record's. Raises AdbenchError for a metric without a jackknife, for one that the record does not
        have, and where the figure of the coarse histograms is another.
        """
        self.prepare(record, (metric,))
        sample = self._samples[record.key, metric]
        if sample.why:
            raise AdbenchError(sample.why)  # without a path: what is kept of it is used for copies of the record too
        return sample

    def prepare(self, record: Record, metrics: Sequence[str]) -> None:
        """Compute several metrics at once, which reads each file of the record once; errors as in `of`."""
        if unknown := [metric for metric in metrics if metric not in METRICS]:
            raise AdbenchError(f"--metric {unknown[0]} has no interval; {', '.join(METRICS)} have.")
        missing = [metric for metric in metrics if (record.key, metric) not in self._samples]
        if of_images := [metric for metric in missing if metric in images.METRICS]:
            self._keep(record, of_images, _of_images(record, self.images(record), of_images))
        if of_pixels := [metric for metric in missing if metric in pixels.METRICS]:
            self._keep(record, of_pixels, _of_pixels(record, self.images(record), of_pixels))
        if of_patients := [metric for metric in missing if metric in patient.METRICS]:
            self._keep(record, of_patients, _of_patients(record, self.images(record), of_patients))

    def prepare_all(self, rows: Sequence[Row], metrics: Sequence[str]) -> None:
        """Compute several metrics of all records of some rows; what can't be computed raises its error in `of`."""
        records = [record for row in rows for drawn in row.folds.values() for record in drawn.values()]

        def prepare(record: Record) -> None:
            for kind in (images.METRICS, pixels.METRICS, patient.METRICS):
                with contextlib.suppress(AdbenchError):
                    self.prepare(record, [metric for metric in metrics if metric in kind])

        pool = ThreadPoolExecutor(THREADS)
        try:
            for _ in track(pool.map(prepare, records), "leaving out each patient", len(records)):
                pass
        finally:
            pool.shutdown(cancel_futures=True)

    def _keep(self, record: Record, metrics: Sequence[str], found: Sequence[Sample]) -> None:
        self._samples |= {(record.key, metric): sample for metric, sample in zip(metrics, found, strict=True)}


def sampled(records: Sequence[Sequence[Sequence[Record]]], metric: str, samples: Samples) -> tuple[Floats, Floats]:
    """Return the figures (t, r) of t rows on r draws, and those without each patient (I, t r), in points.

    records: of each row and draw those of its seeds, over which figures are averaged. A seed is no draw: those of one
    support differ by less than supports do, so that counting them as draws would make an interval too narrow.
    Raises AdbenchError where the records are not scored on the same images, and where one has no such figure.
    """
    draws = [seeds for some in records for seeds in some]
    flat = [record for seeds in draws for record in seeds]
    contents = {samples.images(record).content: record for record in flat}
    if len(contents) > 1:
        first, second = list(contents.values())[:2]
        raise AdbenchError(f"{first.path} and {second.path} are not scored on the same test images.")
    table = [_over_seeds([samples.of(record, metric) for record in seeds]) for seeds in draws]
    without: Floats = 100 * np.stack([one.without for one in table], axis=1)
    figures = 100 * np.array([one.figure for one in table]).reshape(len(records), -1)
    return figures, without


def _over_seeds(seeds: Sequence[Sample]) -> Sample:
    return Sample(float(np.mean([one.figure for one in seeds])), np.mean([one.without for one in seeds], axis=0))


def over_draws(records: Sequence[Record], metric: str, samples: Samples, level: float) -> Interval:
    """Return the mean of a figure over the draws of one row, a share, with its interval for new patients and new draws.

    Records of one support with several seeds count as one draw. Raises AdbenchError where a record has no such figure,
    and where it does not exist without one of the patients.
    """
    by_source: dict[str, list[Sample]] = {}
    for record in records:
        by_source.setdefault(str(record.content["support"]["source"]), []).append(samples.of(record, metric))
    found = [_over_seeds(seeds) for seeds in by_source.values()]
    figures, without = np.array([one.figure for one in found]), np.stack([one.without for one in found], axis=1)
    return single(figures, covariance(without), level)


def objection(tests: Sequence[ScoredImages], metric: str) -> str:
    """Say why there is no interval over the patients of some disjoint test sets; empty where there is one."""
    abnormal, normal = (sum(test.classes(metric)[kind] for test in tests) for kind in (0, 1))
    if min(abnormal, normal) < LEAST_PATIENTS:
        few = f"{abnormal} patients have an abnormal image and {normal} a normal one"
        return f"{few}; {LEAST_PATIENTS} of each are needed."
    names = [test.known for test in tests]
    if sum(map(len, names)) > len(set().union(*names)):
        return "patients are in several folds, which no interval allows for."
    return ""


def _of_images(record: Record, test: ScoredImages, metrics: Sequence[str]) -> list[Sample]:
    labels, scores = test.table["label"].to_numpy() == 1, test.table["score"].to_numpy(np.float64)
    threshold = (record.content.get("capability") or {}).get("threshold")
    if "image_accuracy" in metrics and threshold is None:
        raise AdbenchError(f"{record.path} has no image_accuracy: its method declares no threshold.")
    without = image_figures_without_each(scores, labels, test.groups, metrics, threshold)
    found = []
    for metric, column in zip(metrics, without.T, strict=True):
        kept = record.metrics.get(metric)
        figure = float(placements(scores, labels)[labels].mean()) if kept is None else kept
        found.append(Sample(figure, column))
    return found


def _of_pixels(record: Record, test: ScoredImages, metrics: Sequence[str]) -> list[Sample]:
    contributions: Contributions | None = record.contributions()
    if contributions is None:
        raise AdbenchError(f"{record.path} has no {metrics[0]}: its dataset has no masks, or its method draws no maps.")
    without = pixel_figures_without_each(contributions, test.groups_in_file, metrics)
    coarse = pixel_figures(contributions, metrics)
    found = []
    for metric, figure, column in zip(metrics, map(float, coarse), without.T, strict=True):
        kept = record.metrics.get(metric)
        found.append(Sample(figure, column) if kept is None else Sample(kept, column, _unlike(kept, figure, column)))
    return found


def _unlike(kept: float, coarse: float, without: Floats) -> str:
    """Say why a figure's patients can't be left out in coarse histograms: there it is another figure; else nothing.

    So it is where nearly all scores of the maps share few of the bins: then they vary otherwise too.
    """
    se = math.sqrt(float(covariance(without[:, None])[0, 0])) if np.isfinite(without).all() else 0.0
    if abs(coarse - kept) <= max(UNLIKE * se, 1e-3):
        return ""
    return (
        f"the figure of the coarse histograms in which patients are left out is {100 * coarse:.2f}, the record's "
        f"{100 * kept:.2f}: nearly all scores share few of their bins."
    )


def _of_patients(record: Record, test: ScoredImages, metrics: Sequence[str]) -> list[Sample]:
    table, groups = test.table, test.groups
    if len(np.unique(groups)) == len(groups):
        known = (
            "the patient of no image is known" if table["patient"].isna().all() else "each image is another patient's"
        )
        instead = f"image_{metrics[0].partition('_')[2]}"
        raise AdbenchError(f"{record.path} has no {metrics[0]}: {known}. Take {instead}.")
    one = patient.by_patient(table["score"], table["label"], groups)
    figures = patient.patient_metrics(table["score"], table["label"], groups)
    names, everyone = [f"image_{metric.partition('_')[2]}" for metric in metrics], np.arange(len(one.scores))
    without = image_figures_without_each(one.scores, one.labels, everyone, names)
    return [Sample(figures[metric], column) for metric, column in zip(metrics, without.T, strict=True)]
