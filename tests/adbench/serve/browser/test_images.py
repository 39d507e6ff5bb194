"""The images on the page: its folder, dropped files, the test set, answers that come late."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.adbench.serve.browser.page import (
    END,
    LATE,
    LEFT,
    RIGHT,
    by_id,
    choose,
    drop,
    pixels,
    scores,
    settled,
    texts,
    until,
    use,
)
from tests.chromium import IN_CHROMIUM, find

pytestmark = IN_CHROMIUM


def test_the_page_opens_with_the_folder_and_steps_through_it_by_keys(browser) -> None:
    assert "scan 0.png" in by_id(browser, "status").text
    assert "not a medical device" in find(browser, "body").text.lower()
    find(browser, "body").send_keys(RIGHT)
    until(lambda: "scan 1.png" in by_id(browser, "status").text)
    find(browser, "body").send_keys(LEFT)
    until(lambda: "scan 0.png" in by_id(browser, "status").text)
    by_id(browser, "find").send_keys("N 2\n")
    until(lambda: "scan 2.png" in by_id(browser, "status").text)


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


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_an_image_is_dropped_and_pasted(browser, kind: str) -> None:
    use(browser, "patchcore")
    drop(browser, f"{kind}ped.png", kind)
    until(lambda: scores(browser) != ["–"])
    assert "90 × 70" in by_id(browser, "status").text


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
