"""A whole site: every page is there, links lead somewhere, nothing comes from a network, names are escaped."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from adbench.board.site.build import PAGES
from adbench.records.record import SITE

ROOT = Path(__file__).resolve().parents[4]


HOSTILE = """<script>alert("m")</script>'&"""


def test_there_is_a_page_for_everything(pages: dict[str, Any], site: Path) -> None:
    cells = ["a0", "a1", "a2", "a3", "b0", "b1", "c0", "d0", "e0", "e1"]
    sets = ["phantom-brainmri", "phantom-oct17", "real-brainmri"]
    wanted = ["index.html", *(f"cells/{key}.html" for key in cells), *(f"datasets/{name}.html" for name in sets)]
    assert sorted(pages) == sorted(wanted)
    files = {SITE, "style.css", "script.js", *(f"leaderboard.{ending}" for ending in ("csv", "json", "tex"))}
    assert {path.name for path in site.iterdir()} == {*files, *PAGES, "index.html"}


def test_every_link_and_picture_leads_somewhere(read_page, pages: dict[str, Any]) -> None:
    followed = 0
    for page in pages.values():
        for tag, attrs in page.elements:
            target = attrs.get("href" if tag in ("a", "link") else "src")
            if target is None or target == "data:,":
                continue
            path, _, name = target.partition("#")
            assert "://" not in target, target
            there = (page.path.parent / path).resolve() if path else page.path
            assert there.is_file(), f"{page.path.name}: {target}"
            if name:
                assert any(a.get("id") == name for _, a in read_page(there).elements), target
            followed += 1
    assert followed > 100


def test_nothing_comes_from_a_network(site: Path) -> None:
    for path in [*site.rglob("*.html"), site / "style.css", site / "script.js"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:src|href)=[\"'](?:\w+:)?//|https?://", text), path
        assert not re.search(r"url\(|@import|type=.module|\bfetch\(|XMLHttpRequest|^import ", text, re.M), path


def test_pages_can_be_read_aloud(pages: dict[str, Any]) -> None:
    for name, page in pages.items():
        assert len(page.all("h1")) == 1, name
        assert len(page.all("html", lang="en")) == 1
        ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
        assert len(ids) == len(set(ids)), name
        assert all(attrs.get("alt") for attrs in page.all("img")), name
        assert len(page.all("caption")) == len(page.all("table")), name
        assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th")), name
        for plot in page.all("svg", role="img"):
            assert set(plot["aria-labelledby"].split()) <= set(ids), name
        assert page.all("main", id="main"), name


def test_templates_are_packaged() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    globs = listed["adbench.board.site.templates"]
    for path in (ROOT / "adbench" / "board" / "site" / "templates").iterdir():
        if path.suffix not in (".py", "") and path.is_file():
            assert f"*{path.suffix}" in globs, path.name


# --- text that would be markup


@pytest.fixture(scope="module")
def hostile(make_record, build_site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("hostile")
    image = 'x"><img src=y onerror=alert(1)>{}.png'
    make_record(runs, "a0", method=HOSTILE, image=image, backbone="</title><b>", dataset="</script>")
    make_record(runs, "a1", method="clip", image=image, shots=0, dataset="</script>")
    return build_site(runs, tmp_path_factory.mktemp("out") / "site").parent


def test_names_are_text_wherever_they_stand(read_page, hostile: Path) -> None:
    for path in hostile.rglob("*.html"):
        page = read_page(path)
        (script,) = page.all("script")
        assert script["src"].endswith("script.js"), path.name
        assert all(re.search(r"pictures/a\d/\w+\.png$", attrs["src"]) for attrs in page.all("img")), path.name
        assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
    assert HOSTILE in read_page(hostile / "index.html").text
    assert HOSTILE in read_page(hostile / "cells" / "a0.html").text
    assert 'x"><img src=y onerror=alert(1)>' in read_page(hostile / "cells" / "a0.html").text
    (page,) = (hostile / "datasets").glob("*.html")
    assert 'x"><img src=y onerror=alert(1)>' in read_page(page).text


def test_embedded_json_survives_hostile_names(read_page, hostile: Path) -> None:
    source = (hostile / "index.html").read_text()
    assert "</script>'" not in source
    rows = read_page(hostile / "index.html").all("tr")
    told = [json.loads(attrs["data-words"]) for attrs in rows if "data-words" in attrs]
    assert {one["method"] for one in told} == {HOSTILE, "clip"}
    assert all(one["dataset"] == ["</script>"] for one in told)
