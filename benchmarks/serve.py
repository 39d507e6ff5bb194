"""`adbench serve` in a real Chromium: command to page, drop to heatmap, sliders, prompts, a folder of 10,000 images.

    python benchmarks/serve.py [--images 10000] [--steps 300] [--moves 60] [--folder DIR]

Two cells on phantoms (patchcore and clip on phantom-clip) are run first; with --folder they are kept. Run it with
nothing else running. What must be reached, on two cores: page under 12 s, drop to heatmap under 300 ms, a slider under
30 ms for an image of 1,024 pixels, edited prompts under 1 s, the listing of 10,000 images under 2 s.

Sliders are moved on a dropped image of 1,024 pixels whose map is coloured at its own resolution, that of phantom-clip's
input (112 pixels), and on the same with a map of 1,024 pixels in the server's answer; each without and with a mask
painted. A move counts from the input event to the frame in which the canvas is drawn, the wait for that frame included
(up to 17 ms at 60 frames a second); the time of the page's own work stands beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from selenium import webdriver

from adbench.data.listing import list_images
from adbench.records.record import read_all

# Each resolves with milliseconds, as the browser measures them, up to the frame in which the change can be seen.
DROPPED = """
const done = arguments[0];
const canvas = document.createElement("canvas");
canvas.width = canvas.height = 1024;
const context = canvas.getContext("2d");
context.fillStyle = `rgb(${Math.random() * 255} 90 90)`;
context.fillRect(200, 200, 400, 500);
canvas.toBlob((blob) => {
  const data = new DataTransfer();
  data.items.add(new File([blob], "drop.png", { type: "image/png" }));
  const start = performance.now();
  new MutationObserver((_, watcher) => {
    watcher.disconnect();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
  }).observe(document.querySelector(".score"), { childList: true });
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
});
"""
# Moves a slider so often, and resolves with [milliseconds to the drawn frame, of the page's work] of each move.
SLIDER = """
const [selector, moves, done] = arguments;
const slider = document.querySelector(selector);
const [low, high] = [Number(slider.min), Number(slider.max)];
const drawn = () => new Promise((resolve) => requestAnimationFrame(() => {
  const { port1, port2 } = new MessageChannel();  // its message comes once the frame is drawn
  port1.onmessage = resolve;
  port2.postMessage(null);
}));
const move = async (share) => {
  await new Promise((resolve) => setTimeout(resolve, 40 + 17 * Math.random()));
  slider.value = low + (high - low) * share;
  const start = performance.now();
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  const worked = performance.now() - start;
  await drawn();
  return [performance.now() - start, worked];
};
(async () => {
  const found = [];
  for (let i = 0; i < moves; i += 1) found.push(await move(((7 * i) % 20) / 20));
  done(found);
})();
"""
# From now on the server's answers hold maps of 1,024 x 1,024.
LARGE_MAPS = """
const plain = window.fetch;
window.fetch = async (path, ...more) => {
  const answer = await plain(path, ...more);
  if (!String(path).endsWith("/score")) return answer;
  const content = await answer.json();
  const small = new Float32Array(Uint8Array.from(atob(content.map), (letter) => letter.charCodeAt(0)).buffer);
  const at = (i) => Math.floor((i * content.side) / 1024);
  const value = (_, i) => small[at(i >> 10) * content.side + at(i & 1023)] * (1 + Math.random() / 1000);
  const map = Float32Array.from({ length: 2 ** 20 }, value);
  const bytes = new Uint8Array(map.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 2 ** 15) text += String.fromCharCode(...bytes.subarray(i, i + 2 ** 15));
  const large = JSON.stringify({ ...content, side: 1024, map: btoa(text) });
  return new Response(large, { headers: { "content-type": "application/json" } });
};
"""
PROMPT = """
const done = arguments[0];
const field = document.querySelector("#prompts textarea");
field.value = `healthy {} ${Math.floor(1000 * Math.random())}`;  // phantom-clip reads 32 tokens
const start = performance.now();
new MutationObserver((_, watcher) => {
  watcher.disconnect();
  done(performance.now() - start);
}).observe(document.querySelector(".score"), { childList: true });
document.querySelector("#prompts .apply").click();
"""


def run_cells(folder: Path) -> dict[str, Path]:
    """Run the two cells that are not there yet; return their records by method."""
    words = ["method=patchcore,clip", "dataset=brainmri", "shots=4", "gallery=0", f"runs={folder / 'runs'}"]
    subprocess.run([sys.executable, "-m", "adbench", "run", *words], check=True, stdout=subprocess.DEVNULL)
    return {record.content["facts"]["method"]: record.path for record in read_all(folder / "runs")}


def write_scans(folder: Path, count: int) -> Path:
    """Write a folder of so many images of 512 pixels: links to 50 files, which cost no space."""
    scans = folder / f"scans-{count}"
    if scans.is_dir():
        return scans
    scans.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        file = scans / f"{number:05d}.png"
        if number < 50:
            Image.fromarray(rng.integers(0, 255, (512, 512), dtype=np.uint8)).save(file)
        else:
            os.link(scans / f"{number % 50:05d}.png", file)
    return scans


def megabytes(process: int) -> float:
    """Return the memory of a process that is resident."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def driver() -> Any:
    """Return a Chromium without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1400,1000",
    ):
        options.add_argument(word)
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def wait(condition: Any, what: str) -> None:
    """Wait for a condition; raise TimeoutError after a minute."""
    until = time.monotonic() + 60
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"waited a minute for {what}")
        time.sleep(0.02)


def at_rest(browser: Any) -> None:
    """Wait until the page has answers to all that it asked."""
    wait(lambda: browser.execute_script("return document.querySelector('main').ariaBusy") == "false", "the page")


def set_slider(browser: Any, selector: str, share: float) -> None:
    """Put a slider at a share of its range."""
    script = """
    const slider = document.querySelector(arguments[0]);
    slider.value = Number(slider.min) + (slider.max - slider.min) * arguments[1];
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    """
    browser.execute_script(script, selector, share)


def move_sliders(browser: Any, what: str, moves: int) -> None:
    """Print what the sliders of the first cell take, without and with a mask, which is then cleared."""
    for mask in ("no mask", "a mask"):
        if mask == "a mask":
            set_slider(browser, ".map-threshold", 0.2)
            browser.execute_script("document.getElementById('take-map').click()")
            assert "Dice" in browser.find_element("id", "agreement").text
        for name, selector in (("map threshold", ".map-threshold"), ("opacity", "#opacity")):
            drawn, worked = zip(*browser.execute_async_script(SLIDER, selector, moves), strict=True)
            print(
                f"{name}, {what}, {mask}: {np.median(drawn):.1f} ms to the drawn frame, at most {max(drawn):.1f} ms; "
                f"the page's work {np.median(worked):.1f} ms, at most {max(worked):.1f} ms",
                flush=True,
            )
    browser.execute_script("document.getElementById('clear').click()")


def choose(browser: Any, name: str, value: str) -> None:
    """Choose a value of a field, as a person does."""
    script = (
        "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('change'))"
    )
    browser.execute_script(script, name, value)


def measure(folder: Path, images: int, steps: int, moves: int) -> None:
    """Print the figures."""
    records, scans = run_cells(folder), write_scans(folder, images)
    start = time.perf_counter()
    list_images(scans, deep=True)
    print(f"listing {images:,} images: {time.perf_counter() - start:.2f} s")
    browser = driver()
    words = [str(records["patchcore"]), str(records["clip"]), "--images", str(scans), "--out", str(folder / "cases")]
    start = time.perf_counter()
    command = [sys.executable, "-u", "-m", "adbench", "serve", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http://" in line)
        browser.get(line[line.index("http://") :].strip())
        wait(lambda: browser.execute_script("return document.body.dataset.ready"), "a usable page")
        print(f"command to usable page: {time.perf_counter() - start:.1f} s")
        browser.set_script_timeout(60)
        found = [browser.execute_async_script(DROPPED) for _ in range(9)]
        print(f"drop to heatmap: {np.median(found):.0f} ms, at most {max(found):.0f} ms")
        at_rest(browser)
        move_sliders(browser, "a map of 112 px", moves)
        browser.execute_script(LARGE_MAPS)
        browser.execute_async_script(DROPPED)
        at_rest(browser)
        move_sliders(browser, "a map of 1,024 px", moves)
        browser.refresh()
        wait(lambda: browser.execute_script("return document.body.dataset.ready"), "the page once more")
        choose(browser, "source", "folder")
        at_rest(browser)
        before = megabytes(process.pid)
        for number in range(2, steps + 2):
            choose(browser, "number", str(number))
            wait(lambda n=number: f"{n - 1:05d}" in browser.find_element("id", "status").text, f"image {number}")
        print(f"{steps} steps through the folder: {before:.0f} MB before, {megabytes(process.pid):.0f} MB after")
        choose(browser, "cell-a", records["clip"].name)
        time.sleep(1)
        at_rest(browser)
        found = [browser.execute_async_script(PROMPT) for _ in range(5)]
        print(f"edited prompts to map: {np.median(found):.0f} ms, at most {max(found):.0f} ms")
    finally:
        process.terminate()
        browser.quit()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--moves", type=int, default=60)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = given.folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        measure(place, given.images, given.steps, given.moves)
