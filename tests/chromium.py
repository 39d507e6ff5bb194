"""A real Chromium, for the tests of the site and of the page of `serve`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

BINARY = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")
IN_CHROMIUM = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BINARY and DRIVER), reason="no Chromium and chromedriver here: `make test-browser` installs both"
    ),
]
WORDS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")

# Every visible text against the nearest ground that is not transparent: [contrast, text] of what falls below 4.5.
FAINT = """
const rgba = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length === 3 ? [...m, 1] : m; };
const light = (c) => c.slice(0, 3).map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (e) => {
  for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; }
  return [255, 255, 255, 1];
};
const faint = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let seen = 0;
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !e.getClientRects().length) continue;
  const style = getComputedStyle(e);
  const ink = rgba(e.closest("svg.plot") && e.tagName === "text" ? style.fill : style.color);
  const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  seen += 1;
  if (contrast < 4.5) faint.push([contrast.toFixed(2), walker.currentNode.data.trim().slice(0, 40)]);
}
return [seen, faint];
"""


def started(hosts: str, window: str) -> Iterator[Any]:
    """Yield a driver that resolves names by the rules `hosts` and logs what it asks and complains of."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install 'adbench-medical[dev]'")
    options = webdriver.ChromeOptions()
    options.binary_location = BINARY
    for word in (*WORDS, f"--window-size={window}", f"--host-resolver-rules={hosts}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def plain(browser: Any) -> None:
    """Take back what tests set of screen and colours; empty the logs."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.get_log("browser"), browser.get_log("performance")


def nothing_asked_but(browser: Any, *allowed: str) -> None:
    """Assert that nothing was complained of, and that every address asked for begins with one of `allowed`."""
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert asked
    assert [url for url in asked if not url.startswith((*allowed, "data:"))] == []


def mouse(browser: Any) -> Any:
    """Selenium's chain of actions of the mouse and of keys without an element."""
    from selenium.webdriver import ActionChains

    return ActionChains(browser)


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)
