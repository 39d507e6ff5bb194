"""The site over records made up on disk: what is written, escaped, linked, refused and replaced."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, strategies
from PIL import Image

from adbench.board import leaderboard, published, render
from adbench.board.latex import to_latex
from adbench.board.site import cellpage, charts, datasetpage
from adbench.board.site.build import PAGES, write
from adbench.board.site.command import again, words
from adbench.board.site.entries import entries, gallery, predictions, slug
from adbench.board.site.tables import owners
from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError, RecordError
from adbench.metrics import Histogram, image_metrics, pixel_metrics
from adbench.plugins import registry
from adbench.records import record
from adbench.records.record import SITE, read
from adbench.system.files import HOST, replacing
from adbench.system.session import Session

ROOT = Path(__file__).resolve().parents[4]
HOSTILE = """<script>alert("m")</script>'&"""
TAGS_WITHOUT_END = {"meta", "link", "img", "br", "input"}


def make(
    runs: Path, key: str, method: str = "patchcore", dataset: str = "brainmri", shots: int = 4, draw: int = 0,
    data: str = "phantom", overlap: int = 0, pictures: int = 2, masks: bool = True, image: str = "test/{}.png",
    hashed: str = "d", last: dict[str, float] | None = None, **resolved: Any,
) -> Path:  # fmt: skip
    """A whole record of 12 test images, its figures computed from its scores."""
    rng = np.random.default_rng(list(key.encode()))
    labels = np.arange(12) % 2
    scores = rng.normal(labels * 1.5, 1).astype(np.float32)
    table = pd.DataFrame({"image": [image.format(i) for i in range(12)], "label": labels, "score": scores})
    table = table.assign(map_max=scores, map_mean=scores, patient=None)
    half, metrics = {}, image_metrics(scores, labels)
    folder = runs / key
    folder.mkdir(parents=True)
    histogram = None
    if masks:
        hist = Histogram()
        truth = np.zeros((12, 8, 8), bool)
        truth[labels == 1, 2:5, 2:5] = True
        hist.update(rng.normal(truth * 1.0, 1).astype(np.float32), truth)
        for name, one in pixel_metrics(hist).items():
            metrics[name], half[name] = one.value, one.half_width
        columns = hist.to_arrays()
        histogram = {name: int(columns[name]) for name in ("shift", "n_regions")}
        pd.DataFrame({n: c for n, c in columns.items() if c.ndim}).to_parquet(folder / "histogram.parquet", index=False)
    table.to_parquet(folder / "predictions.parquet", index=False)
    (folder / "method.safetensors").touch()
    if pictures:
        (folder / "gallery").mkdir()
        for kind in ("miss", "false_alarm", "hit"):
            for number in range(1, pictures + 1):
                picture = Image.new("RGB", (240 * (2 + masks), 280), (number * 40, 30, 30))
                picture.save(folder / "gallery" / f"{kind}_{number:02d}.png")
        picture.save(folder / "gallery" / "overview.png")
    asked = config.defaults() | {"method": method, "dataset": dataset, "shots": shots, "draw": draw, "overrides": {}}
    asked |= resolved
    facts = {"method": method, "dataset": dataset, "data": hashed * 64, "dataset_facets": {}, "weights": "w" * 64}
    facts |= {"params": {"epochs": 3}, "support": key, "seed": asked["seed"], "train_on": None}
    about = {"title": "A set", "modality": "MRI", "organ": "brain", "masks": masks, "fingerprint": "d" * 64}
    content = {
        "schema": 1, "key": key, "status": "complete", "data": data, "overlap": overlap, "resolved": asked,
        "given": [f"method={method}"], "facts": facts, "protocol": "few_shot", "histogram": histogram,
        "support": {"source": f"draw:{draw}", "shots": shots, "normal": ["valid/a.png"], "abnormal": [], "hash": "h"},
        "dataset": about | {"licence": "free", "source": "drawn"}, "notes": [], "metrics": metrics,
        "half_widths": half, "capability": {"maps": True}, "backbone": {"name": asked["backbone"]},
        "parameters": {"trainable": 1, "total": 2}, "seconds": {"fit": 1.0}, "peak_memory": {"host_bytes": 1e9},
        "images_per_second": 5.0, "gflops_per_image": 1.0, "test_images": 12, "device": {"type": "cpu"},
        "selection": {"rule": asked["selection"], "last": last},
        "code": {"version": "0", "commit": None, "dirty": None}, "packages": {"torch": "2"}, "finished": "2026",
    }  # fmt: skip
    (folder / "record.json").write_text(json.dumps(content))
    return folder


def build(runs: Path, folder: Path, papers: bool = False) -> Path:
    """Write the site of all records in a folder."""
    records = leaderboard.collect([runs]).records
    long = leaderboard.table(records)
    return write(records, published.added(long) if papers else long, folder, leaderboard.FIGURES)


class Page(HTMLParser):
    """What a browser would find in a page: elements with their attributes, ids, text; unbalanced tags are an error."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.open, self.elements, self.text = path, [], [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open, f"{path.name}: never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in TAGS_WITHOUT_END:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{self.path.name}: </{tag}>"

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in wanted.items())]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantom and real records, several draws and shots, a leak, a zero-shot method, no masks in one set."""
    runs = tmp_path_factory.mktemp("records")
    for number, (shots_, draw) in enumerate([(2, 0), (2, 1), (4, 0), (4, 1)]):
        make(runs, f"a{number}", shots=shots_, draw=draw)
    make(runs, "b0", method="clip", shots=0)
    make(runs, "b1", method="clip", shots=0, dataset="oct17", masks=False)
    make(runs, "c0", dataset="oct17", masks=False)
    make(runs, "d0", method="mvfa", selection="oracle", last={"image_auroc": 0.25, "pixel_auroc": 0.5})
    real = {"method": "madclip", "shots": 16, "data": "real", "backbone": "ViT-L-14-336"}
    make(runs, "e0", pictures=0, **real)
    make(runs, "e1", overlap=2, **real)
    return runs


@pytest.fixture(scope="module")
def site(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(runs, tmp_path_factory.mktemp("out") / "site", papers=True).parent


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return {str(path.relative_to(site)): Page(path) for path in sorted(site.rglob("*.html"))}


def test_there_is_a_page_for_everything(pages: dict[str, Page], site: Path) -> None:
    cells = ["a0", "a1", "a2", "a3", "b0", "b1", "c0", "d0", "e0", "e1"]
    sets = ["phantom-brainmri", "phantom-oct17", "real-brainmri"]
    wanted = ["index.html", *(f"cells/{key}.html" for key in cells), *(f"datasets/{name}.html" for name in sets)]
    assert sorted(pages) == sorted(wanted)
    files = {SITE, "style.css", "script.js", *(f"leaderboard.{ending}" for ending in ("csv", "json", "tex"))}
    assert {path.name for path in site.iterdir()} == {*files, *PAGES, "index.html"}


def test_every_link_and_picture_leads_somewhere(pages: dict[str, Page]) -> None:
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
                assert any(a.get("id") == name for _, a in Page(there).elements), target
            followed += 1
    assert followed > 100


def test_nothing_comes_from_a_network(site: Path) -> None:
    for path in [*site.rglob("*.html"), site / "style.css", site / "script.js"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:src|href)=[\"'](?:\w+:)?//|https?://", text), path
        assert not re.search(r"url\(|@import|type=.module|\bfetch\(|XMLHttpRequest|^import ", text, re.M), path


def test_pages_can_be_read_aloud(pages: dict[str, Page]) -> None:
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


def sections_of(page: Page) -> list[str]:
    return re.split(r"\n(?=Phantom data|Real data|Published figures)", page.text)


def test_phantom_real_leaks_and_papers_stand_apart(pages: dict[str, Page]) -> None:
    found = {part.splitlines()[0]: part for part in sections_of(pages["index.html"])[1:]}
    assert list(found) == [
        "Phantom data",
        "Phantom data, epoch chosen on the test split (a leak)",
        "Real data",
        "Real data, test images or patients among the training data (a leak)",
        "Published figures, epoch chosen as published, mostly on the test split",
    ]
    assert "mvfa" not in found["Phantom data"]
    assert all("reached on other code" in part for name, part in found.items() if name.startswith("Published"))
    assert "Not comparable" in found["Phantom data, epoch chosen on the test split (a leak)"]
    assert "Not comparable" in pages["cells/d0.html"].text
    assert "Not comparable" in pages["cells/e1.html"].text
    assert "Not comparable" not in pages["cells/a0.html"].text


def test_the_oracles_leak_stands_in_columns_of_its_own(pages: dict[str, Page], site: Path, runs: Path) -> None:
    leak = f"{100 * ((read(runs / 'd0').metrics['image_auroc'] or 0) - 0.25):.2f}"
    marked = next(part for part in sections_of(pages["index.html"]) if "a leak" in part.splitlines()[0])
    for text in (marked, pages["cells/d0.html"].text, pages["datasets/phantom-brainmri.html"].text):
        assert "image AUROC, last epoch" in text
        assert "image AUROC, leak" in text
        assert "25.00" in text
        assert leak in text
    clean = next(part for part in sections_of(pages["index.html"]) if part.startswith("Phantom data\n"))
    assert "leak" not in clean
    assert [
        option["value"] for option in pages["index.html"].all("option") if "image_auroc_" in option.get("value", "")
    ] == ["image_auroc_last", "image_auroc_leak"]


def test_papers_stand_beside_every_content_of_a_dataset(tmp_path: Path) -> None:
    for key, hashed in (("e0", "d"), ("e1", "f")):
        make(tmp_path / "runs", key, method="madclip", shots=16, data="real", backbone="b", hashed=hashed, pictures=0)
    built = build(tmp_path / "runs", tmp_path / "site", papers=True).parent
    found = [Page(path).text for path in (built / "datasets").glob("*.html")]
    assert len(found) == 2
    assert all("MadCLIP (MICCAI 2025)" in text for text in found)


def test_papers_stand_beside_real_figures_alone(pages: dict[str, Page]) -> None:
    assert re.search(r"\[[+-]\d+\.\d\d\]", pages["datasets/real-brainmri.html"].text)
    assert "MadCLIP (MICCAI 2025)" in pages["datasets/real-brainmri.html"].text
    assert "MICCAI" not in pages["datasets/phantom-brainmri.html"].text


def test_figures_of_a_cell_are_the_records_with_their_half_widths(pages: dict[str, Page], runs: Path) -> None:
    metrics = read(runs / "a0").metrics
    text = pages["cells/a0.html"].text
    for name in ("image_auroc", "image_ap", "pixel_auroc", "pixel_aupro"):
        assert f"{100 * (metrics[name] or 0):.2f}" in text, name
    assert "exact" in text
    assert "Pixels" in text
    assert "Pixels" not in pages["cells/c0.html"].text


@given(strategies.floats(0, 1, exclude_min=True))
@example(5e-5)
@example(0.1198)
def test_a_half_width_is_never_shown_smaller_than_it_is(half: float) -> None:
    sign, shown = cellpage.half_width(half).split()
    true = 100 * Decimal(half)
    if sign == "<":
        assert (shown, true < Decimal("0.005")) == ("0.01", True)
    else:
        assert re.fullmatch(r"\d+\.\d\d", shown)
        assert true <= Decimal(shown) < true + Decimal("0.01")


def test_a_table_says_what_its_marks_mean_in_words(pages: dict[str, Page], site: Path) -> None:
    index = pages["index.html"].text
    assert "Bold is the best of a column, underlined the second." in index
    assert re.search(r"\d\d\.\d\d best", index)
    assert re.search(r"\d\d\.\d\d second", index)
    told = pages["datasets/phantom-brainmri.html"].text
    for symbol, word in (("○", "missed"), ("△", "false alarm")):
        assert told.count(symbol) == told.count(f"{symbol}{word}") > 0
    assert not [attrs for page in pages.values() for attrs in page.all("i") if "title" in attrs]
    alone = next(part for part in sections_of(pages["index.html"]) if part.startswith("Real data\n"))
    assert "Bold" not in alone, "of one row none is the best"


def test_a_plot_can_be_filtered_by_its_dataset(pages: dict[str, Page]) -> None:
    plots = pages["index.html"].all("figure")
    assert [plot["data-dataset"] for plot in plots] == ["brainmri", "oct17"]


@pytest.mark.parametrize("costs", [False, True])
def test_the_latex_of_a_site_has_the_costs_where_the_site_has_them(runs: Path, tmp_path: Path, costs: bool) -> None:
    records = leaderboard.collect([runs]).records
    long, extra = leaderboard.table(records, costs), leaderboard.COSTS if costs else ()
    page = write(records, long, tmp_path / "site", (*leaderboard.FIGURES, *extra))
    text = (page.parent / "leaderboard.tex").read_text()
    assert text == to_latex(long, (*render.HEADLINE, *extra))
    assert ("fit seconds" in text) == costs


def test_a_cell_names_its_provenance(pages: dict[str, Page]) -> None:
    text = pages["cells/a0.html"].text
    for word in ("w" * 64, "d" * 64, "valid/a.png", "torch", "eval_size", "Manifest", "facts"):
        assert word in text, word


def test_an_average_leads_to_its_row_and_a_single_cell_to_its_page(site: Path) -> None:
    text = (site / "index.html").read_text()
    (mean,) = re.findall(r'<a href="(datasets/phantom-brainmri.html#row-\w+)">(?:<[bu]>)?\d', text)[:1]
    assert mean
    assert re.search(r'<a href="cells/e0.html">\d', text)


def test_a_gallery_names_the_images_that_it_shows(runs: Path) -> None:
    record = read(runs / "a0")
    table = predictions(record)
    shown = gallery(record, table)
    assert [p.file.name for p in shown if p.kind == "miss"] == ["miss_01.png", "miss_02.png"]
    worst = table[table["label"] == 1].sort_values("score")["image"].tolist()[:2]
    assert [table["image"][p.row] for p in shown if p.kind == "miss"] == worst
    assert shown[0].panels == ("image", "true outline", "map")


def test_pictures_are_in_the_site_once(site: Path, runs: Path) -> None:
    copies = sorted((site / "pictures" / "a0").iterdir())
    assert [path.name for path in copies] == [
        f"{kind}_0{n}.png" for kind in ("false_alarm", "hit", "miss") for n in (1, 2)
    ]
    assert copies[0].read_bytes() == (runs / "a0" / "gallery" / copies[0].name).read_bytes()
    assert not (site / "pictures" / "e0").exists()


def test_shares_are_of_the_normal_images_and_ties_count_half(tmp_path: Path) -> None:
    folder = make(tmp_path, "a0")
    table = pd.DataFrame({"image": list("abcd"), "label": [0, 0, 1, 1], "score": [1.0, 2.0, 2.0, 3.0]})
    table.to_parquet(folder / "predictions.parquet", index=False)
    assert predictions(read(folder))["share"].tolist() == [0.25, 0.75, 0.75, 1.0]


def test_one_cell_per_method_is_compared_and_test_figures_have_no_say(runs: Path) -> None:
    here = [one for one in entries(leaderboard.collect([runs]).records) if one.line["dataset"] == "brainmri"]
    chosen = datasetpage.representatives([one for one in here if one.line["data"] == "phantom"])
    assert sorted(one.record.key for one in chosen) == ["a2", "b0"]  # 4 shots, draw 0; the leak never


def test_the_comparison_as_csv_holds_every_image(site: Path) -> None:
    table = pd.read_csv(site / "datasets" / "phantom-brainmri.csv")
    assert list(table) == ["image", "label", "clip", "patchcore"]
    assert len(table) == 12
    assert table["patchcore"].between(0, 1).all()


def test_what_differs_most_comes_first_and_the_rest_is_counted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(datasetpage, "MOST_IMAGES", 5)
    make(tmp_path / "runs", "a0")
    make(tmp_path / "runs", "b0", method="clip", shots=0)
    page = build(tmp_path / "runs", tmp_path / "site").parent / "datasets" / "phantom-brainmri.html"
    text = page.read_text()
    spreads = [float(value) for value in re.findall(r'data-value="([\d.]+)">\d+</td></tr>', text)]
    assert len(spreads) == 5
    assert spreads == sorted(spreads, reverse=True)
    assert "7 more stand in the CSV file" in text


# --- text that would be markup


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("hostile")
    image = 'x"><img src=y onerror=alert(1)>{}.png'
    make(runs, "a0", method=HOSTILE, image=image, backbone="</title><b>", dataset="</script>")
    make(runs, "a1", method="clip", image=image, shots=0, dataset="</script>")
    return build(runs, tmp_path_factory.mktemp("out") / "site").parent


def test_names_are_text_wherever_they_stand(hostile: Path) -> None:
    for path in hostile.rglob("*.html"):
        page = Page(path)
        (script,) = page.all("script")
        assert script["src"].endswith("script.js"), path.name
        assert all(re.search(r"pictures/a\d/\w+\.png$", attrs["src"]) for attrs in page.all("img")), path.name
        assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
    assert HOSTILE in Page(hostile / "index.html").text
    assert HOSTILE in Page(hostile / "cells" / "a0.html").text
    assert 'x"><img src=y onerror=alert(1)>' in Page(hostile / "cells" / "a0.html").text
    (page,) = (hostile / "datasets").glob("*.html")
    assert 'x"><img src=y onerror=alert(1)>' in Page(page).text


def test_embedded_json_survives_hostile_names(hostile: Path) -> None:
    source = (hostile / "index.html").read_text()
    assert "</script>'" not in source
    rows = Page(hostile / "index.html").all("tr")
    told = [json.loads(attrs["data-words"]) for attrs in rows if "data-words" in attrs]
    assert {one["method"] for one in told} == {HOSTILE, "clip"}
    assert all(one["dataset"] == ["</script>"] for one in told)


def test_charts_escape_what_they_are_told() -> None:
    svg = str(charts.shots("n", HOSTILE, HOSTILE, [charts.Series("s", 0, [(0, 50, 1), (1, 60, 1)])], ["<2>", "4"]))
    assert "<script" not in svg
    assert "&lt;2&gt;" in svg


@pytest.mark.parametrize("name", ["a/../../b", "..", "", "a\x00b", "Brain", "x" * 300])
def test_no_name_leaves_the_folder(name: str) -> None:
    made = slug(name)
    assert re.fullmatch(r"[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*", made)
    assert len(made) < 100
    assert made != slug(name + "x")


# --- folders


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_records_give_the_same_bytes_wherever_they_lie(runs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    for path in sorted(runs.iterdir(), reverse=True):
        shutil.copytree(path, moved / path.name)
    one, two = build(runs, tmp_path / "one").parent, build(moved, tmp_path / "two").parent
    assert tree(one) == tree(two)
    assert len(tree(one)) > 40


def test_a_site_is_replaced_as_a_whole(tmp_path: Path) -> None:
    make(tmp_path / "runs", "a0")
    build(tmp_path / "runs", tmp_path / "site")
    shutil.move(tmp_path / "runs" / "a0", tmp_path / "a0")
    make(tmp_path / "runs", "b0", method="clip", shots=0)
    build(tmp_path / "runs", tmp_path / "site")
    assert [path.stem for path in (tmp_path / "site" / "cells").iterdir()] == ["b0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a0", "runs", "site"]


def test_a_build_that_fails_leaves_the_old_site_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path / "runs", "a0")
    build(tmp_path / "runs", tmp_path / "site")
    before = tree(tmp_path / "site")
    (make(tmp_path / "runs", "b0", method="clip", shots=0) / "predictions.parquet").write_bytes(b"no parquet")
    with pytest.raises(RecordError, match=r"b0/predictions\.parquet can't be read .*run its cell again"):
        build(tmp_path / "runs", tmp_path / "site")
    assert tree(tmp_path / "site") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "site"]


def folder_with(name: str) -> Callable[[Path], None]:
    def prepare(path: Path) -> None:
        path.mkdir()
        (path / name).touch()

    return prepare


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (Path.touch, "is no folder"),
        (folder_with("thesis.docx"), "is not a site of adbench: it holds thesis.docx"),
        (lambda path: path.symlink_to(path.parent), "is no folder"),
    ],
)
def test_what_is_no_site_is_not_replaced(tmp_path: Path, prepare: Callable[[Path], None], told: str) -> None:
    make(tmp_path / "runs", "a0")
    prepare(tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AdbenchError, match=told) as error:
        build(tmp_path / "runs", tmp_path / "out")
    assert "--html" in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["CNAME", "cells/notes.md", "pictures/a0/mine/scan.png"])
def test_what_somebody_put_into_a_site_is_not_lost(tmp_path: Path, name: str) -> None:
    make(tmp_path / "runs", "a0")
    build(tmp_path / "runs", tmp_path / "site")
    (tmp_path / "site" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "site" / name).write_text("x")
    with pytest.raises(AdbenchError, match=rf"holds {name}, which .* would be lost"):
        build(tmp_path / "runs", tmp_path / "site")
    assert (tmp_path / "site" / name).read_text() == "x"


def test_a_file_that_comes_while_the_site_is_built_is_not_lost(tmp_path: Path, monkeypatch) -> None:
    make(tmp_path / "runs", "a0")
    page = build(tmp_path / "runs", tmp_path / "site")
    to_csv = render.to_csv

    def late(long: pd.DataFrame) -> str:
        (page.parent / "late.txt").touch()
        return to_csv(long)

    monkeypatch.setattr(render, "to_csv", late)
    with pytest.raises(AdbenchError, match=r"holds late\.txt"):
        build(tmp_path / "runs", tmp_path / "site")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "site"]


def test_what_a_file_browser_leaves_is_no_hindrance(tmp_path: Path) -> None:
    make(tmp_path / "runs", "a0")
    (tmp_path / "site").mkdir()
    for name in (".DS_Store", "Thumbs.db", "cells/.DS_Store"):
        (tmp_path / "site" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "site" / name).touch()
        build(tmp_path / "runs", tmp_path / "site")
    assert not (tmp_path / "site" / "cells" / ".DS_Store").exists()


def test_a_site_may_stand_among_records(adbench, tmp_path: Path) -> None:
    make(tmp_path, "a0")
    for _ in range(2):
        answer = adbench("leaderboard", tmp_path, "--html", tmp_path / "board")
        assert answer.code == 0, answer.err
    assert (tmp_path / "board" / "cells" / "a0.html").is_file()
    (tmp_path / "board" / SITE).unlink()
    assert "board is not a record" in adbench("leaderboard", tmp_path).err


@pytest.mark.parametrize(
    ("option", "told"),
    [("--csv", "file with --csv FILE"), ("--json", "file with --json FILE"), ("--html", "--html DIR")],
)
def test_what_cannot_be_written_names_the_option(adbench, runs: Path, tmp_path: Path, option: str, told: str) -> None:
    (tmp_path / "file").touch()
    answer = adbench("leaderboard", runs, option, tmp_path / "file" / "board")
    assert answer.code == 2
    assert re.search(
        rf"cannot write {tmp_path}/file\S*: .* choose another (folder with )?{told}\.$", answer.err.strip()
    )


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    make(tmp_path / "runs", "a0")
    (tmp_path / "site").mkdir()
    assert build(tmp_path / "runs", tmp_path / "site").is_file()


def test_what_a_killed_build_left_is_mended(tmp_path: Path) -> None:
    make(tmp_path / "runs", "a0")
    build(tmp_path / "runs", tmp_path / "site")
    nobody = 2**22 + 1  # beyond the largest process id
    (tmp_path / "site").rename(tmp_path / f".site.{HOST}.{nobody}.abcd.old")
    (tmp_path / f".site.{HOST}.{nobody}.abcd.tmp").mkdir()
    with replacing(tmp_path / "site", "folder"):
        assert (tmp_path / "site" / "index.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "site"]


def test_a_site_that_is_built_among_records_hinders_no_cell(tmp_path: Path) -> None:
    with replacing(tmp_path / "board.v1.2", "folder") as site:
        (site / "index.html").touch()
        (tmp_path / f".short.{HOST}.tmp").mkdir()  # not a name of ours
        with record.writing(tmp_path, "cell") as folder:
            (folder / "record.json").write_text("{}")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"board.v1.2", "cell", f".short.{HOST}.tmp"}
    assert (tmp_path / "board.v1.2" / "index.html").is_file()


# --- the command that makes a record again


@pytest.mark.parametrize(
    "typed",
    [
        "method=clip",
        "method=patchcore shots=2 draw=3 seed=5 dataset=oct17 data_root=/a/b,c d",
        "method=madclip preset=paper method.epochs=3 precision=32-true",
        "method=clip|method.prompts.normal=['healthy {}', \"it's\"]|backbone.weights=w.safetensors",
        "support=list.txt eval_size=method selection=fixed:2",
    ],
)
def test_a_command_asks_for_the_same(typed: str) -> None:
    (asked,) = config.parse(typed.split("|") if "|" in typed else re.split(r" (?=\w+[.\w]*=)", typed))
    resolved = json.loads(json.dumps(vars(asked)))
    (got,) = config.parse(words(resolved))
    left_out = {"preset", "runs", "cache"}
    assert {k: v for k, v in vars(got).items() if k not in left_out} == {
        k: v for k, v in resolved.items() if k not in left_out
    }


def test_a_command_names_no_place_of_one_machine() -> None:
    told = " ".join(words(config.defaults() | {"runs": "/mine", "cache": "/mine", "workers": 7, "device": "cuda"}))
    assert "mine" not in told
    assert "workers" not in told
    assert "device" not in told


def made_by_patchcore(typed: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    """What a record of today's patchcore says of its cell; `changed` are its parameters."""
    params = {"activation": "native", "blocks": [], "coreset": 0.1, "neighbourhood": 3, "neighbours": 9}
    params |= {"normalisation": "native", "sigma": 4.0}
    overrides = {"method": typed} if typed else {}
    return {
        "resolved": config.defaults() | {"method": "patchcore", "overrides": overrides},
        "facts": {"method": "patchcore", "method_version": "1", "params": params | changed},
        "code": {"version": "0.1.0", "commit": "c0ffee" * 6, "dirty": False},
    }


@pytest.mark.parametrize(
    ("typed", "changed", "told"),
    [
        ({}, {}, []),
        ({"coreset": 0.2}, {"coreset": 0.2}, ["method.coreset=0.2"]),
        ({}, {"coreset": 1e-05, "blocks": [3, 4]}, ["method.blocks=[3, 4]", "method.coreset=1e-05"]),
        ({"sigma": 2.0}, {"sigma": 2.0, "activation": "gelu"}, ["method.sigma=2.0", "method.activation=gelu"]),
    ],
)
def test_parameters_decide_whatever_the_defaults_are_today(typed, changed, told: list[str]) -> None:
    command, caveat = again(made_by_patchcore(typed, **changed), Session())
    assert caveat == ""
    assert sorted(word for word in shlex.split(command) if word.startswith("method.")) == sorted(told)
    (got,) = config.parse(shlex.split(command)[2:])
    method = registry.find("method", "patchcore").load()
    assert layers.method_params(method.Params, got.method, got.schedule, got.words("method")) == method.Params(
        **changed
    )


def test_nested_parameters_are_written_alone() -> None:
    content = made_by_patchcore()
    method = registry.find("method", "clip").load()
    params = json.loads(json.dumps(asdict(method.Params())))
    params["prompts"]["normal"] = ["healthy {}", "it's"]
    content["resolved"]["method"] = "clip"
    content["facts"] |= {"params": params, "method_version": method.version}
    command, caveat = again(content, Session())
    assert caveat == ""
    assert shlex.split(command)[-1] == """method.prompts.normal=["healthy {}", "it's"]"""


@pytest.mark.parametrize(
    ("resolved", "facts", "changed", "told"),
    [
        ({}, {}, {"whitening": True}, "its patchcore differs in whitening"),
        ({}, {}, {"neighbours": "all", "whitening": True}, "differs in neighbours, whitening"),
        ({"method": "gone"}, {}, {}, "it has no method gone"),
        ({}, {"method_version": "0"}, {}, "its patchcore is 1, the record's 0"),
        ({}, {"source": "package:theirs"}, {}, "its patchcore is 1, the record's 1 of package:theirs"),
        ({"overrides": {"method": {"whitening": True}}}, {}, {}, "unknown key 'whitening' for method 'patchcore'"),
    ],
)
def test_a_page_says_where_this_adbench_makes_another_cell(resolved, facts, changed, told: str) -> None:
    content = made_by_patchcore(**changed)
    content["resolved"] |= resolved
    content["facts"] |= facts
    caveat = again(content, Session()).caveat
    assert caveat.startswith("Made by commit c0ffeec0ffee; this adbench makes another cell: ")
    assert told in caveat
    assert "commit" not in again(made_by_patchcore(), Session()).caveat


def test_a_parameter_that_is_no_more_is_asked_for_all_the_same() -> None:
    """The command then fails here, and works at the record's commit."""
    typed = shlex.split(again(made_by_patchcore(whitening=True), Session()).command)[2:]
    assert "method.whitening=true" in typed
    (got,) = config.parse(typed)
    with pytest.raises(AdbenchError, match="unknown key 'whitening'"):
        layers.method_params(
            registry.find("method", "patchcore").load().Params, got.method, got.schedule, got.words("method")
        )


def test_no_file_that_a_record_names_is_imported(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("raise SystemExit('imported')")
    content = made_by_patchcore()
    content["resolved"]["method"] = f"{tmp_path / 'theirs.py'}:Theirs"
    assert again(content, Session()) == (
        f"adbench run method={tmp_path}/theirs.py:Theirs dataset=brainmri shots=16 draw=0 seed=0",
        "",
    )


def test_what_was_typed_can_be_typed_again(tmp_path: Path) -> None:
    folder = make(tmp_path / "runs", "a", pictures=0)
    content = json.loads((folder / "record.json").read_text())
    content["given"] = ["method=clip", "data_root=/my data", "method.prompts.normal=['healthy {}']"]
    (folder / "record.json").write_text(json.dumps(content))
    page = Page(build(tmp_path / "runs", tmp_path / "site").parent / "cells" / "a.html")
    said = re.search(r"Typed at first: (.*)", page.text)
    assert said is not None
    assert shlex.split(said[1]) == ["adbench", "run", *content["given"]]


def test_the_command_of_a_page_makes_the_same_cell(adbench, tiny: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    given = ["method=patchcore,clip", "shots=2,3", "draw=1", f"data_root={tiny}", "gallery=1", f"runs={runs}"]
    assert adbench("run", *given).code == 0
    assert adbench("run", "method=patchcore", "method.coreset=0.5", *given[1:]).code == 0
    for file in runs.glob("*/record.json"):  # as if those had been the defaults then
        content = json.loads(file.read_text())
        file.write_text(json.dumps(content | {"resolved": content["resolved"] | {"overrides": {}}}))
    answer = adbench("leaderboard", runs, "--html", tmp_path / "site", "--csv", tmp_path / "board.csv")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-1] == f"written: {tmp_path / 'site' / 'index.html'}"
    commands = set()
    for path in (tmp_path / "site" / "cells").iterdir():
        page = Page(path)
        assert "another cell" not in page.text
        said = re.search(r"adbench run [^\n]*data_root[^\n]*", page.text)
        assert said is not None
        typed = shlex.split(said[0].removesuffix("copy"))[2:]
        commands.add(tuple(typed))
        assert "recorded already" in adbench("run", *typed, f"runs={runs}").out
    assert len(commands) == len(list(runs.glob("*/record.json"))) == 5
    refused = adbench("leaderboard", runs, "--html", runs)
    assert refused.code == 2
    assert "is not a site of adbench" in refused.err


# --- what is in a site, and in the package


def test_owners_are_in_the_order_of_draws(tmp_path: Path) -> None:
    for key, draw in (("a", 10), ("b", 2), ("c", 0)):
        make(tmp_path, key, draw=draw, pictures=0)
    (found,) = owners(entries(leaderboard.collect([tmp_path]).records)).values()
    assert [entry.draw for entry in found] == ["0", "2", "10"]


def test_a_support_list_is_named_as_such(tmp_path: Path) -> None:
    folder = make(tmp_path / "runs", "a", pictures=0)
    content = json.loads((folder / "record.json").read_text())
    content["support"]["source"] = "list:16-shot.txt"
    (folder / "record.json").write_text(json.dumps(content))
    built = build(tmp_path / "runs", tmp_path / "site").parent
    assert re.search(r"support\s*16-shot\.txt", Page(built / "cells" / "a.html").text)
    assert "support=16-shot.txt" in Page(built / "datasets" / "phantom-brainmri.html").text


def test_templates_are_packaged() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    globs = listed["adbench.board.site.templates"]
    for path in (ROOT / "adbench" / "board" / "site" / "templates").iterdir():
        if path.suffix not in (".py", "") and path.is_file():
            assert f"*{path.suffix}" in globs, path.name
