"""The papers' figures: each has a rule, and each rule gives the cells that the paper describes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from adbench.board import papers
from adbench.board.papers import Figure
from adbench.config.layers import load_yaml
from adbench.errors import AdbenchError
from adbench.plugins import registry

FIGURES = papers.all_figures()


def words(figure: Figure, depth: int = papers.DEPTH) -> str:
    published = papers.repetition(figure, depth).published
    return " ".join(f"{key}={value}" for key, value in published.items())


def find(source: str, table: str, method: str, dataset: str, metric: str = "image_auroc", shots: str = "") -> Figure:
    found = [
        one
        for one in FIGURES
        if (one.source, one.table, one.method, one.test_dataset, one.metric) == (source, table, method, dataset, metric)
        and shots in ("", one.shots)
    ]
    return found[0]


def test_each_of_the_649_figures_has_cells_or_a_reason() -> None:
    assert len(FIGURES) == 649
    assert papers.names() == sorted({one.source for one in FIGURES})
    for one in FIGURES:
        found = papers.repetition(one)
        assert "has no rule" not in found.reason
        assert found.reason.endswith(".") or (found.cell["method"] and found.cell["protocol"] and found.cell["dataset"])
        assert "{" not in found.reason + found.note
    repeated = [one for one in FIGURES if not papers.repetition(one).reason]
    assert len(repeated) == 473


def test_every_rule_is_of_some_figure() -> None:
    for name in papers.names():
        rules = papers.paper(name).rules
        first = [
            next(n for n, rule in enumerate(rules) if papers._matched(rule, one) is not None)
            for one in FIGURES
            if one.source == name
        ]
        assert set(first) == set(range(len(rules))), f"{name}: {set(range(len(rules))) - set(first)}"


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (
            find("madclip", "2", "madclip", "brainmri", shots="8"),
            "method=madclip preset=paper protocol=few_shot dataset=brainmri shots=8 support=madclip selection=oracle",
        ),
        (
            find("mvfa", "1", "mvfa", "resc"),
            "method=mvfa preset=paper protocol=few_shot dataset=resc shots=4 support=mvfa method.fusion=transductive "
            "selection=oracle",
        ),
        (
            find("mvfa", "1", "clip", "liverct", "pixel_auroc"),
            "method=clip_normal preset=paper protocol=few_normal_shot dataset=liverct shots=4 support=mvfa",
        ),
        (
            find("madclip", "1", "patchcore", "resc"),
            "method=patchcore preset=paper protocol=full_normal dataset=resc",
        ),
        (
            find("mvfa", "2", "mvfa", "his"),
            "method=mvfa preset=paper protocol=leave_one_out_published dataset=his shots=full method.text_share=1 "
            "method.image_score=detection method.learning_rate=1e-4 method.views=1 selection=oracle",
        ),
        (
            find("mvfa", "3", "mvfa", "mvtec", "pixel_auroc"),
            "method=mvfa preset=paper protocol=few_shot dataset=mvtec dataset.category=* shots=4 "
            "dataset.abnormal_support=test method.fusion=transductive selection=oracle",
        ),
        (
            find("mvfa", "5", "mvfa:single_level_training:layer2", "mean_of_six", "pixel_auroc"),
            "method=mvfa preset=paper protocol=few_shot dataset=bmad_masked shots=4 method.levels=[12] support=mvfa "
            "method.fusion=transductive selection=oracle",
        ),
        (
            find("mediclip", "5", "mediclip:gauss_intensity+source", "busi"),
            "method=mediclip preset=paper protocol=few_normal_shot dataset=busi shots=16 method.tasks=[gauss,source] "
            "eval_size=method method.grey=support selection=oracle",
        ),
        (
            find("tgumiad", "1", "uniad", "resc", "pixel_auroc"),
            "method=uniad preset=paper protocol=full_normal train_on=brainmri+liverct+resc dataset=resc "
            "eval_size=method selection=oracle",
        ),
        (
            find("tgumiad", "3", "uniad", "liverct"),
            "method=uniad preset=paper protocol=unified train_on=brainmri+liverct+resc dataset=liverct shots=1 "
            "eval_size=method selection=oracle",
        ),
        (
            find("tgumiad", "3", "tgumiad", "liverct"),
            "method=tgumiad preset=paper protocol=unified train_on=brainmri+liverct+resc dataset=liverct shots=1 "
            "eval_size=method",
        ),
    ],
)
def test_the_cell_is_what_the_paper_and_its_code_do(figure: Figure, expected: str) -> None:
    assert words(figure) == expected


def test_the_clean_cell_lacks_what_a_clean_protocol_forbids() -> None:
    for one in FIGURES:
        cell = papers.repetition(one).cell
        assert cell.get("selection", "last") == "last"
        assert "support" not in cell
        assert cell.get("method.fusion") != "transductive"
        assert cell.get("protocol") != "leave_one_out_published"


def test_authors_that_select_on_the_test_split_do_so_in_the_cells_as_published() -> None:
    for one in FIGURES:
        found = papers.repetition(one)
        if found.cell.get("method") in ("madclip", "mvfa", "mediclip", "uniad") and one.metric != "parameters_millions":
            assert found.theirs[-1] == {"selection": "oracle"}


def test_layer_numbers_follow_the_depth_of_the_backbone() -> None:
    one = find("mvfa", "5", "mvfa:layer3", "mean_of_six")
    assert "method.score_levels=[18]" in words(one)
    assert "method.score_levels=[9]" in words(one, depth=12)
    assert papers.repetition(one).variant == "score_levels=[18]"


def test_what_has_a_cell_needs_no_reason_unless_only_its_row_is_known() -> None:
    """Rows of a model of anomalib's stand next to the figure, but nobody says which implementation made that."""
    both = [found for one in FIGURES if (found := papers.repetition(one)).reason and found.cell]
    assert {found.cell["method"] for found in both} == {"anomalib"}
    assert all("is not said" in found.reason and found.backbone == "not stated" for found in both)


def test_a_paper_without_rules_says_so() -> None:
    found = papers.repetition(FIGURES[0]._replace(source="theirs"))
    assert found.reason == "No package has rules for the figures of theirs."
    assert not found.published
    assert papers.repetition(FIGURES[0]._replace(method="unheard_of")).reason.endswith("has no rule for it.")
    with pytest.raises(AdbenchError, match="unknown paper 'madklip'"):
        papers.paper("madklip")


def test_the_yaml_files_are_read_without_unknown_keys(tmp_path: Path) -> None:
    titles = Counter(load_yaml(file)["title"] for file in registry.config_files("reproduce").values())
    assert len(titles) == 5
