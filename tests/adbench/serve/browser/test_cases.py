"""What a reader says of an image: decisions, masks, cases, a further support image."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from adbench.records.record import read_all
from tests.adbench.serve.browser.page import (
    CONTROL,
    LATE,
    NULL,
    RIGHT,
    TAB,
    by_id,
    choose,
    pixels,
    scores,
    settled,
    texts,
    typed,
    until,
    use,
)
from tests.chromium import IN_CHROMIUM, find, mouse

pytestmark = IN_CHROMIUM


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


def test_painting_undo_saving_and_reading_back(browser, cases: Path, adbench, tmp_path: Path) -> None:
    use(browser, "patchcore")
    by_id(browser, "paint").click()
    box = find(browser, ".box")
    drag = mouse(browser).move_to_element_with_offset(box, -60, -20)
    drag.click_and_hold().move_by_offset(60, 40).release().perform()
    once = pixels(browser, "painted")
    assert once > 50
    assert "Dice" in by_id(browser, "agreement").text
    assert by_id(browser, "case-label").get_attribute("value") == "abnormal"
    box.send_keys(RIGHT * 20 + " ")
    assert pixels(browser, "painted") > once
    find(browser, "body").send_keys(CONTROL + "z" + NULL)
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
    note.send_keys(TAB)
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
