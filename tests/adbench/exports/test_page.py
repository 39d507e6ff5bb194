"""index.html of `adbench score` in a real Chromium, opened from disk: pictures, sorting, keys, schemes, any width."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import nibabel
import numpy as np
import pytest
from PIL import Image

import adbench as package
from tests.adbench.exports.sources import film, saved, source
from tests.test_browser import FAINT, adbench, browser, chromium, column, find, follow, head, texts
from tests.test_browser import pytestmark as pytestmark  # slow, and only where there is a Chromium

__all__ = ["browser", "chromium"]  # fixtures
HOSTILE = "<img src=x onerror=window.hit=1>&'#%41.png"
SIZES = {"wide.png": (300, 90), "tall.png": (60, 400), HOSTILE: (120, 120)}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about three pictures, a CT, an ultrasound loop and a NIfTI volume."""
    images, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        Image.fromarray(rng.integers(0, 255, (height, width), dtype=np.uint8)).save(images / name)
    saved(source("CT", 140, 150), images / "ct.dcm")
    saved(film("US", 2), images / "loop.dcm")
    volume = nibabel.Nifti1Image(rng.integers(0, 900, (24, 20, 3)).astype(np.int16), np.diag([1, 1, 4, 1]))
    nibabel.save(volume, images / "volume.nii.gz")
    (images / "broken.txt").write_text("no image")
    runs = tmp_path_factory.mktemp("runs")
    record = package.run(method="patchcore", dataset="brainmri", shots=2, gallery=0, runs=runs)
    assert isinstance(record, package.Record)
    found = package.load(record).score([images / name for name in SIZES])
    assert found.maps is not None
    thresholds = f"threshold={float(found.image.median())}", f"map_threshold={float(found.maps.median())}"
    out = tmp_path_factory.mktemp("out") / "a b"
    adbench("score", record.path, images, *thresholds, "maps=tiff", f"out={out}")
    return out / "index.html"


def test_pictures_load_and_links_lead_to_files(browser, page: Path) -> None:
    browser.get(page.as_uri())
    rows = texts(browser, "#scores tbody th")
    assert len(rows) == len(SIZES) + 1 + 2 + 3
    browser.execute_script("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
    browser.execute_async_script(
        "const [done] = arguments; Promise.all([...document.images].map((one) => one.decode())).then(() => done())"
    )
    widths = browser.execute_script("return [...document.images].map((one) => one.naturalWidth)")
    assert len(widths) == len(rows)
    assert min(widths) > 0
    links = browser.execute_script("return [...document.links].map((one) => one.getAttribute('href'))")
    files = {unquote(link) for link in links if not link.startswith("#")}
    assert [name for name in files if not (page.parent / name).is_file()] == []
    assert {path.name for path in page.parent.iterdir()} - files == {"index.html"}, "every file can be reached"
    assert len([name for name in files if name.endswith("_seg.dcm")]) == 2
    assert find(browser, ".scale i").is_displayed(), "the line of the map threshold"
    follow(browser, find(browser, "td.preview a"))
    assert browser.current_url.endswith("_heatmap.png")


def test_what_is_said_of_an_image_is_what_the_table_says(browser, page: Path) -> None:
    browser.get(page.as_uri())
    called = texts(browser, "#scores tbody td:nth-child(4)")
    assert set(called) == {"abnormal", "normal"}
    assert f"{called.count('abnormal')} of {len(called)} reach" in find(browser, "main").text
    assert "broken.txt" in find(browser, "main").text or "known ending" in find(browser, "main").text
    assert "Not a medical device" in find(browser, ".purpose").text
    assert browser.execute_script("return window.hit") is None
    assert any(HOSTILE in text for text in texts(browser, "#scores tbody th")), "a name is text"


def test_columns_sort_by_mouse_and_keyboard(browser, page: Path) -> None:
    browser.get(page.as_uri())
    wanted = head(browser, "scores", "score")
    wanted.find_element("tag name", "button").click()
    values = column(browser, "scores", "score")
    assert wanted.get_attribute("aria-sort") == "descending"
    assert values == sorted(values, reverse=True)
    browser.switch_to.active_element.send_keys("\ue007")  # Enter
    assert column(browser, "scores", "score") == sorted(values)


def test_it_is_used_by_keys_and_focus_can_be_seen(browser, page: Path) -> None:
    browser.get(page.as_uri())
    kinds = []
    for _ in range(16):
        browser.switch_to.active_element.send_keys("\ue004")  # Tab
        kind, name, style, shown = browser.execute_script(
            "const e = document.activeElement; return [e.tagName, e.ariaLabel ?? e.innerText, "
            "getComputedStyle(e).outlineStyle, e.checkVisibility()]"
        )
        kinds.append(kind)
        assert style != "none", (kind, name)
        assert shown, (kind, name)
    assert kinds[0] == "A", "the way to the content comes first"
    assert {"A", "BUTTON", "DIV"} <= set(kinds), "the table's box scrolls by keys too"
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    asked = [node for node in tree if not node["ignored"] and node["role"]["value"] in ("button", "link", "image")]
    assert [node["role"]["value"] for node in asked if not node.get("name", {}).get("value")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_both_schemes_and_at_any_width(browser, page: Path, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for width in (390, 1400, 3800):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(page.as_uri())
        seen, faint = browser.execute_script(FAINT)
        assert seen > 60
        assert faint == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        names = browser.execute_script(
            "return [...document.querySelectorAll('#scores tbody th')].map((one) => one.getBoundingClientRect().width)"
        )
        assert min(names) > 60, "a name isn't broken letter by letter"
    ground = browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")
