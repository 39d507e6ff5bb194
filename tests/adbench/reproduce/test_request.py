"""The words of `adbench reproduce`: which figures, how often, and what is refused."""

from __future__ import annotations

import pytest

from adbench.errors import AdbenchError
from adbench.reproduce.request import chosen, request


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ([], 250),
        (["table=1"], 87),
        (["table=1", "dataset=brainmri,oct17"], 29),
        (["table=1", "dataset=bmad_masked", "metric=pixel_auroc"], 30),
        (["table=1,3", "method=m*clip"], 23),
        (["shots=2", "method=madclip", "metric=image_*"], 6),
    ],
)
def test_filters_choose_figures(words: list[str], number: int) -> None:
    assert len(chosen(request(["madclip"], words))) == number


def test_without_a_paper_all_649_are_meant_and_an_ablation_is_of_its_method() -> None:
    assert len(chosen(request([], []))) == 649
    assert len(chosen(request(["mvfa"], ["method=mvfa", "table=5"]))) == 18
    assert len(chosen(request(["mvfa"], ["method=mvfa:layer1"]))) == 2


def test_five_seeds_and_draws_are_the_default_and_on_phantoms_one_and_two() -> None:
    real, phantom = request(["mvfa"], ["data_root=/data"]), request(["mvfa"], [])
    assert (real.seeds, real.draws, real.phantom) == ((0, 1, 2, 3, 4), (0, 1, 2, 3, 4), False)
    assert (phantom.seeds, phantom.draws, phantom.phantom) == ((0,), (0, 1), True)
    assert request(["mvfa"], ["seed=3,1,3", "draw=7"]).seeds == (3, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table"], "is not key=value"),
        (["tabel=1"], r"unknown key 'tabel' for adbench reproduce: did you mean 'table'"),
        (["table=1", "table=2"], "'table' is given twice"),
        (["selection=last"], "selection= is fixed by the paper's cell"),
        (["method.epochs=1"], r"method\.epochs= is fixed by the paper's cell"),
        (["seed=first"], "seed=first is not possible: whole numbers"),
        (["draw=-1"], "draw=-1 is not possible"),
    ],
)
def test_words_that_make_no_cell_of_the_paper_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        request(["madclip"], words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table=9"], "table=9: no such figure in madclip"),
        (["dataset=brainmr"], "did you mean 'brainmri'"),
        (["table=3", "shots=2"], "shots=2: no such figure in madclip with the other words"),
    ],
)
def test_a_filter_that_no_figure_has_is_named(words: list[str], message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        chosen(request(["madclip"], words))


def test_an_unknown_paper_is_named() -> None:
    with pytest.raises(AdbenchError, match="unknown paper 'madclipp'"):
        request(["madclipp"], [])
