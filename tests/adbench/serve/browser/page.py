"""What a test does on the page of `serve` in a browser."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chromium import find

DOCS = (Path(__file__).parents[4] / "docs" / "serve.md").read_text()
PLACES = {"record": "runs/bfa4c4c81e4f6a537260", "scans": "/data/ward-3", "cases": "cases"}
LEFT, RIGHT, DOWN, HOME, END = "\ue012", "\ue014", "\ue015", "\ue011", "\ue010"
CONTROL, ENTER, TAB, NULL = "\ue009", "\ue007", "\ue004", "\ue000"


def typed(start: str, **places: object) -> list[str]:
    """Return the words of the command of docs/serve.md that begins so, with other places, as a shell reads them."""
    (line,) = [line.strip() for line in DOCS.splitlines() if line.startswith(f"    {start}")]
    for name, place in places.items():
        assert PLACES[name] in line, (name, line)
        line = line.replace(PLACES[name], str(place))
    return shlex.split(line)[1:]


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


LATE = """
const [end, milliseconds] = arguments;
const plain = window.fetch;
window.fetch = async (path, ...more) => {
  if (String(path).endsWith(end)) await new Promise((resolve) => setTimeout(resolve, milliseconds));
  return plain(path, ...more);
};
"""
