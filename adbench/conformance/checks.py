"""The checks, in the order in which they run. Each returns what it saw instead of what was expected, or nothing."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.config.schema import ALLOWED
from adbench.conformance import check as checking
from adbench.conformance.bench import LARGE, PROBES, half_masked, renamed
from adbench.conformance.check import Check
from adbench.conformance.lasting import LASTING
from adbench.conformance.random_numbers import drew, watched
from adbench.conformance.subject import Subject, all_finite, content, equal, gap, take
from adbench.conformance.traces import growth, held, opened
from adbench.errors import AdbenchError, RecordError, ReturnError
from adbench.method import Capability, Method, Scores, fault_in, unmet

CHECKS: list[Check] = []
check = partial(checking.check, CHECKS)


@check(
    "parameters", "a dataclass `Params` that defaults, schedules and presets fit, `editable` of it", "Params", gate=True
)
def _parameters(s: Subject) -> str | None:
    schema = getattr(s.method_class, "Params", None)
    if not (isinstance(schema, type) and dataclasses.is_dataclass(schema)):
        return f"Params is {schema!r}"
    names = {f.name for f in dataclasses.fields(schema)}
    for name in s.method_class.editable:
        if name.partition(".")[0] not in names:
            return f"editable names {name!r}, which Params does not have"
    for name in s.method_class.files:
        if name not in names:
            return f"files names {name!r}, which Params does not have"
    if not isinstance(s.method_class.version, str):
        return f"version is {s.method_class.version!r}, no text"
    _ = s.params
    for kind, reads in (("schedule", s.resolved), ("preset", s.preset)):
        for name in s.yaml.get(f"{kind}s") or {}:
            if name not in ALLOWED[kind]:
                return f"a {kind} {name!r} in the YAML, which no run can ask for: {', '.join(ALLOWED[kind])} can be"
            try:
                reads(name)
            except Exception as error:
                return f"{kind}={name}, which ends in {s.said(error)}"
    return None


@check("capability", "a Capability that the backbone can serve, always the same", "capability", gate=True)
def _capability(s: Subject) -> str | None:
    can = s.capability
    if isinstance(can, Capability) and (needed := unmet(can, s.bench.architecture)):
        return (
            f"{needed}, which {s.bench.run.backbone} does not have; backbone=NAME backbone.weights=random names another"
        )
    if fault := fault_in(can, s.bench.architecture):
        return fault
    again = s.method_class.capability(s.params, s.bench.architecture)
    return None if again == can else f"another answer at the second call: {again}"


@check("constructor", "to store arguments only", "__init__")
def _constructor(s: Subject) -> str | None:
    bare = s.method_class(s.params, s.backbone)
    if bare.state_dict():
        return f"a constructor that creates {next(iter(bare.state_dict()))}; that belongs into `build`"
    return None


@check(
    "fit", "a fit on the classes that the capability declares, and on no other", "prepare", "build_memory", gate=True
)
def _fit(s: Subject) -> str | None:
    try:
        _ = s.fitted  # fitted on first use
    except Exception as error:
        said, declared = s.said(error), s.capability.support
        if declared != "both":
            try:
                s.fit(s.bench.support_of((0, 1)))
            except Exception:
                return said
            return f"support={declared!r} is declared, but without abnormal images the fit ends in {said}"
        return said
    return None


@check("batch alone", "scores from images, features and names: a Batch has no label, mask or path", "score", gate=True)
def _batch(s: Subject) -> str | None:
    try:
        _ = s.scores  # scored on first use
    except ReturnError as error:  # the next check's
        if not str(error).startswith("score()"):
            raise
    return None


@check("shapes", "image (B,) and maps (B, h, w), or none where maps=False is declared", "score", gate=True)
def _shapes(s: Subject) -> str | None:
    try:
        _ = s.scores  # scored on first use
    except ReturnError as error:
        return str(error).rstrip(".")
    return None


@check("finite", "no NaN and no infinity in scores and maps, on phantoms, black, white and noise", "score", gate=True)
def _finite(s: Subject) -> str | None:
    for what, scores in (("phantoms", s.scores), ("odd images", s.score(s.fitted, s.bench.strangers()))):
        for name, values in (("scores", scores.image), ("maps", scores.maps)):
            if values is not None and not torch.isfinite(values).all():
                bad = ~torch.isfinite(values.flatten(1) if values.ndim > 1 else values[:, None]).all(1)
                return f"{name} of {int(bad.sum())} of {PROBES} {what} not finite"
    return None


@check("range", "floating-point scores and maps that tell images apart", "score")
def _range(s: Subject) -> str | None:
    raw = s.raw(s.fitted.score)
    for name, values in (("image", raw.image), ("maps", raw.maps)):
        if values is not None and not values.is_floating_point():
            return f"{name} of type {values.dtype}"
        if values is not None and float(values.max()) == float(values.min()):
            return f"the same value {float(values.max()):g} everywhere in {name}"
    return None


@check(
    "determinism",
    "the same bits from the same seed, fitted or scored twice, with any number of cores",
    "generator",
    "prepare",
    "score",
)
def _determinism(s: Subject) -> str | None:
    once, twice = (s.score(s.fitted, s.bench.images()) for _ in range(2))
    if not equal(once, twice):
        return "other scores when the same images are scored again: something random, or remembered, in `score`"
    with s.on(1):
        once = s.score(s.fitted, s.bench.images(), 2)
    with s.on(4):
        twice = s.score(s.fitted, s.bench.images(), 2)
        again = s.score(_another_fit(s), s.bench.images())
    if not equal(once, twice):
        return "other scores where four cores score at a time: say `concurrent = False`, as `score` changes the method"
    if not equal(s.scores, again):
        return f"other scores after a second fit with four cores, {gap(s.scores, again):.3g} times what is tolerated"
    return None


@check("seeds", "the same bits from every seed where stochastic=False is declared, and else not the same", "capability",
       "generator", "build_memory")  # fmt: skip
def _seeds(s: Subject) -> str | None:
    with watched() as one:
        other = s.score(s.fit(seed=1), s.bench.images())
        one.ends(s.seeded)
    if not s.capability.stochastic:
        return None if equal(s.scores, other) else "other scores from seed 1 than from seed 0: declare stochastic=True"
    if not equal(s.scores, other) or one.asked:
        return None
    with watched() as two:
        other = s.score(s.fit(seed=2), s.bench.images())
        two.ends(s.seeded)
    if not equal(s.scores, other) or two.asked or (s.capability.epochs == 0 and drew(one, two)):
        return None  # what was drawn may count with more images than these
    return (
        "the same bits from the seeds 0, 1 and 2: take random numbers from self.generator, or where there are none, "
        "declare stochastic=False"
    )


@check("batch size", "the score of an image to be the same alone and in a batch", "score")
def _batch_size(s: Subject) -> str | None:
    whole = s.score(s.fitted, s.bench.images())
    for size in (1, 4):
        apart = gap(whole, s.score(s.fitted, s.bench.images(), size))
        if apart > 1:
            return f"scores in batches of {size} and of {PROBES} that differ by {apart:.3g} times what is tolerated"
    tiled = s.score_batch(s.large_batch(LARGE))
    apart = gap(take(whole, [i % PROBES for i in range(LARGE)]), tiled)
    if apart > 1:
        return f"scores in batches of {LARGE} and of {PROBES} that differ by {apart:.3g} times what is tolerated"
    return None


@check("other images", "a score that no other test image changes, in its batch or before", "score")
def _other_images(s: Subject) -> str | None:
    images, strangers = s.bench.images(), s.bench.strangers()
    s.score(s.fitted, strangers)
    apart = gap(s.scores, s.score(s.fitted, images))
    if apart > 1:
        return f"other scores after other images were scored, {apart:.3g} times what is tolerated: something is kept"
    mixed = s.score(s.fitted, np.concatenate([images[:2], strangers[:4]]))
    apart = gap(take(s.scores, [0, 1]), take(mixed, [0, 1]))
    return f"other scores in other company, {apart:.3g} times what is tolerated" if apart > 1 else None


@check("inputs", "support and batch left as they were given", "prepare", "build_memory", "score")
def _inputs(s: Subject) -> str | None:
    _ = s.fitted
    if s.wrote:
        return "a support that the fit has written into"
    batch = s.batch()
    tensors = {"images": batch.images, **dict(batch.features.tensors())}
    before = content(tensors)
    with torch.no_grad():
        s.fitted.score(batch)
    return None if content(tensors) == before else "a batch that `score` has written into"


@check("save and load", "the same bits from a new method with the saved state", "build", "build_memory", "load_fitted")
def _save_and_load(s: Subject) -> str | None:
    after = s.score(s.rebuilt(), s.bench.images())
    if equal(s.scores, after):
        return None
    return "other scores after loading: what `score` needs must be a parameter or buffer, registered in `build`"


@check("frozen backbone", "a backbone unchanged, in eval mode, without gradient, and not in the saved state", "build",
       "training_step")  # fmt: skip
def _frozen(s: Subject) -> str | None:
    _ = s.fitted
    if damage := s.bench.damage(s.backbone):
        return damage
    matrices = {name: value for name, value in s.backbone.model.state_dict().items() if value.ndim >= 2}
    for key, value in s.fitted.state_dict().items():
        for name, twin in matrices.items():
            if value.shape == twin.shape and torch.equal(value, twin):
                return f"{key} in the saved state, which is {name} of the backbone"
    return None


@check("one shot", "a fit on one image a class, or as few as it declares, finite scores", "prepare", "build_memory")
def _one_shot(s: Subject) -> str | None:
    return _wrong(s, lambda: s.few)


@check(
    "no masks", "a fit where none, or only some, of the support have masks, finite scores", "prepare", "build_memory"
)
def _no_masks(s: Subject) -> str | None:
    if seen := _wrong(s, lambda: s.unmasked):
        return f"without any mask: {seen}"
    seen = _wrong(s, lambda: s.score(s.fit(half_masked(s.support())), s.bench.images()))
    return f"with masks of every second image: {seen}" if seen else None


@check("scored in mid-fit", "a training that scoring between its epochs leaves unchanged", "score", "build_memory")
def _mid_fit(s: Subject) -> str | None:
    if s.capability.epochs == 0:
        return None
    return None if equal(s.scores, s.looked_at) else "other scores where selection rules look at every epoch"


@check("two datasets", "a fit on two datasets' images in which each image's own object counts", "prepare",
       "build_memory", "score")  # fmt: skip
def _two_datasets(s: Subject) -> str | None:
    whole = s.support()
    if not len(whole):
        return None
    of_both = s.score(s.fit(renamed(whole, 2)), s.bench.images())
    if not all_finite(of_both):
        return "scores that are not finite"
    if not equal(of_both, s.scores):
        return None
    # Nobody reads the names; or the fit alone doesn't; or the first image's name stands for all.
    if equal(s.score(s.fit(renamed(whole, 1)), s.bench.images()), s.scores):
        return None
    return "an object that counts for the first image only: the others' may be any, and the scores stay the same bits"


@check("files", "no file opened while scoring, and none kept", "score", "prepare")
def _files(s: Subject) -> str | None:
    batch = s.batch()
    with torch.no_grad(), opened() as files:
        s.fitted.score(batch)
    if files:
        return f"`score` opening {files[0]}"
    kept = held(s.fitted)
    return f"the method keeping {kept[0]}" if kept else None


@check("memory", "no more tensors alive after three more scorings of one batch", "score")
def _memory(s: Subject) -> str | None:
    batch = s.batch()

    def score() -> None:
        with torch.no_grad():
            s.fitted.score(batch)

    number, size = growth(score)
    if number > 0 or size > 0:
        return f"{number} more tensors, {size / 1e3:.2f} kB more, after three scorings of one batch"
    return None


@check("level maps", "of `level_maps`, where it is defined, finite maps (B, h, w) by block", "level_maps")
def _level_maps(s: Subject) -> str | None:
    if s.method_class.level_maps is Method.level_maps:
        return None
    numbers = s.bench.architecture.numbers
    value = s.raw(s.fitted.level_maps)
    if not isinstance(value, dict) or not all(isinstance(key, int) and key in numbers for key in value):
        keys = list(value) if isinstance(value, dict) else type(value).__name__
        return f"{keys}, where a dictionary is needed whose keys are {s.bench.architecture.named}"
    for block, maps in value.items():
        if not isinstance(maps, Tensor) or maps.ndim != 3 or len(maps) != PROBES:
            return f"{_shape(maps)} at block {block} for {PROBES} images"
        if not torch.isfinite(maps).all():
            return f"values at block {block} that are not finite"
    return None


@check(
    "adapted",
    "of `adapted_features`, where it is defined, one finite vector (B, C) that tells images apart",
    "adapted_features",
)
def _adapted(s: Subject) -> str | None:
    if s.method_class.adapted_features is Method.adapted_features:
        return None
    value = s.raw(s.fitted.adapted_features)
    if not isinstance(value, Tensor) or value.ndim != 2 or len(value) != PROBES:
        return f"{_shape(value)} for {PROBES} images"
    if not torch.isfinite(value).all():
        return "values that are not finite"
    return "the same vector for every image" if bool((value == value[:1]).all()) else None


@check("editable", "other scores where texts or fractions that `editable` names are others than in the fit",
       "build_memory", "build", "score")  # fmt: skip
def _editable(s: Subject) -> str | None:
    for name in s.method_class.editable:
        try:
            params = s.edited(name)
            if params == s.params:
                continue
            after = s.score(s.rebuilt(params), s.bench.images())
        except RecordError as error:
            return f"{name} changed: {s.said(error)}"
        except AdbenchError:  # the method refuses that very value, in its own words
            continue
        if not all_finite(after):
            return f"{name} changed: scores that are not finite"
        if equal(after, s.scores):
            return f"{name} changed, and the scores stay the same bits: what was made of it is in the saved state"
    return None


def _wrong(s: Subject, fitted: Callable[[], Scores]) -> str | None:
    """Return what is wrong with the scores after a fit, or with the fit."""
    try:
        scores = fitted()
    except Exception as error:
        return s.said(error)
    return None if all_finite(scores) else "scores that are not finite"


def _another_fit(s: Subject) -> Method[Any]:
    """Fit once more from the same seed, after other numbers were drawn, by a method of another seed among others."""
    s.new(seed=9)
    random.random(), np.random.rand(7), torch.rand(7)  # noqa: NPY002
    return s.fit()


def _shape(thing: Any) -> str:
    return f"a tensor of shape {tuple(thing.shape)}" if isinstance(thing, Tensor) else f"a {type(thing).__name__}"


CHECKS += LASTING
