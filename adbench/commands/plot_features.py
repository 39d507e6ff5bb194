"""`adbench plot features`: t-SNE of frozen and adapted features, normal against abnormal (MVFA, Fig. 6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from adbench.backbone.features import FrozenFeatures, autocast
from adbench.cells.datamodule import open_test_images
from adbench.commands.console import plain_console
from adbench.commands.keys import PLOT_KEYS
from adbench.commands.score import load_keys
from adbench.config.layers import write_value
from adbench.data.decode import ImageFormat
from adbench.data.image_set import to_tensor
from adbench.data.indexed import open_dataset
from adbench.errors import AdbenchError, RecordError, did_you_mean
from adbench.method import Batch, Method, defining, naming_the_method
from adbench.records import files
from adbench.running.apply import Fitted, load
from adbench.scoring.returned import adapted_of
from adbench.system.files import check_png, write_output
from adbench.system.progress import track
from adbench.system.session import Session
from adbench.system.text import counted, printable

MOST = 1000  # images in a picture
NEIGHBOURS = 5
STYLES = (("normal", "#0072B2", "o"), ("abnormal", "#D55E00", "^"))  # Okabe and Ito's blue and vermilion


def plot_features(record: Path, words: Sequence[str], out: Path | None) -> tuple[Path, dict[str, float]]:
    """Draw the test images of a record as points; return the picture's path and how clean both halves are.

    `words` are `key=value`, of `PLOT_KEYS`. What is read because the record names it is printed.
    Clean: the share of the nearest neighbours (5, in the features' own space, cosine) that are of an image's own class.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise AdbenchError("plot needs scikit-learn: pip install 'adbench-medical[plot]'") from error
    check_png(out)
    keys = keys_of(words)
    fitted = load(record, **load_keys(keys))
    if type(fitted.method).adapted_features is Method.adapted_features:
        raise AdbenchError(
            f"{fitted.config.method_name} adapts no features: there is nothing to compare with the frozen ones. "
            f"Methods that do: {', '.join(defining('adapted_features'))}."
        )
    config, console = fitted.config, plain_console()
    if "data_root" in keys:
        fitted = dataclasses.replace(fitted, config=dataclasses.replace(config, data_root=keys["data_root"]))
    elif config.data_root != "phantom":
        asked = [config.data_root, *(f"dataset.{key}={write_value(v)}" for key, v in config.words("dataset").items())]
        console.print(
            f"note: reads the images of {config.dataset} in {printable(' '.join(asked))}, as {record} says; "
            "data_root=DIR names another folder."
        )
    for note in fitted.notes:
        console.print(f"note: {note}")
    with naming_the_method(fitted.config.method_name):
        features, labels = collect(fitted)
    if len(labels) < 10:
        raise AdbenchError(
            f"{record} has {counted(len(labels), 'test image')}; a picture of features needs at least 10."
        )
    perplexity = min(30.0, (len(labels) - 1) / 3)
    points = {
        name: TSNE(2, perplexity=perplexity, init="pca", metric="cosine", random_state=0).fit_transform(rows)
        for name, rows in features.items()
    }
    clean = {name: purity(rows, labels) for name, rows in features.items()}
    out = out or fitted.record.path / "features.png"
    picture = draw(points, labels, clean, f"{fitted.config.method_name} on {fitted.config.dataset_name}")
    write_output(out, picture, "file with --out FILE", (fitted.record.path / name for name in files.ALL))
    return out, clean


def keys_of(words: Sequence[str]) -> dict[str, str]:
    """Return the keys of some words; AdbenchError for what the command doesn't take."""
    keys = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in PLOT_KEYS:
            raise AdbenchError(f"unknown key {key!r} for plot features: {did_you_mean(key, PLOT_KEYS)}")
        keys[key] = value
    return keys


@torch.no_grad()
def collect(fitted: Fitted) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
    """Return frozen and adapted features (N, C each) of the record's test images, and their labels (N,).

    Frozen: the patches' mean after the method's `adapted_block`, or CLIP's image embedding.
    """
    config, asked, facts = fitted.config, fitted.capability, fitted.record.content["facts"]
    target = open_dataset(config.dataset, config, Session())
    if target.fingerprint != facts["data"]:
        raise RecordError(f"the images of {config.dataset} are no longer those that {fitted.record.path} saw.")
    how = ImageFormat(fitted.method.backbone.input_size, asked.resize, asked.grey, int(facts["eval_size"]))
    test = open_test_images(target, how, config.cache_dir)
    images = test.images
    # Evenly over the split, in which normal images come first.
    rows = np.unique(np.linspace(0, len(images) - 1, min(MOST, len(images))).astype(int))
    columns: dict[str, list[NDArray[np.float32]]] = {"frozen": [], "adapted": []}
    method = fitted.method
    device, size, block = method.backbone.device, config.batch_size, method.adapted_block
    # The method's own blocks may end before the block that its adapted features are compared with.
    blocks = tuple({*asked.blocks, *([] if block is None else [block])})
    encode = FrozenFeatures(
        method.backbone, fitted.record.content["backbone"]["weights_hash"],
        dataclasses.replace(asked.outputs, blocks=blocks, pooled=asked.pooled or block is None), config.precision,
        config.features_dir, config.feature_cache,
    )  # fmt: skip
    for start in track(range(0, len(rows), size), "features", -(-len(rows) // size)):
        part = to_tensor(images[rows[start : start + size]])
        features = encode(part).to(device)
        batch = Batch.of(method, part, test.dataset, test.object_name, features)
        with autocast(device, config.precision):
            adapted = adapted_of(method, batch)
        frozen = (
            features.pooled
            if block is None
            else features.blocks[block][:, method.backbone.architecture.prefix :].float().mean(1)
        )
        assert frozen is not None
        columns["frozen"].append(frozen.float().cpu().numpy())
        columns["adapted"].append(adapted.float().cpu().numpy())
    labels = test.labels[rows].astype(np.int64)
    return {name: np.concatenate(parts) for name, parts in columns.items()}, labels


def purity(rows: NDArray[np.float32], labels: NDArray[np.int64], count: int = NEIGHBOURS) -> float:
    """Return the mean share of the `count` nearest rows (cosine) that have a row's own label, in [0, 1].

    >>> purity(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]), np.array([0, 0, 1, 1]), count=1)
    1.0
    """
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
    near = unit @ unit.T
    np.fill_diagonal(near, -np.inf)
    order = np.argsort(-near, axis=1, kind="stable")[:, :count]
    return float((labels[order] == labels[:, None]).mean())


def draw(
    points: dict[str, NDArray[np.float32]], labels: NDArray[np.int64], clean: dict[str, float], title: str
) -> bytes:
    """Return a PNG with one panel for each of `points`, shapes and colours by label."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(points), 5.4), dpi=120, layout="constrained")
    figure.suptitle(title)
    for place, (name, places) in enumerate(points.items(), 1):
        axes = figure.add_subplot(1, len(points), place)
        for label, (text, colour, marker) in enumerate(STYLES):
            of_class = places[labels == label]
            axes.scatter(
                of_class[:, 0], of_class[:, 1], s=22, c=colour, marker=marker, alpha=0.75, linewidths=0, label=text
            )
        axes.set_title(f"{name}: {100 * clean[name]:.0f} % of nearest neighbours agree", fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.legend(loc="best", frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
