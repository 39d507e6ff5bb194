"""Whether a record may stand as it does: support, seen, overlap and selection against one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from adbench.cells.cell import ELSEWHERE
from adbench.data.fingerprint import digest
from adbench.data.items import CLASSES, SPLITS
from adbench.records.record import Record
from adbench.system.text import brief, printable

CLOSE = 1e-9
AS_EVALUATED = 1e-4  # the chosen epoch is evaluated twice, which differs in the last bits on some GPUs


def check_standing(record: Record, tested: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each contradiction between support, seen, overlap, selection and facts.

    tested: the ids of the test images.
    """
    content = record.content
    ids = learned(content)
    yield from _check_support(content, ids)
    if content.get("seen") is not None:
        yield from _check_seen(content, ids)
    yield from _check_leaks(content, ids, tested)
    yield from _check_selection(content)


def learned(content: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return dataset, split, class and id of each image of the support."""
    facts, found = content["facts"], []
    several = [*dict.fromkeys((facts.get("train_on") or "").split("+"))]
    alone = several[0] if len(several) == 1 and several[0] else str(facts["dataset"])
    for kind in CLASSES:
        for name in content["support"][kind]:
            dataset, colon, own = str(name).partition(":") if len(several) > 1 else (alone, "", str(name))
            own = own if colon or len(several) == 1 else dataset
            split = own.partition("/")[0]
            found.append((dataset, split if split in SPLITS else "", kind, own))
    return found


def _check_support(content: Mapping[str, Any], ids: list[tuple[str, str, str, str]]) -> Iterator[str]:
    support, resolved = content["support"], content["resolved"]
    source, shots = support["source"], support["shots"]
    kind, _, number = source.partition(":")
    counts = [len(support["normal"]), len(support["abnormal"])]
    learns = content["capability"].get("support")
    if (kind == "none") != (learns == "none") and learns is not None:
        yield f"support.source is {brief(source)}, and capability.support is {brief(learns)}"
        return
    if kind == "none":
        if any(counts) or shots != 0 or support["hash"] != digest(""):
            yield "support names images, and support.source is none"
        return
    if kind == "draw" and int(number) != resolved["draw"]:
        yield f"support.source is {brief(source)}, and resolved.draw is {resolved['draw']}"
    if kind == "draw" and shots != resolved["shots"]:
        yield f"support.shots is {brief(shots)}, and resolved.shots is {brief(resolved['shots'])}"
    if kind == "list" and PurePath(resolved.get("support") or "").name != number:
        yield f"support.source is {brief(source)}, and resolved.support is {brief(resolved.get('support'))}"
    sets = len({dataset for dataset, *_ in ids}) or 1
    wanted = [shots * sets if type(shots) is int else None] * 2
    if learns == "normal":
        wanted[1] = 0
    for images, name, many in zip(counts, CLASSES, wanted, strict=True):
        if kind == "draw" and many is not None and images != many:
            yield f"support.{name} names {images} images, and {shots} shots of {sets} dataset(s) are {many}"
        if many is None and not images:
            yield f"support.{name} names no image, and support.shots is {brief(shots)}"
    if kind == "list" and type(shots) is int and max(counts) != shots:
        yield f"support.shots is {shots}, and the longer list of its images has {max(counts)}"
    if double := [name for name, many in Counter([*support["normal"], *support["abnormal"]]).items() if many > 1]:
        yield f"support names {printable(str(double[0]))} twice"
    for _, split, one, name in ids:
        parts = name.split("/")
        if split and len(parts) > 2 and parts[1] in CLASSES and parts[1] != one:
            yield f"support.{one} names {printable(name)}, which is called {parts[1]}"
            break


def _check_seen(content: Mapping[str, Any], ids: list[tuple[str, str, str, str]]) -> Iterator[str]:
    facts, seen = content["facts"], content["seen"]
    learned = [one for one in seen if one.get("role") == "support"]
    stated = Counter[tuple[str, str]]()
    for one in learned:
        stated[str(one.get("dataset")), str(one.get("split"))] += int(one.get("images") or 0)
    if stated.total() != len(ids):
        yield f"seen counts {stated.total()} images that were learned from, and support names {len(ids)}"
    elif all(split for _, split, *_ in ids) and stated != (named := Counter((one[0], one[1]) for one in ids)):
        odd = sorted({*stated, *named} - {key for key in stated if stated[key] == named[key]})[0]
        yield f"seen says {stated[odd]} images of the {odd[1]} split of {odd[0]}, and support names {named[odd]}"
    elsewhere = content["protocol"] in ELSEWHERE
    sets = [*dict.fromkeys(str(one.get("dataset")) for one in learned)]
    if elsewhere and facts.get("train_on") != "+".join(sets):
        yield f"facts.train_on is {brief(facts.get('train_on'))}, and seen names {brief('+'.join(sets))}"
    if not elsewhere and (facts.get("train_on") is not None or set(sets) - {facts["dataset"]}):
        yield f"protocol {content['protocol']} learns from {facts['dataset']}, and seen or facts.train_on name others"
    for one in seen:
        if one.get("dataset") != facts["dataset"]:
            continue
        for key, mine in (("data", content["data"]), ("published", content["dataset"].get("published"))):
            if key in one and one[key] != mine:
                yield f"seen says {key} {brief(one[key])} of {facts['dataset']}, and the record {brief(mine)}"
                return


def _check_leaks(
    content: Mapping[str, Any], ids: list[tuple[str, str, str, str]], tested: Collection[str]
) -> Iterator[str]:
    facts, overlap = content["facts"], content["overlap"]
    own = [name for dataset, _, _, name in ids if dataset == facts["dataset"]]
    both = len({*own} & {*tested})
    if both > overlap:
        yield f"overlap is {overlap}, and {both} images of the support are test images: a leak cannot stand as clean"
    seen = content.get("seen") or []
    from_test = sum(split == "test" for dataset, split, *_ in ids if dataset == facts["dataset"])
    from_test = max(from_test, sum(
        int(one.get("images") or 0) for one in seen
        if one.get("role") == "support" and one.get("split") == "test" and one.get("dataset") == facts["dataset"]
    ))  # fmt: skip
    if from_test and facts.get("abnormal_support") != "test" and overlap < from_test:
        yield (
            f"{from_test} images of the support are from the test split, and overlap is {overlap}: "
            "a leak cannot stand as clean"
        )
    if not from_test and facts.get("abnormal_support") == "test":
        yield "facts.abnormal_support is test, and no image of the support is from the test split"
    held = sum(int(one.get("images") or 0) for one in seen if one.get("role") == "selection")
    if overlap > len(ids) + held:
        yield f"overlap is {overlap}, and only {len(ids) + held} images were learned from or chose the epoch"


def _check_selection(content: Mapping[str, Any]) -> Iterator[str]:
    rule, facts, selection = content["resolved"]["selection"], content["facts"], content["selection"]
    epochs, epoch = content["capability"].get("epochs"), selection.get("epoch")
    curve = {int(key): float(value) for key, value in (selection.get("curve") or {}).items()}
    by_scores = rule in ("oracle", "valid", "support_cv")
    wanted = int(rule[6:]) if rule.startswith("fixed:") and rule[6:].isdigit() else epochs if rule == "last" else None
    # A training of so many steps may end before, and a method that adbench doesn't bring may end it by itself.
    early = rule == "last" and ("max_steps" in (facts.get("trainer") or {}) or "source" in facts)
    if wanted is not None and epoch is not None and not (epoch == wanted or (early and 0 < epoch < wanted)):
        yield f"selection.epoch is {epoch}, and selection={rule} scores epoch {wanted}"
    if by_scores != bool(curve):
        none = "at least one" if by_scores else "none"
        yield f"selection.curve has {len(curve)} epochs, and selection={rule} looks at {none}"
    elif curve and epoch != max(curve, key=lambda one: (curve[one], -one)):
        yield f"selection.epoch is {epoch}, and selection.curve is best in another one"
    if rule in ("valid", "support_cv") and "held" not in facts:
        yield f"facts.held is missing, and selection={rule} holds images out"
    seen = content.get("seen")
    chosen = [one for one in seen or () if one.get("role") == "selection"]
    on_test = [one for one in chosen if (one.get("dataset"), one.get("split")) == (facts["dataset"], "test")]
    if rule == "oracle":
        if seen is not None and sum(int(one.get("images") or 0) for one in on_test) != content["test_images"]:
            yield f"selection=oracle looks at the {content['test_images']} test images, and seen doesn't say so"
        last = selection.get("last")
        if last is None:
            yield "selection.last is null, and selection=oracle keeps the figures of the last epoch"
        elif curve:
            if abs(_criterion(last) - curve[max(curve)]) > CLOSE:
                yield "selection.last has other figures than the last epoch of selection.curve"
            if epoch in curve and abs(_criterion(content["metrics"]) - curve[epoch]) > AS_EVALUATED:
                yield "metrics has other figures than the chosen epoch of selection.curve"
    elif on_test and facts.get("abnormal_support") != "test":
        yield f"seen says that test images chose the epoch, and selection is {rule}: a leak cannot stand as clean"
    if seen is not None and rule != "oracle" and (rule == "valid") != bool(chosen):
        yield f"seen names {len(chosen)} sets that chose the epoch, and selection is {rule}"


def _criterion(metrics: Mapping[str, Any]) -> float:
    """Return what oracle compares: image AUROC plus, where there are masks, pixel AUROC."""
    return float(sum(metrics.get(name) or 0.0 for name in ("image_auroc", "pixel_auroc")))
