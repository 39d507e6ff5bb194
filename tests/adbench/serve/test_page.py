"""The page in a real Chromium: dropping, sliders, prompts, painting, a fit, two cells, both schemes, a phone."""

from __future__ import annotations

import contextlib
import csv
import http.client
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from adbench.records.record import Record, read_all
from tests.test_browser import BINARY, DRIVER, FAINT, find

webdriver = pytest.importorskip("selenium.webdriver", reason="pip install 'adbench-medical[dev]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BINARY and DRIVER), reason="no Chromium here: `make test-browser` installs it"),
]
DOCS = (Path(__file__).parents[3] / "docs" / "serve.md").read_text()
PLACES = {"record": "runs/bfa4c4c81e4f6a537260", "scans": "/data/ward-3", "cases": "cases"}
LEFT, RIGHT, DOWN, HOME, END = "\ue012", "\ue014", "\ue015", "\ue011", "\ue010"
CONTROL, ENTER, NULL = "\ue009", "\ue007", "\ue000"


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (120, 160), dtype=np.uint8)).save(folder / f"scan {number}.png")
    return folder


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "cases"


def typed(start: str, **places: object) -> list[str]:
    """Return the words of the command of docs/serve.md that begins so, with other places, as a shell reads them."""
    (line,) = [line.strip() for line in DOCS.splitlines() if line.startswith(f"    {start}")]
    for name, place in places.items():
        assert PLACES[name] in line, (name, line)
        line = line.replace(PLACES[name], str(place))
    return shlex.split(line)[1:]


@pytest.fixture(scope="module")
def address(
    served_records: dict[str, Record], scans: Path, cases: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The page of two records, a folder and a folder of cases, by the command of the docs page."""
    records = " ".join(str(served_records[name].path) for name in ("patchcore", "clip"))
    words = [word for word in typed("adbench serve", record=records, scans=scans) if word != "--open"]
    command = [sys.executable, "-m", "adbench", *words, "--out", str(cases)]
    temporary = tmp_path_factory.mktemp("temporary")
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http://" in line)
        yield line[line.index("http://") :].strip()
        process.terminate()
        process.wait(60)
    assert list(temporary.glob("adbench-serve-*")) == [], "what was dropped goes with the server"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BINARY
    words = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000")
    for word in (*words, "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any, address: str) -> Iterator[Any]:
    """The page, ready; afterwards nothing may have been complained of, nor asked of another host."""
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chromium.get_log("browser"), chromium.get_log("performance")
    chromium.get(address)
    until(lambda: chromium.execute_script("return document.body.dataset.ready"))
    yield chromium
    assert chromium.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def texts(browser: Any, selector: str) -> list[str]:
    """What can be seen of all elements that a selector names, at one moment: the page redraws them."""
    script = """
    const all = [...document.querySelectorAll(arguments[0])];
    return all.filter((one) => one.checkVisibility()).map((one) => one.innerText);
    """
    return [text.strip() for text in browser.execute_script(script, selector)]


def by_id(browser: Any, name: str) -> Any:
    return find(browser, f"#{name}")


def choose(browser: Any, name: str, value: str) -> None:
    script = (
        "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('change'))"
    )
    browser.execute_script(script, name, value)


def use(browser: Any, method: str, beside: str = "") -> None:
    """Choose a cell and, with `beside`, one next to it."""
    values = {text.split(" ")[0]: value for value, text in browser.execute_script(
        "return [...document.getElementById('cell-a').options].map((one) => [one.value, one.text])"
    )}  # fmt: skip
    choose(browser, "cell-b", values[beside] if beside else "")
    choose(browser, "cell-a", values[method])
    wanted = [method, *([beside] if beside else [])]
    until(lambda: [text.split(" ")[0] for text in texts(browser, ".stage figcaption")] == wanted)
    settled(browser)


def settled(browser: Any) -> None:
    """Wait until the page does nothing more."""
    time.sleep(0.1)
    until(lambda: browser.execute_script("return document.querySelector('main').ariaBusy") == "false")


def scores(browser: Any) -> list[str]:
    return texts(browser, ".score strong")


def pixels(browser: Any, kind: str = "heat") -> int:
    """How many pixels of a canvas are not clear."""
    script = """
    const canvas = document.querySelector(`.${arguments[0]}`);
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    copy.getContext("2d").drawImage(canvas, 0, 0);
    const { data } = copy.getContext("2d").getImageData(0, 0, copy.width, copy.height);
    let seen = 0;
    for (let i = 3; i < data.length; i += 4) seen += data[i] > 0;
    return seen;
    """
    return int(browser.execute_script(script, kind))


def drop(browser: Any, name: str, scheme: str = "drop") -> None:
    """Drop or paste a picture that the page itself draws."""
    script = """
    const [name, kind, done] = arguments;
    const canvas = document.createElement("canvas");
    canvas.width = 90; canvas.height = 70;
    canvas.getContext("2d").fillRect(20, 20, 30, 30);
    canvas.toBlob((blob) => {
      const data = new DataTransfer();
      data.items.add(new File([blob], name, { type: "image/png" }));
      const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
      document.body.dispatchEvent(event);
      done();
    });
    """
    browser.execute_async_script(script, name, scheme)
    until(lambda: name in by_id(browser, "status").text)


def test_the_page_opens_with_the_folder_and_steps_through_it_by_keys(browser) -> None:
    assert "scan 0.png" in by_id(browser, "status").text
    assert "not a medical device" in find(browser, "body").text.lower()
    find(browser, "body").send_keys(RIGHT)
    until(lambda: "scan 1.png" in by_id(browser, "status").text)
    find(browser, "body").send_keys(LEFT)
    until(lambda: "scan 0.png" in by_id(browser, "status").text)
    by_id(browser, "find").send_keys("N 2\n")
    until(lambda: "scan 2.png" in by_id(browser, "status").text)


# Answers to what ends with `arguments[0]` come late.
LATE = """
const [end, milliseconds] = arguments;
const plain = window.fetch;
window.fetch = async (path, ...more) => {
  if (String(path).endsWith(end)) await new Promise((resolve) => setTimeout(resolve, milliseconds));
  return plain(path, ...more);
};
"""


@pytest.mark.parametrize("late", ["images/folder-1", "images/folder-1/picture"])
def test_an_answer_that_was_overtaken_does_not_bring_its_image_back(browser, late: str) -> None:
    browser.execute_script(LATE, late, 1500)
    choose(browser, "number", "2")
    choose(browser, "number", "3")
    until(lambda: "scan 2.png" in by_id(browser, "status").text, 30)
    time.sleep(2)
    assert "scan 2.png" in by_id(browser, "status").text
    assert "scan 2.png" in find(browser, ".box").get_attribute("aria-label")


def test_an_image_asked_for_while_a_cell_loads_is_shown_in_both(browser, served_records) -> None:
    use(browser, "patchcore")
    key = served_records["clip"].key
    browser.execute_script(LATE, f"cells/{key}", 1000)
    choose(browser, "cell-b", key)
    choose(browser, "number", "3")
    until(lambda: len(texts(browser, ".stage figcaption")) == 2, 60)
    settled(browser)
    assert "scan 2.png" in by_id(browser, "status").text
    labels = browser.execute_script("return [...document.querySelectorAll('.box')].map((one) => one.ariaLabel)")
    assert [label.partition(",")[0] for label in labels] == ["scan 2.png", "scan 2.png"]
    assert "–" not in scores(browser)


def test_a_decision_made_before_the_score_has_come_has_the_score_of_its_image(browser, cases: Path) -> None:
    use(browser, "clip")
    key = by_id(browser, "cell-a").get_attribute("value")
    choose(browser, "number", "1")
    until(lambda: "scan 0.png" in by_id(browser, "status").text)
    settled(browser)
    before = scores(browser)
    browser.execute_script(LATE, f"{key}/score", 2000)
    choose(browser, "number", "2")
    until(lambda: "scan 1.png" in by_id(browser, "status").text)
    assert find(browser, ".card.waiting"), "what stands there is still of the image before"
    by_id(browser, "reject").click()
    until(lambda: by_id(browser, "reject").get_attribute("aria-pressed") == "true")
    until(lambda: scores(browser) != before)
    with (cases / "review.csv").open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["image"] == "scan 1.png" and row["cell"] == key]
    assert float(f"{float(row['score']):.4g}") == float(scores(browser)[0])


def test_nothing_is_decided_about_an_image_that_is_not_shown(browser, scans: Path, cases: Path) -> None:
    def rows() -> list[str]:
        return (cases / "review.csv").read_text().splitlines()[1:] if (cases / "review.csv").exists() else []

    use(browser, "patchcore")
    choose(browser, "number", "1")
    until(lambda: "scan 0.png" in by_id(browser, "status").text)
    settled(browser)
    find(browser, "body").send_keys("r")
    until(lambda: by_id(browser, "reject").get_attribute("aria-pressed") == "true")
    settled(browser)
    before, whole = rows(), (scans / "scan 1.png").read_bytes()
    try:
        (scans / "scan 1.png").write_text("no image")
        choose(browser, "number", "2")
        until(lambda: "scan 1.png cannot be read" in by_id(browser, "problem").text)
        settled(browser)
        assert by_id(browser, "reject").get_attribute("aria-pressed") == "false"
        assert scores(browser) == []
        assert browser.execute_script("return document.querySelector('.picture').width") == 1
        find(browser, "body").send_keys("r")
        until(lambda: "No image is shown, so nothing was decided or saved" in by_id(browser, "problem").text)
        find(browser, "#case-form button").click()
        settled(browser)
        assert rows() == before
    finally:
        (scans / "scan 1.png").write_bytes(whole)
    browser.execute_script(LATE, "images/folder-2", 1500)
    choose(browser, "number", "3")
    find(browser, "body").send_keys("a")
    until(lambda: "nothing was decided or saved" in by_id(browser, "problem").text)
    until(lambda: "scan 2.png" in by_id(browser, "status").text, 30)
    assert rows() == before
    browser.get_log("browser")  # Chromium notes the refusal


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_an_image_is_dropped_and_pasted(browser, kind: str) -> None:
    use(browser, "patchcore")
    drop(browser, f"{kind}ped.png", kind)
    until(lambda: scores(browser) != ["–"])
    assert "90 × 70" in by_id(browser, "status").text


def test_sliders_answer_by_keys(browser) -> None:
    use(browser, "patchcore")
    slider = find(browser, ".map-threshold")
    slider.send_keys(HOME)
    counts = [pixels(browser)]
    for _ in range(4):
        slider.send_keys(RIGHT * 200)
        counts.append(pixels(browser))
    slider.send_keys(END)
    counts.append(pixels(browser))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1], "the higher the threshold, the fewer pixels are coloured"
    bare = [text for text in texts(browser, ".card .note") if text.startswith("No pixel of this map reaches")]
    assert bool(bare) == (counts[-1] == 0)
    opacity = by_id(browser, "opacity")
    opacity.send_keys(HOME)
    assert find(browser, ".heat").value_of_css_property("opacity") == "0"
    threshold = find(browser, ".card input[type=range]")
    before = texts(browser, ".card table.board tbody tr")
    threshold.send_keys(HOME)
    until(lambda: texts(browser, ".card table.board tbody tr") not in ([], before))
    assert "100.0 %" in texts(browser, ".card table.board tbody tr")[0], "every image reaches the lowest threshold"


def test_colouring_a_map_takes_no_longer_than_a_frame_or_two(browser) -> None:
    """At the map's own resolution, and a large one; 30 ms is the bound for a machine that does nothing else."""
    script = """
    const [side, done] = arguments;
    import(new URL("static/colours.js", location)).then(({ Heat, Palette }) => {
      const palette = new Palette(Array.from({ length: 768 }, (_, i) => i % 256));
      const heat = new Heat(Float32Array.from({ length: side * side }, Math.random), side);
      const canvas = document.createElement("canvas");
      const times = Array.from({ length: 9 }, (_, i) => {
        const start = performance.now();
        heat.colour(canvas, palette, 0, 1, i / 9);
        return performance.now() - start;
      });
      done(Math.min(...times));
    });
    """
    for side in (336, 1024):
        milliseconds = browser.execute_async_script(script, side)
        print(f"a map of {side} x {side} is coloured in {milliseconds:.1f} ms")
        assert milliseconds < 30


def test_colours_of_values_that_can_be_counted_by_hand(browser) -> None:
    script = """
    const [done] = arguments;
    import(new URL("static/colours.js", location)).then(({ Heat, Palette }) => {
      const palette = new Palette(Array.from({ length: 768 }, (_, i) => Math.floor(i / 3)));
      const heat = new Heat(Float32Array.from([-1, 0.25, 0.5, 9]), 2);
      const canvas = document.createElement("canvas");
      const context = canvas.getContext("2d", { willReadFrequently: true });
      const seen = (...how) => {
        heat.colour(canvas, palette, ...how);
        const { data } = context.getImageData(0, 0, 2, 2);
        return [0, 1, 2, 3].map((i) => (data[4 * i + 3] ? data[4 * i] : null));
      };
      done([seen(0, 1, -Infinity), seen(0, 1, 0.5), seen(0, 1, 0.25), seen(0, 0.5, 0.25)]);
    });
    """
    assert browser.execute_async_script(script) == [
        [0, 64, 128, 255], [None, None, 128, 255], [None, 64, 128, 255], [None, 128, 255, 255]
    ]  # fmt: skip


def test_measures_of_arrays_that_can_be_counted_by_hand(browser) -> None:
    script = """
    const [done] = arguments;
    import(new URL("static/measures.js", location)).then(({ auroc, below, binned, dice, sampled }) => {
      const two = (map, mask) => [Float32Array.from(map), binned(Uint8Array.from(mask), 2, 2, 2)];
      const wide = binned(Uint8Array.from([1, 1, 1, 0, 0, 0, 0, 1]), 2, 4, 2);
      done([
        dice(...two([0.1, 0.4, 0.6, 0.9], [0, 1, 1, 1]), 0.5), auroc(...two([0.1, 0.4, 0.4, 0.9], [0, 1, 0, 1])),
        auroc(...two([1, 2, 3, 4], [1, 1, 1, 1])), below([1, 2, 3, 4], 3),
        [...sampled(Float32Array.from([1, 2, 3, 4]), 2, 4, 2)], dice(...two([0, 0, 0, 0], [0, 0, 0, 0]), 1),
        [...wide.positive, ...wide.total],
      ]);
    });
    """
    found = browser.execute_async_script(script)
    assert found == [pytest.approx(0.8), 0.875, None, 0.5, [1, 1, 2, 2, 3, 3, 4, 4], None, [2, 1, 0, 1, 2, 2, 2, 2]]


def test_a_prompt_is_edited_in_place_and_each_phrase_asked(browser) -> None:
    use(browser, "clip")
    before = scores(browser)
    field = find(browser, "#prompts textarea")
    field.clear()
    field.send_keys("a healthy {}")
    find(browser, "#prompts .apply").click()
    until(lambda: scores(browser) != before)
    assert texts(browser, ".card .warning"), "the distribution is that of the record's own prompts"
    find(browser, "#prompts .each").click()
    until(lambda: texts(browser, ".said-by-words tbody tr"))
    assert texts(browser, ".said-by-words tbody th")[0] == "a healthy {}"
    until(lambda: "scan 0.png" in by_id(browser, "status").text, 30)


def test_zoom_and_pan_are_the_same_in_both_cells(browser) -> None:
    use(browser, "patchcore", "clip")
    by_id(browser, "zoom-in").click()
    box = find(browser, ".box")
    webdriver.ActionChains(browser).drag_and_drop_by_offset(box, 40, 25).perform()
    script = "return [...document.querySelectorAll('.sheet')].map((one) => one.style.transform)"
    first, second = browser.execute_script(script)
    assert first == second
    assert "scale(1.5)" in first
    by_id(browser, "zoom-fit").click()
    assert "scale(1)" in browser.execute_script(script)[0]
    assert len(set(scores(browser))) == 2
    assert "scan 0.png" in by_id(browser, "status").text, "another cell changes no image"


def test_the_test_set_is_stepped_through_with_the_truth_on_demand(browser) -> None:
    use(browser, "patchcore")
    choose(browser, "source", "test")
    until(lambda: "of 120" in by_id(browser, "of").text)
    choose(browser, "number", "120")
    until(lambda: "_" in by_id(browser, "status").text)
    assert pixels(browser, "truth") == 0
    by_id(browser, "show-truth").click()
    until(lambda: "abnormal" in by_id(browser, "truth-said").text)
    assert pixels(browser, "truth") > 0
    until(lambda: "measured against this patch" in by_id(browser, "why").text)
    assert len(texts(browser, "#why figcaption")) == 3


def test_painting_undo_saving_and_reading_back(browser, cases: Path, adbench, tmp_path: Path) -> None:
    use(browser, "patchcore")
    by_id(browser, "paint").click()
    box = find(browser, ".box")
    drag = webdriver.ActionChains(browser).move_to_element_with_offset(box, -60, -20)
    drag.click_and_hold().move_by_offset(60, 40).release().perform()
    once = pixels(browser, "painted")
    assert once > 50
    assert "Dice" in by_id(browser, "agreement").text
    assert by_id(browser, "case-label").get_attribute("value") == "abnormal"
    box.send_keys(RIGHT * 20 + " ")
    assert pixels(browser, "painted") > once
    find(browser, "body").send_keys("\ue009z\ue000")  # Ctrl+Z
    assert pixels(browser, "painted") == once
    by_id(browser, "paint").click()

    def save(label: str, split: str) -> None:
        choose(browser, "case-label", label)
        choose(browser, "case-split", split)
        find(browser, "#case-form button").click()
        until(lambda: "Saved" in by_id(browser, "status").text)

    save("abnormal", "test")
    for number, split in ((2, "test"), (3, "train")):
        choose(browser, "number", str(number))
        until(lambda n=number: f"scan {n - 1}.png" in by_id(browser, "status").text)
        settled(browser)
        save("normal", split)
    answer = adbench(*typed("adbench run", cases=cases), "gallery=0", f"runs={tmp_path / 'runs'}")
    assert answer.code == 0, answer.err
    (record,) = read_all(tmp_path / "runs")
    assert record.content["test_images"] == 2
    assert record.metrics["pixel_auroc"] is not None


def test_reviews_are_kept(browser, cases: Path) -> None:
    use(browser, "patchcore")
    find(browser, "body").send_keys("a")
    until(lambda: by_id(browser, "accept").get_attribute("aria-pressed") == "true")
    note = by_id(browser, "note")
    note.send_keys("seen twice")
    note.send_keys("\ue004")  # Tab
    until(lambda: (cases / "review.csv").exists() and "seen twice" in (cases / "review.csv").read_text())
    assert ",accept," in (cases / "review.csv").read_text()


def test_a_support_image_is_added_and_fitted_as_a_new_cell(browser, served_records) -> None:
    use(browser, "patchcore")
    until(lambda: texts(browser, ".thumb.add"))
    find(browser, ".thumb.add").click()
    assert "1 added" in find(browser, "#support output").text
    find(browser, "button.fit").click()
    until(lambda: len(texts(browser, ".stage figcaption")) == 2, 300)
    settled(browser)
    new = by_id(browser, "cell-b").get_attribute("value")
    content = json.loads((served_records["patchcore"].path.parent / new / "record.json").read_text())
    assert len(content["support"]["normal"]) == 3
    assert set(served_records["patchcore"].content["support"]["normal"]) < set(content["support"]["normal"])


def test_files_that_can_not_be_taken_get_a_sentence(browser, tmp_path: Path) -> None:
    text, large = tmp_path / "notes.png", tmp_path / "large.dcm"
    text.write_text("not an image")
    with large.open("wb") as file:
        file.truncate(200 * 2**20)
    by_id(browser, "file").send_keys(str(text))
    said = until(lambda: by_id(browser, "problem").text)
    assert said.startswith("notes.png cannot be read as an image")
    assert "Traceback" not in said
    by_id(browser, "file").send_keys(str(large))
    until(lambda: "128 MB" in by_id(browser, "problem").text)
    (entry,) = browser.get_log("browser")  # Chromium notes the refusal of the first
    assert "422" in entry["message"]


def test_strangers_are_refused(address: str) -> None:
    place = urlsplit(address)
    cases = [
        ("/wrong/", {}, 403),
        (place.path, {"Host": "evil.example"}, 421),
        (place.path, {"Origin": "http://evil.example"}, 403),
        (place.path + "api/images", {"Content-Length": str(200 * 2**20)}, 413),
        (place.path, {}, 200),
    ]
    for path, headers, status in cases:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", place.port)) as connection:
            connection.putrequest("GET", path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            assert connection.getresponse().status == status, (path, headers)


def test_a_browser_elsewhere_is_refused(chromium, address: str) -> None:
    """A wrong token; a name of somebody else that leads to this machine (DNS rebinding); a request of its pages."""
    place = urlsplit(address)
    chromium.get(f"http://127.0.0.1:{place.port}/{'x' * 43}/")
    assert find(chromium, "body").text.startswith("The token is missing or wrong.")
    chromium.get(f"http://evil.example:{place.port}{place.path}")
    assert find(chromium, "body").text.startswith("This server answers to 127.0.0.1 and localhost alone.")
    script = """
    const [address, done] = arguments;
    const asked = (how) => fetch(`${address}api/state`, how).then((answer) => answer.text(), (error) => error.name);
    Promise.all([asked({}), asked({ mode: "no-cors" })]).then(done);
    """
    chromium.get("data:text/html,<p>elsewhere")
    assert chromium.execute_async_script(script, address) == ["TypeError", "TypeError"]
    chromium.get_log("browser"), chromium.get_log("performance")


def test_a_body_of_200_mb_is_refused_by_the_server_too(browser) -> None:
    script = """
    const done = arguments[0];
    const body = new Blob([new Uint8Array(200 * 2 ** 20)]);
    fetch("api/images?name=large.dcm", { method: "POST", body }).then(
      async (answer) => done([answer.status, await answer.text()]), (error) => done([0, error.name]));
    """
    status, text = browser.execute_async_script(script)
    assert (status, "128 MB" in text) in [(413, True), (0, False)], "refused, or the connection ended while it was sent"
    browser.get_log("browser")
    assert by_id(browser, "cell-a").get_attribute("value"), "the page goes on"
    choose(browser, "number", "2")
    until(lambda: "scan 1.png" in by_id(browser, "status").text)


def test_a_dicom_file_of_several_frames_is_stepped_through(browser, tmp_path: Path) -> None:
    from tests.adbench.exports.sources import film, saved

    use(browser, "patchcore")
    by_id(browser, "file").send_keys(str(saved(film("US", 3), tmp_path / "loop.dcm")))
    until(lambda: "loop.dcm#000" in by_id(browser, "status").text)
    by_id(browser, "frame").send_keys(END)
    until(lambda: "loop.dcm#002" in by_id(browser, "status").text)
    until(lambda: find(browser, ".box").get_attribute("aria-label").startswith("loop.dcm#002"))
    assert "Yamada" not in find(browser, "body").text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes_and_no_page_scrolls_sideways(browser, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    use(browser, "patchcore", "clip")
    seen, faint = browser.execute_script(FAINT)
    assert seen > 60
    assert faint == []
    for width in (390, 1400, 3800):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_every_key_of_the_docs_page_does_what_it_says(browser) -> None:
    use(browser, "patchcore", "clip")
    choose(browser, "source", "folder")
    until(lambda: "scan 0.png" in by_id(browser, "status").text)
    settled(browser)

    def state() -> dict[str, Any]:
        """What the keys change."""
        return {
            "number": by_id(browser, "number").get_attribute("value"), "opacity": opacity.get_attribute("value"),
            "zoom": browser.execute_script("return document.querySelector('.sheet').style.transform"),
            "painted": pixels(browser, "painted"), "said": find(browser, ".score").text,
        } | {
            name: by_id(browser, name).get_attribute("aria-pressed")
            for name in ("show-truth", "paint", "erase", "accept", "reject")
        }  # fmt: skip

    opacity, box, body = by_id(browser, "opacity"), find(browser, ".box"), find(browser, "body")
    field = find(browser, "#prompts textarea")
    pressed = {
        "→": (body, RIGHT, "number"), "←": (body, LEFT, "number"), "t": (body, "t", "show-truth"),
        "m": (body, "m", "opacity"), "p": (body, "p", "paint"), "arrows": (box, DOWN * 3 + " ", "painted"),
        "Ctrl+Z": (body, CONTROL + "z" + NULL, "painted"), "e": (body, "e", "erase"), "+": (body, "+", "zoom"),
        "-": (body, "-", "zoom"), "0": (body, "+0", None), "a": (body, "a", "accept"), "r": (body, "r", "reject"),
        "Ctrl+Enter": (field, " of a man" + CONTROL + ENTER + NULL, None),
    }  # fmt: skip
    listed = DOCS.partition("## Keys")[2].partition("##")[0]
    named = re.findall(r"`([^`]+)`|(Ctrl\+\w+)|([←→])", listed)
    assert {next(filter(None, one)) for one in named} == set(pressed) - {"arrows"}
    assert "arrows move the brush" in listed
    for name, (element, keys, changes) in pressed.items():
        before = state()
        element.send_keys(keys)
        if changes is None:
            continue
        until(lambda b=before, c=changes: state()[c] != b[c], 30)
        settled(browser)
        others = {key for key, value in state().items() if value != before[key]}
        assert others - {changes} <= {"said", "paint", "accept"}, name
    assert "scale(1)" in state()["zoom"]
    until(lambda: texts(browser, ".card .warning"), 30)


def test_every_field_has_a_name_and_focus_can_be_seen(browser) -> None:
    use(browser, "patchcore", "clip")
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    fields = ("button", "textbox", "slider", "combobox", "spinbutton", "searchbox", "img")
    named = {node["role"]["value"]: node.get("name", {}).get("value") for node in tree if not node["ignored"]}
    assert {"button", "slider", "combobox", "textbox"} <= set(named)
    nameless = [
        node["role"]["value"] for node in tree
        if not node["ignored"] and node["role"]["value"] in fields and not node.get("name", {}).get("value")
    ]  # fmt: skip
    assert nameless == []
    for _ in range(20):
        webdriver.ActionChains(browser).send_keys("\ue004").perform()  # a file field takes keys as a path
        kind, style = browser.execute_script(
            "const e = document.activeElement; return [e.tagName, getComputedStyle(e).outlineStyle]"
        )
        assert style != "none", kind
