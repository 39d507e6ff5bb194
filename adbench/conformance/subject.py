"""One method under examination: fitted and scored in all the ways that the checks compare."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from adbench.backbone.contract import Backbone, Features
from adbench.backbone.features import autocast
from adbench.cells.protocols import SUPPORT_LABELS
from adbench.config import layers
from adbench.config.given import plain
from adbench.config.schema import RunConfig
from adbench.config.words import defaults, parse
from adbench.conformance.bench import PROBES, SHOTS, Bench
from adbench.conformance.random_numbers import global_states
from adbench.conformance.settings import unchanged
from adbench.conformance.strays import newer
from adbench.data.image_set import to_tensor
from adbench.errors import AdbenchError, MethodError
from adbench.method import Batch, Capability, Method, Scores, Support, unwritten
from adbench.plugins import locate, registry
from adbench.scoring.returned import scores_of
from adbench.scoring.score import score_images, show_test_images
from adbench.system import cores
from adbench.system.lightning import pl
from adbench.system.text import said
from adbench.training.fit import fit
from adbench.training.selection import EachEpoch, StopAfter

EPOCHS = 2  # the contract shows itself in two epochs; how well a method learns is no part of it


class Subject:
    """A method class, the words `method.X=` that were given for it, and the bench; `fitted` is fitted on first use."""

    def __init__(self, method: str | type[Method[Any]], words: Mapping[str, Any], bench: Bench) -> None:
        self.bench = bench
        self.words = {key: plain(f"method.{key}", value) for key, value in words.items()}
        self.wrote = False  # whether a fit has written into its support
        self.changed: list[str] = []  # settings of the process that the method has changed
        self.strays = newer()
        if isinstance(method, str):
            layers.check_installed(method)
            self.name, self.yaml = method, layers.method_config(method)
            with unchanged(self.changed):
                self.method_class: type[Method[Any]] = registry.find("method", method).load()
        elif isinstance(method, type):
            self.name, self.method_class, self.yaml = method.__name__, method, _yaml_of(method)
        else:
            raise AdbenchError(
                f"check_method takes a class or a name, and an object of type {type(method).__name__} is given. Give "
                "the class, as in check_method(MyMethod), or its name, as in check_method('FILE.py:MyMethod')."
            )
        if not (isinstance(self.method_class, type) and issubclass(self.method_class, Method)):
            raise AdbenchError(f"{self.name!r} is {self.method_class!r}, which is no subclass of adbench.Method.")
        if missing := unwritten(self.method_class):
            file = locate.source_file(self.method_class)
            raise MethodError(f"the method {missing}." + (f" It is defined in {file}." if file else ""))

    @functools.cached_property
    def params(self) -> Any:
        """The parameters, as a run resolves them."""
        return self.resolved(self.bench.run.schedule)

    def resolved(self, schedule: str) -> Any:
        """Return the parameters under a schedule."""
        return layers.merge_params(self.method_class.Params, self.yaml, schedule, self.words, f"method {self.name!r}")

    def preset(self, name: str) -> RunConfig:
        """Return the run that a preset of the YAML asks for; what can't be used raises."""
        keys = dict(self.yaml["presets"][name])
        layers.merge(RunConfig, defaults() | keys, {}, "run")
        words = [f"{key}={'null' if value is None else value}" for key, value in keys.items()]
        return parse(words)[0]

    def edited(self, name: str) -> Any:
        """Return the parameters, in a field (`prompts`, `prompts.normal`) each text longer by a word, floats halved."""
        tree = dataclasses.asdict(self.params)
        *parents, leaf = name.split(".")
        place = functools.reduce(lambda inner, key: inner[key], parents, tree)
        place[leaf] = _other(place[leaf])
        return layers.merge(self.method_class.Params, tree, {}, f"method {self.name!r}")

    @functools.cached_property
    def capability(self) -> Capability:
        """What the method declares."""
        return self.method_class.capability(self.params, self.bench.architecture)

    @functools.cached_property
    def fitted(self) -> Method[Any]:
        """The method, fitted on what it declares to learn from."""
        return self.fit()

    @functools.cached_property
    def scores(self) -> Scores:
        """What `fitted` says of the bench's images, in one batch."""
        return self.score(self.fitted, self.bench.images())

    @functools.cached_property
    def looked_at(self) -> Scores:
        """What a method says that was scored after each epoch of its fit."""
        return self.score(self.fit(looked_at=True), self.bench.images())

    @functools.cached_property
    def few(self) -> Scores:
        """What a method says that was fitted on other images, as few as can be."""
        return self.score(self.fit(self.support(self.capability.least_support, others=True)), self.bench.images())

    @functools.cached_property
    def unmasked(self) -> Scores:
        """What a method says that was fitted on other images, as many as `fitted`, none with a mask."""
        return self.score(self.fit(self.support(masks=False, others=True)), self.bench.images())

    @property
    def backbone(self) -> Backbone:
        """The backbone as the method asks for it."""
        if not self.capability.own_backbone:
            return self.bench.backbone_for(self.capability)
        return self.bench.own(
            self.method_class.own_backbone(self.params, self.bench.run.words("backbone").get("weights"))
        )

    @contextlib.contextmanager
    def on(self, number: int) -> Iterator[None]:
        """Fit and score with so many cores."""
        before = self.bench.run.cores
        self.bench.run.cores = number
        cores.use(number)
        try:
            yield
        finally:
            self.bench.run.cores = before
            cores.use(before)

    def new(self, seed: int = 0, params: Any = None) -> Method[Any]:
        """Return the untrained method, every generator seeded, as a run builds it."""
        cores.use(self.bench.run.cores)
        pl.seed_everything(seed, workers=True, verbose=False)
        backbone = self.backbone
        with unchanged(self.changed):
            method = self.method_class.create(
                self.params if params is None else params, backbone, seed, precision=self.bench.run.precision
            )
        if method._frozen is not None:
            method._frozen.built = None  # `Bench.damage` looks, once all other checks were made
        return method

    def rebuilt(self, params: Any = None) -> Method[Any]:
        """Return a new method of another seed, perhaps with other parameters, that has loaded what `fitted` saves.

        As wherever a record is loaded, a transductive one then sees the images that are scored.
        """
        state = {name: value.detach().cpu().contiguous() for name, value in self.fitted.state_dict().items()}
        method = self.new(seed=9, params=params)
        method.load_fitted(load(save(state)))
        self._show_test_images(method)
        return method.eval()

    def support(self, shots: int = SHOTS, masks: bool = True, others: bool = False) -> Support:
        """Return a support of the classes that the method declares; `others`: of images that no other support has."""
        return self.bench.support_of(SUPPORT_LABELS[self.capability.support], shots, masks, others)

    def fit(self, support: Support | None = None, looked_at: bool = False, seed: int = 0) -> Method[Any]:
        """Return a newly fitted method; `looked_at`: scored after each epoch, as some selection rules do."""
        support = self.support() if support is None else support
        method = self.new(seed)

        def look(m: Method[Any]) -> None:
            self._show_test_images(m)
            self.score(m, self.bench.images()[:1])

        callbacks = [StopAfter(EPOCHS), *([EachEpoch(support, look)] if looked_at else [])]
        before, self.seeded = content(_tensors(support)), global_states()
        with unchanged(self.changed):
            fit(method, support, self.bench.run, torch.device("cpu"), callbacks)
            self.wrote |= content(_tensors(support)) != before
            method.forget_training()
            self._show_test_images(method)
        return method

    def _show_test_images(self, method: Method[Any]) -> None:
        """Let a transductive method see the bench's images; what it then says of an image must stay the same."""
        if self.capability.transductive:
            show_test_images(method, self.bench.images(), *self._how(PROBES))

    def _how(self, batch_size: int) -> tuple[str, str, int, str]:
        run = self.bench.run
        return run.dataset, self.bench.dataset.object_name, batch_size, run.precision

    def score(self, method: Method[Any], images: NDArray[np.uint8], batch_size: int = PROBES) -> Scores:
        """Score (N, H, W, 3) uint8 images as a run does: in batches that hold neither label nor mask."""
        with unchanged(self.changed):
            parts = [part for _, part in score_images(method, images, *self._how(batch_size))]
        maps = [part.maps for part in parts if part.maps is not None]
        return Scores(torch.cat([part.image for part in parts]), torch.cat(maps) if maps else None)

    def batch(self) -> Batch:
        """Return the bench's images as `score` sees them."""
        pixels = to_tensor(self.bench.images())
        return Batch.of(self.fitted, pixels, self.bench.run.dataset, self.bench.dataset.object_name)

    def large_batch(self, number: int) -> Batch:
        """Return them again and again, `number` images in one batch; each image has the same features every time."""
        batch, rows = self.batch(), torch.arange(number) % PROBES

        def tiled(tensors: dict[int, Tensor]) -> dict[int, Tensor]:
            return {key: tensor[rows] for key, tensor in tensors.items()}

        of = batch.features
        pooled = None if of.pooled is None else of.pooled[rows]
        features = Features(tiled(of.blocks), pooled, tiled(of.stages), tiled(of.registers), tiled(of.vv))
        return Batch(batch.images[rows], features, batch.datasets[:1] * number, batch.object_names[:1] * number)

    @torch.no_grad()
    def score_batch(self, batch: Batch) -> Scores:
        """Score one batch, in fp32, on the CPU."""
        with unchanged(self.changed), autocast(torch.device("cpu"), self.bench.run.precision):
            scores = scores_of(self.fitted, batch)
        return Scores(scores.image.float(), None if scores.maps is None else scores.maps.float())

    def raw(self, asked: Callable[[Batch], Any]) -> Any:
        """Return what `fitted.score`, or the like, says of them, before the scorer turns it into fp32."""
        with torch.no_grad(), autocast(torch.device("cpu"), self.bench.run.precision):
            return asked(self.batch())

    def where(self, *names: str) -> str:
        """Return where the named methods of the class are defined: `Nearest.score (method.py:56)`."""
        return ", ".join(_where(self.method_class, name) for name in names)

    def said(self, error: BaseException) -> str:
        """Return an error's class and first line, and the deepest place in the method's own file or notebook."""
        if isinstance(error, MethodError) and error.__cause__ is not None:
            error = error.__cause__
        at = ""
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_globals.get("__name__") == self.method_class.__module__:
                at = f" ({Path(frame.f_code.co_filename).name}:{line})"
        return said(error) + at


def _yaml_of(method_class: type[Method[Any]]) -> dict[str, Any]:
    """Return the YAML next to a class, as for `FILE.py:Class`, or an empty dictionary."""
    file = locate.source_file(method_class)
    path = locate.config_near(file, True, "method", method_class.__name__, exact=False) if file else None
    return layers.load_yaml(path) if path else {}


def _other(value: Any, listed: bool = False) -> Any:
    """Return another value of the same kind; a text is one that names the object or stands in a list, not a choice."""
    if isinstance(value, dict):
        return {key: _other(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_other(inner, listed=True) for inner in value]
    if isinstance(value, str) and (listed or "{}" in value):
        return f"{value} scan"
    return value / 2 if isinstance(value, float) else value


def _where(method_class: type[Any], name: str) -> str:
    attribute = inspect.getattr_static(method_class, name, None)
    function = getattr(attribute, "fget", None) or getattr(attribute, "__func__", None) or attribute
    qualified = str(getattr(function, "__qualname__", ""))
    title = f"{method_class.__name__}.{name}"
    if qualified.endswith(f".{name}"):  # of a class that it inherits from, perhaps
        title = qualified.rpartition("<locals>.")[2]
    file = locate.source_file(function)
    try:
        line = inspect.getsourcelines(function)[1]
    except (OSError, TypeError):
        return title
    return f"{title} ({Path(file).name}:{line})" if file else title


def equal(one: Scores, two: Scores) -> bool:
    """Whether two scores are the same bits; NaN counts as itself."""

    def same(a: Tensor | None, b: Tensor | None) -> bool:
        if a is None or b is None:
            return a is b
        return a.shape == b.shape and bool(torch.equal(a.nan_to_num(7e7), b.nan_to_num(7e7)))

    return same(one.image, two.image) and same(one.maps, two.maps)


def all_finite(scores: Scores) -> bool:
    """Whether no score and no value of a map is NaN or infinite."""
    return all(bool(torch.isfinite(values).all()) for values in (scores.image, scores.maps) if values is not None)


def gap(one: Scores, two: Scores) -> float:
    """Return the largest difference of scores or maps in units of (1e-5 + 1e-4 of the value): above 1 is apart."""
    pairs = [(one.image, two.image)]
    if one.maps is not None and two.maps is not None:
        pairs.append((one.maps, two.maps))
    if any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    return max(float(((a - b).abs() / (1e-5 + 1e-4 * b.abs())).max()) for a, b in pairs)


def take(scores: Scores, rows: Sequence[int]) -> Scores:
    """Return the scores of some images."""
    return Scores(scores.image[list(rows)], None if scores.maps is None else scores.maps[list(rows)])


def _tensors(support: Support) -> dict[str, Tensor]:
    return {name: value for name, value in vars(support).items() if isinstance(value, Tensor)}


def content(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of named tensors' bits."""
    whole = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        whole.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
