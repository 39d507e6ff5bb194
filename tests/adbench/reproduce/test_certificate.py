"""The certificate: verdicts, leaks and ladders from records, on figures that can be computed by hand."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import pytest

from adbench.board.papers import Figure
from adbench.board.samples import Samples
from adbench.errors import AdbenchError
from adbench.reproduce import tables
from adbench.reproduce.cells import cells
from adbench.reproduce.certificate import decimals, judged, line, to_run
from adbench.reproduce.request import Request, chosen, request

FIVE = [89.0, 90.0, 91.0, 90.5, 89.5]


@pytest.mark.parametrize(
    ("paper", "values", "exact", "verdict"),
    [
        (92.40, FIVE, False, "reproduced"),
        (92.41, FIVE, False, "not reproduced"),
        (87.59, FIVE, False, "not reproduced"),
        (90.0, FIVE[:4], False, "cannot tell"),
        (90.0, [], False, "cannot tell"),
        (90.0, [90.0049], True, "reproduced"),
        (90.0, [90.0060], True, "not reproduced"),
        (90.0, [90.0] * 5, False, "reproduced"),
        (90.1, [90.0] * 5, False, "not reproduced"),
    ],
)
def test_a_verdict_needs_five_seeds_or_a_method_without_chance(
    paper: float, values: list[float], exact: bool, verdict: str
) -> None:
    assert judged(paper, values, exact)[0] == verdict


def test_a_figure_without_chance_is_rounded_as_the_paper_prints_it() -> None:
    assert judged(3.5, [3.534208], exact=True, decimals=1)[0] == "reproduced"
    assert judged(3.5, [3.56], exact=True, decimals=1)[0] == "not reproduced"
    assert (decimals("tgumiad", "image_auroc"), decimals("madclip", "image_auroc")) == (1, 2)


@pytest.mark.parametrize(
    ("paper", "values", "exact", "half_width", "verdict"),
    [
        (90.0, [90.0060], True, 0.002, "reproduced"),
        (90.0, [90.0080], True, 0.002, "not reproduced"),
        (90.0, [90.0], True, 0.74, "cannot tell"),
        (90.0, [90.7], True, 0.74, "cannot tell"),
        (90.0, [90.8], True, 0.74, "not reproduced"),
        (90.0, FIVE, False, 0.74, "reproduced"),
        (92.0, FIVE, False, 0.74, "cannot tell"),
        (93.0, FIVE, False, 0.74, "cannot tell"),
        (93.2, FIVE, False, 0.74, "not reproduced"),
    ],
)
def test_no_verdict_rests_on_a_computation_error_beyond_the_rounding(
    paper: float, values: list[float], exact: bool, half_width: float, verdict: str
) -> None:
    found, why = judged(paper, values, exact, half_width=half_width)
    assert found == verdict
    assert ("known to ± 0.74 points" in why) == (half_width == 0.74)


def fake(auroc: float | None, last: float | None = None, data: str = "real", **about: Any) -> SimpleNamespace:
    """A task with a record of just what a certificate reads; without a figure, one that failed."""
    cell = SimpleNamespace(capability=SimpleNamespace(stochastic=True, support="both"))
    if auroc is None:
        return SimpleNamespace(record=None, error=AdbenchError("no space left."), cell=cell)
    content = {"data": data, "selection": {"last": None if last is None else {"image_auroc": last}}, "dataset": about}
    content |= {"facts": {"dataset": "resc"}, "seen": []}
    record = SimpleNamespace(metrics={"image_auroc": auroc}, content=content)
    return SimpleNamespace(record=record, error=None, cell=cell)


def five(*figures: float, **about: Any) -> list[SimpleNamespace]:
    return [fake(*figures, **about) for _ in range(5)]


def asked_for(*words: str) -> tuple[Request, Figure]:
    asked = request(["mvfa"], ["table=1", "method=mvfa", "dataset=resc", "metric=image_auroc", *words])
    (figure,) = chosen(asked)
    return asked, figure


class NoSamples(Samples):
    """Records without images: no interval."""

    def images(self, record: Any) -> Any:
        raise AdbenchError("no images here.")


def certified(published: list[Any], *words: str, rungs: bool = False) -> Any:
    asked, figure = asked_for("data_root=/data", *words)
    some = cells(figure, asked)
    found = dict(zip(some.published, [[task] for task in published], strict=True))
    found |= {repeat: [fake(0.90)] for repeat in some.clean}
    if rungs:
        found |= {repeat: [fake(0.92)] for repeat in to_run(some, found)}
    return line(some, found, asked, NoSamples(), rungs)


def test_a_line_has_the_leak_and_the_verdict() -> None:  # the paper has 96.18
    one = certified([fake(0.96 + 0.001 * seed, 0.95) for seed in range(5)])
    assert one.verdict == "reproduced"
    assert one.published.mean == pytest.approx(96.2)
    assert one.leak == pytest.approx(1.2)
    assert (one.clean.mean, one.clean.why) == (90.0, "no images here.")
    assert tables.texts(one)["as published"] == "96.20 ± 0.16 (5)"
    assert "5 seeds" not in one.why


@pytest.mark.parametrize(
    ("tasks", "words", "why"),
    [
        ([*five(0.962)[:4], fake(None)], [], "1 of 5 cells have no record: no space left"),
        (five(0.962, data="phantom"), [], "phantoms in place of the data"),
        (five(0.962), ["schedule=short"], "schedule=short"),
        (five(0.962), ["backbone=ViT-B-16"], "backbone=ViT-B-16"),
        (
            five(0.962, published=False, expected={"test": [3, 4]}, counts={"test": [1, 2]}),
            [],
            "not the published set: test 1 [+] 2 instead of 3 [+] 4",
        ),
    ],
)
def test_without_the_papers_own_cells_there_is_no_verdict(tasks: list[Any], words: list[str], why: str) -> None:
    one = certified(tasks, *words)
    assert one.verdict == "cannot tell"
    assert re.search(why, one.why)


def test_of_a_listed_support_the_test_split_alone_must_be_the_published_one() -> None:
    about = {"published": False, "expected": {"valid": [8, 24], "test": [3, 4]}}
    same = five(0.962, counts={"valid": [16, 24], "test": [3, 4]}, **about)
    for task in same:
        task.record.content["support"] = {"source": "list:mvfa"}
    assert certified(same).verdict == "not reproduced"
    drawn = five(0.962, counts={"valid": [16, 24], "test": [3, 4]}, **about)
    assert certified(drawn).why == "not the published set: valid 16 + 24 instead of 8 + 24"


def test_the_ladder_goes_from_clean_to_as_published_and_its_steps_add_up() -> None:
    one = certified(five(0.94, 0.93), rungs=True)
    assert [rung.words for rung in one.ladder] == ["support=mvfa", "method.fusion=transductive", "selection=oracle"]
    assert [rung.mean for rung in one.ladder] == pytest.approx([92.0, 93.0, 94.0])
    assert [rung.moves for rung in one.ladder] == pytest.approx([2.0, 1.0, 1.0])
    assert sum(rung.moves for rung in one.ladder) == pytest.approx(one.published.mean - one.clean.mean)


def test_the_widest_computation_error_of_the_records_counts_and_is_marked() -> None:
    tasks = five(0.9655)
    assert certified(tasks).verdict == "not reproduced"
    tasks[2].record.content["half_widths"] = {"image_auroc": 0.0074}
    one = certified(tasks)
    assert (one.verdict, one.published.half_width) == ("cannot tell", pytest.approx(0.74))
    assert tables.texts(one)["as published"] == "≈96.55 ± 0.00 (5)"
    assert tables.texts(one)["clean"] == "90.00"
    asked, _ = asked_for("data_root=/data")
    assert "≈: computation error at most 0.74 points." in tables.to_html([one], [], asked)
    assert r"$\approx$96.55" in tables.to_latex([one], asked)
    assert tables.computation([certified(five(0.9655))]) == ""


def test_cells_that_come_out_the_same_count_once() -> None:
    one = certified([fake(0.962)] * 5)
    assert one.published.values == (pytest.approx(96.2),)
    assert (one.verdict, one.why) == ("cannot tell", "1 of 5 seeds")
    assert math.isnan(one.leak)


def test_the_rung_below_the_choice_of_the_epoch_is_free() -> None:
    asked, figure = asked_for("data_root=/data", "seed=0", "draw=0")
    some = cells(figure, asked)
    (repeat,) = to_run(some, {})
    assert "support=mvfa" in repeat
    assert not any("fusion" in word for word in repeat)
    assert to_run(some, {repeat: []}) == []


def test_tables_hold_each_line_and_escape_what_they_print() -> None:
    asked, _ = asked_for("data_root=/data_1")
    lines = [certified(five(0.94, 0.93), rungs=True)]
    reason = [(asked_for()[1]._replace(method="<b>"), "None & <i>none</i>.")]
    page = tables.to_html(lines, reason, asked)
    assert "not reproduced" in page
    assert "&lt;b&gt;, MVFA" in page
    assert "&amp; &lt;i&gt;" in page
    assert "selection=oracle" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "+2.18" in page  # what is left between the last step and the paper
    latex = tables.to_latex(lines, asked)
    assert r"mvfa & resc & 4 & image AUROC & 96.18 & 94.00 $\pm$ 0.00 (5) & +1.00 & 90.00 & not reproduced \\" in latex
    header, row = tables.to_csv(lines).strip().splitlines()
    assert header.split(",")[:3] == ["source", "table", "protocol"]
    assert "selection=oracle +1.00" in row
    assert "data_root=/data" in row
    assert tables.summary(lines, 1) == "1 figure: 1 not reproduced; 1 more can't be repeated here"
