"""Maps, measures and prompts on the page."""

from __future__ import annotations

import pytest

from tests.adbench.serve.browser.page import END, HOME, RIGHT, by_id, pixels, scores, texts, until, use
from tests.chromium import IN_CHROMIUM, find, mouse

pytestmark = IN_CHROMIUM


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


def test_every_pixel_of_a_map_above_the_threshold_is_coloured(browser) -> None:
    """At the map's own resolution, and a large one; the time is printed: one frame of a screen is 17 ms."""
    script = """
    const [side, done] = arguments;
    import(new URL("static/colours.js", location)).then(({ Heat, Palette }) => {
      const palette = new Palette(Array.from({ length: 768 }, (_, i) => i % 256));
      const map = Float32Array.from({ length: side * side }, Math.random);
      const heat = new Heat(map, side);
      const canvas = document.createElement("canvas");
      const times = Array.from({ length: 9 }, (_, i) => {
        const start = performance.now();
        heat.colour(canvas, palette, 0, 1, i / 9);
        return performance.now() - start;
      });
      const { data } = canvas.getContext("2d").getImageData(0, 0, side, side);
      const coloured = map.reduce((sum, _, i) => sum + (data[4 * i + 3] > 0), 0);
      done([Math.min(...times), coloured, map.reduce((sum, value) => sum + (value >= 8 / 9), 0)]);
    });
    """
    for side in (336, 1024):
        milliseconds, coloured, above = browser.execute_async_script(script, side)
        print(f"a map of {side} x {side} is coloured in {milliseconds:.1f} ms")
        assert coloured == above > 0


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
    mouse(browser).drag_and_drop_by_offset(box, 40, 25).perform()
    script = "return [...document.querySelectorAll('.sheet')].map((one) => one.style.transform)"
    first, second = browser.execute_script(script)
    assert first == second
    assert "scale(1.5)" in first
    by_id(browser, "zoom-fit").click()
    assert "scale(1)" in browser.execute_script(script)[0]
    assert len(set(scores(browser))) == 2
    assert "scan 0.png" in by_id(browser, "status").text, "another cell changes no image"
