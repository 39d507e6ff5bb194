"""The site in a real Chromium, opened from disk: sorting, filtering, links, dark mode, a phone, and 1,000 records."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from adbench.board import leaderboard
from adbench.board.site.build import write
from adbench.records.check import key_of
from adbench.records.record import read_all
from tests.adbench.board.conftest import BELIEVING, believing
from tests.chromium import FAINT, IN_CHROMIUM, find, nothing_asked_but, plain, started

pytestmark = IN_CHROMIUM
HOSTILE = "<script>window.hit=1</script><img src=x onerror=window.hit=1>'\""


def adbench(*words: object, python: tuple[str, ...] = ("-m", "adbench")) -> str:
    command = [sys.executable, *python, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def noise(root: Path) -> Path:
    """A real data set (no phantoms) of 32 x 32 noise: 6 + 6 valid, 5 + 5 test."""
    rng = np.random.default_rng(0)
    for split, count in (("valid", 6), ("test", 5)):
        for label, folder in enumerate(("good", "Ungood")):
            base = root / "Brain" / split / folder
            (base / "img").mkdir(parents=True)
            for i in range(count):
                pixels, mask = rng.integers(0, 120, (32, 32), dtype=np.uint8), np.zeros((32, 32), np.uint8)
                name = f"{split}{label}{i}_0.png"
                if label:
                    mask[8 + i : 16 + i, 10:18] = 255
                    (base / "anomaly_mask").mkdir(exist_ok=True)
                    Image.fromarray(mask).save(base / "anomaly_mask" / name)
                Image.fromarray(np.maximum(pixels, mask)).save(base / "img" / name)
    return root


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods, two sets, two numbers of shots, two draws on phantoms; real data; a leak; a hostile name."""
    runs = tmp_path_factory.mktemp("records")
    adbench(
        "run", "method=clip,patchcore,subspacead", "dataset=brainmri,oct17", "shots=2,4", "draw=0,1", f"runs={runs}"
    )
    words = ["method=madclip", "method.epochs=1", "shots=2", "selection=oracle", f"runs={runs}"]
    adbench("run", *words)
    root = noise(tmp_path_factory.mktemp("data"))
    adbench("run", "method=clip,patchcore", "shots=2", f"data_root={root}", f"runs={runs}")
    model = next(path for path in sorted(runs.iterdir()) if "patchcore" in (path / "record.json").read_text())
    copied(model, runs, "hostile", HOSTILE)
    table = pd.read_parquet(runs / "hostile" / "predictions.parquet")
    table.assign(image=table["image"] + HOSTILE).to_parquet(runs / "hostile" / "predictions.parquet", index=False)
    return runs


def copied(model: Path, runs: Path, folder: str, method: str, seed: int = 0) -> None:
    """Copy a record under another method and seed, with their key; its files are links, which a test may replace."""
    target = runs / folder
    shutil.copytree(model, target, copy_function=os.link)
    content = json.loads((target / "record.json").read_text())
    content["facts"] |= {"method": method, "seed": seed}
    content["key"] = key_of(content["facts"])
    content["resolved"] |= {"method": method, "seed": seed}
    for name in ("record.json", "predictions.parquet"):
        text = (target / name).read_bytes()
        (target / name).unlink()
        (target / name).write_bytes(text)
    (target / "record.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def site(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "site"
    adbench("leaderboard", runs, "--html", folder, "--published", python=("-c", BELIEVING))  # of a copied record too
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    yield from started("MAP * ~NOTFOUND", window="1280,900")  # a request to any host fails, and is logged


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """A window of 1280 pixels; afterwards nothing may have been complained of, nor asked of a network."""
    plain(chromium)
    yield chromium
    nothing_asked_but(chromium, "file:")


def texts(browser: Any, selector: str) -> list[str]:
    """What can be seen of all elements that a selector names."""
    return [one.text for one in browser.find_elements("css selector", selector) if one.is_displayed()]


def column(browser: Any, table: str, name: str) -> list[float]:
    script = """
    const table = document.getElementById(arguments[0]);
    const at = [...table.tHead.rows[0].cells].findIndex((head) => head.innerText.startsWith(arguments[1]));
    return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[at].dataset.value);
    """
    return [float(value) for value in browser.execute_script(script, table, name) if value]


def head(browser: Any, table: str, name: str) -> Any:
    return next(one for one in browser.find_elements("css selector", f"#{table} thead th") if one.text.startswith(name))


def choose(browser: Any, name: str, value: str) -> None:
    script = """
    const field = document.querySelector(`.filters [name=${arguments[0]}]`);
    field.value = arguments[1];
    field.dispatchEvent(new Event("input", { bubbles: true }));
    """
    browser.execute_script(script, name, value)


def follow(browser: Any, link: Any) -> None:
    """Press Enter on a link, which may be out of sight until it has the focus."""
    browser.execute_script("arguments[0].focus()", link)
    link.send_keys("\ue007")
    time.sleep(0.2)


def pages(site: Path) -> list[Path]:
    """One page of each kind."""
    cells = sorted((site / "cells").glob("*.html"))
    madclip = next(path for path in cells if "madclip on" in path.read_text())
    sets = [site / "datasets" / "phantom-brainmri.html", real_page(site)]
    return [site / "index.html", *sets, madclip, hostile_page(site)]


def real_page(site: Path) -> Path:
    """The page of the real images, whose name has the hash of their content: they are not the published ones."""
    (page,) = (site / "datasets").glob("real-brainmri@*.html")
    return page


def hostile_page(site: Path) -> Path:
    """The page of the record whose method's name is a script."""
    pages = sorted((site / "cells").glob("*.html"))
    return next(page for page in pages if "window.hit" in page.read_text().partition("<h1>")[2].partition("</h1>")[0])


def test_columns_are_sorted_by_mouse_and_by_keyboard(browser, site: Path) -> None:
    browser.get((site / "index.html").as_uri())
    wanted = head(browser, "phantom-clean-cells", "image AUROC")
    wanted.find_element("tag name", "button").click()
    assert wanted.get_attribute("aria-sort") == "descending"
    values = column(browser, "phantom-clean-cells", "image AUROC")
    assert len(values) > 8
    assert values == sorted(values, reverse=True)
    browser.switch_to.active_element.send_keys("\ue007")  # Enter
    assert wanted.get_attribute("aria-sort") == "ascending"
    assert column(browser, "phantom-clean-cells", "image AUROC") == sorted(values)
    head(browser, "phantom-clean-cells", "method").find_element("tag name", "button").click()
    assert wanted.get_attribute("aria-sort") == "none"
    names = texts(browser, "#phantom-clean-cells tbody td:nth-child(2)")
    assert names == sorted(names, key=str.lower)


def test_rows_and_columns_are_filtered_and_the_address_remembers(browser, site: Path) -> None:
    browser.get((site / "index.html").as_uri())
    every = len(texts(browser, "#phantom-clean-cells tbody tr"))
    choose(browser, "dataset", "oct17")
    assert set(texts(browser, "#phantom-clean-cells tbody td:nth-child(3)")) == {"oct17"}
    heads = {text.splitlines()[0] for text in texts(browser, "#phantom-clean-board thead th.number")}
    assert heads == {"oct17"}, "not the rank of the mean over datasets"
    choose(browser, "method", "patchcore")
    few = len(texts(browser, "#phantom-clean-cells tbody tr"))
    assert 0 < few < every
    assert set(texts(browser, "#phantom-clean-cells tbody td:nth-child(2)")) == {"patchcore"}
    assert find(browser, ".filters output").get_attribute("value").startswith(f"{few} of ")
    assert "dataset=oct17" in browser.current_url
    browser.refresh()
    assert len(texts(browser, "#phantom-clean-cells tbody tr")) == few
    choose(browser, "text", "no such thing")
    assert texts(browser, ".part") == []
    assert "No row matches" in find(browser, ".nothing").text
    find(browser, ".nothing button").click()
    time.sleep(0.1)
    assert len(texts(browser, "#phantom-clean-cells tbody tr")) == every
    choose(browser, "figures", "pixel_aupro")
    assert {text.splitlines()[-1] for text in texts(browser, "#phantom-clean-board thead th.number")} == {"pixel AUPRO"}


def test_an_address_is_followed_in_an_open_tab(browser, site: Path) -> None:
    index = (site / "index.html").as_uri()
    browser.get(index)
    choose(browser, "method", "patchcore")
    choose(browser, "figures", "")
    browser.execute_script("location.hash = 'dataset=oct17'")
    time.sleep(0.2)
    assert set(texts(browser, "#phantom-clean-cells tbody td:nth-child(3)")) == {"oct17"}
    assert set(texts(browser, "#phantom-clean-cells tbody td:nth-child(2)")) >= {"clip", "patchcore"}
    assert find(browser, ".filters [name=figures]").get_attribute("value") == "auroc"


def test_the_way_to_the_content_keeps_the_filter(browser, site: Path) -> None:
    browser.get((site / "index.html").as_uri())
    link = find(browser, ".skip")
    follow(browser, link)
    assert browser.current_url.endswith("#main"), "without a filter an address stays as it is"
    choose(browser, "dataset", "oct17")
    follow(browser, link)
    assert "dataset=oct17" in browser.current_url
    browser.refresh()
    assert set(texts(browser, "#phantom-clean-cells tbody td:nth-child(3)")) == {"oct17"}


def test_plots_are_filtered_by_dataset(browser, site: Path) -> None:
    browser.get((site / "index.html").as_uri())
    every = {"brainmri", "oct17", real_page(site).stem.removeprefix("real-")}
    for dataset, shown in (("", every), ("oct17", {"oct17"}), ("", every)):
        choose(browser, "dataset", dataset)
        assert set(texts(browser, ".plots figcaption")) == shown
        assert texts(browser, ".by-dataset h3")
    browser.execute_script("document.querySelectorAll('figure').forEach((one) => { one.dataset.dataset = 'none'; })")
    choose(browser, "dataset", "brainmri")
    assert texts(browser, ".by-dataset h3, .by-dataset .key") == [], "no heading stands over nothing"


def test_marks_and_links_reach_readers_and_phones(browser, site: Path) -> None:
    """What a screen reader is told of a best figure and of symbols, and what shows that a figure is a link."""
    browser.get((site / "index.html").as_uri())
    best = find(browser, "#phantom-clean-board b")
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    names = {node.get("name", {}).get("value", "") for node in tree if node["role"]["value"] == "link"}
    assert f"{best.text} among the best" in names
    lines = browser.execute_script(
        "return [...document.querySelectorAll('#phantom-clean-board .number a')].map((link) => "
        "getComputedStyle(link.querySelector('u') ?? link).textDecorationLine)"
    )
    assert set(lines) == {"underline"}
    browser.get((site / "datasets" / "phantom-brainmri.html").as_uri())
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    told = [n.get("name", {}).get("value", "") for n in tree if n["role"]["value"] == "StaticText" and not n["ignored"]]
    assert "missed" in told
    assert not {"○", "△"} & set(told)


def test_typing_filters_by_free_text(browser, site: Path) -> None:
    browser.get((site / "index.html").as_uri())
    find(browser, ".filters [name=text]").send_keys("PATCH oct17")
    names = texts(browser, "#phantom-clean-cells tbody tr")
    assert names
    assert all("patchcore" in text and "oct17" in text for text in names)


def test_a_cell_opens_with_curves_pictures_and_a_command_to_copy(browser, site: Path) -> None:
    browser.get((site / "index.html").as_uri())
    choose(browser, "method", "patchcore")
    link = find(browser, "#phantom-clean-cells tbody tr:not([hidden]) a")
    browser.execute_script("arguments[0].focus()", link)
    link.send_keys("\ue007")
    assert find(browser, "h1").text.startswith("patchcore on ")
    assert len(browser.find_elements("css selector", "svg.plot")) in (3, 6)
    browser.execute_script("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
    time.sleep(1)
    widths = browser.execute_script("return [...document.images].map((one) => one.naturalWidth)")
    assert len(widths) == 24
    assert min(widths) >= 240
    find(browser, "button.copy").click()
    time.sleep(0.2)
    assert find(browser, "button.copy").text == "copied"
    assert find(browser, "#command").text.startswith("adbench run method=patchcore")
    find(browser, ".trail a").click()
    assert find(browser, "h1").text == "Leaderboard"


def test_a_dataset_page_shows_one_image_through_all_methods(browser, site: Path) -> None:
    browser.get((site / "datasets" / "phantom-brainmri.html").as_uri())
    first = find(browser, ".same")
    assert "patchcore" in first.text
    assert "clip" in first.text
    browser.execute_script("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
    time.sleep(1)
    panels = first.find_elements("css selector", ".panel img")
    assert len(panels) >= 4  # image, outline, two maps
    assert all(one.get_property("naturalWidth") >= 240 for one in panels)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_both_schemes(browser, site: Path, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    grounds = set()
    for page in pages(site):
        browser.get(page.as_uri())
        browser.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        seen, faint = browser.execute_script(FAINT)
        assert seen > 40
        assert faint == [], page.name
        grounds.add(browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor"))
    (ground,) = grounds
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")


def test_a_phone_scrolls_tables_in_their_own_box_and_no_page_sideways(browser, site: Path) -> None:
    metrics = {"width": 375, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    boxes = 0
    for page in pages(site):
        browser.get(page.as_uri())
        browser.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 375, page.name
        boxes += browser.execute_script(
            "return [...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).length"
        )
    assert boxes > 0


def test_focus_can_be_seen(browser, site: Path) -> None:
    browser.get((site / "index.html").as_uri())
    kinds = set()
    for _ in range(25):
        browser.switch_to.active_element.send_keys("\ue004")  # Tab
        kind, style, width = browser.execute_script(
            "const e = document.activeElement, s = getComputedStyle(e);"
            "return [e.tagName, s.outlineStyle, s.outlineWidth]"
        )
        kinds.add(kind)
        assert style != "none", kind
        assert float(width.removesuffix("px")) >= 1, kind
    assert {"A", "SELECT", "INPUT", "BUTTON"} <= kinds


def test_names_never_run(browser, site: Path) -> None:
    for page in (site / "index.html", hostile_page(site), site / "datasets" / "phantom-brainmri.html"):
        browser.get(page.as_uri())
        time.sleep(0.3)
        assert browser.execute_script("return window.hit") is None, page.name
    browser.get(hostile_page(site).as_uri())
    assert HOSTILE in find(browser, "h1").text


def test_a_site_of_a_thousand_records_shows_a_row_of_each(browser, runs: Path, tmp_path: Path) -> None:
    models = [record.path for record in read_all(runs) if record.path.name != "hostile"]
    many = tmp_path / "many"
    many.mkdir()
    for number in range(1000):
        model = models[number % len(models)]
        copied(model, many, f"k{number:04d}", f"method{number // len(models) % 12}", number // (12 * len(models)))
    start, own = time.perf_counter(), time.process_time()
    with believing():
        records = leaderboard.collect([many]).records
    page = write(records, leaderboard.table(records), tmp_path / "site", leaderboard.FIGURES)
    built, busy = time.perf_counter() - start, time.process_time() - own
    browser.get(page.as_uri())
    opened = browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
    rows = browser.execute_script("return document.querySelectorAll('table[id$=-cells] tbody tr').length")
    print(f"1,000 records: built in {built:.1f} s, {busy:.1f} s of one core; index opened in {opened:.2f} s")
    assert rows == 1000


def test_the_report_reads_well_at_any_width_and_in_print(browser, runs: Path, tmp_path: Path) -> None:
    record = next(path for path in sorted(runs.iterdir()) if "patchcore" in (path / "record.json").read_text())
    adbench("report", record, "--html", tmp_path / "report", "--prevalence", "0.1")
    browser.get((tmp_path / "report" / "index.html").as_uri())
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": scheme}
        ]})  # fmt: skip
        seen, faint = browser.execute_script(FAINT)
        assert seen > 200
        assert faint == [], scheme
    for width in (1280, 390):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return [...document.images].every((one) => one.naturalWidth > 0)")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    assert printed.startswith("JVBERi0"), "a PDF, in base64"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.execute_script("return getComputedStyle(document.querySelector('.toc')).display") == "none"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
