"""Tables of the site: marks, links, the order of draws."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from adbench.board import leaderboard
from adbench.board.site.records import site_records
from adbench.board.site.tables import owners


def test_a_table_says_what_its_marks_mean_in_words(sections_of, pages: dict[str, Any], site: Path) -> None:
    index = pages["index.html"].text
    assert "Bold" not in index, "without comparisons nothing is"
    told = pages["datasets/phantom-brainmri.html"].text
    for symbol, word in (("○", "missed"), ("△", "false alarm")):
        assert told.count(symbol) == told.count(f"{symbol}{word}") > 0
    assert not [attrs for page in pages.values() for attrs in page.all("i") if "title" in attrs]
    alone = next(part for part in sections_of(pages["index.html"]) if part.startswith("Real data\n"))
    assert "Bold" not in alone, "of one row none is the best"


def test_an_average_leads_to_its_row_and_a_single_cell_to_its_page(site: Path) -> None:
    text = (site / "index.html").read_text()
    (mean,) = re.findall(r'<a href="(datasets/phantom-brainmri.html#row-\w+)">(?:<[bu]>)?\d', text)[:1]
    assert mean
    assert re.search(r'<a href="cells/e0.html">\d', text)


def test_owners_are_in_the_order_of_draws(make_record, tmp_path: Path) -> None:
    for key, draw in (("a", 10), ("b", 2), ("c", 0)):
        make_record(tmp_path, key, draw=draw, pictures=0)
    (found,) = owners(site_records(leaderboard.collect([tmp_path]).records)).values()
    assert [entry.draw for entry in found] == ["0", "2", "10"]
