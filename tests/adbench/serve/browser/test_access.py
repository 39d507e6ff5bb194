"""Who may open the page, and how it is read: by keys, aloud, on a phone, in both colour schemes."""

from __future__ import annotations

import contextlib
import http.client
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.adbench.serve.browser.page import (
    CONTROL,
    DOCS,
    DOWN,
    ENTER,
    LEFT,
    NULL,
    RIGHT,
    TAB,
    by_id,
    choose,
    pixels,
    settled,
    texts,
    until,
    use,
)
from tests.chromium import FAINT, IN_CHROMIUM, find, mouse

pytestmark = IN_CHROMIUM


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
        mouse(browser).send_keys(TAB).perform()  # a file field takes keys as a path
        kind, style = browser.execute_script(
            "const e = document.activeElement; return [e.tagName, getComputedStyle(e).outlineStyle]"
        )
        assert style != "none", kind
