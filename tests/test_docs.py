"""What the documentation says to type exists, and its Python runs."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

from adbench import config

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted((ROOT / "methods").rglob("README.md"))


def commands() -> list[str]:
    lines = [line for page in PAGES for line in page.read_text().splitlines() if line.startswith("    adbench ")]
    return sorted({line.partition("  #")[0].strip() for line in lines})


def test_there_are_commands() -> None:
    assert len(commands()) >= 6


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("adbench run ") and "--" not in c])
def test_the_words_of_every_run_are_good(command: str) -> None:
    assert config.parse(shlex.split(command)[2:])


def test_keys_named_in_the_pages_exist() -> None:
    known = set(config.KEYS) | {"out", "threshold", "key"}
    for page in PAGES:
        for key in re.findall(r"`([a-z_]+)=[^`A-Z][^`]*`", page.read_text()):
            assert key in known, f"{page.name}: {key}="


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def blocks() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        codes = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
        sessions = [code for code in codes if code.lstrip().startswith(">>>")]
        found += [(page.name, code) for code in codes if code not in sessions]
        if sessions:  # the blocks of one page are one session
            found.append((page.name, "\n".join(sessions)))
    return found


@pytest.mark.parametrize(("page", "code"), blocks())
def test_python_in_the_pages_runs(adbench, tiny: Path, tmp_path: Path, monkeypatch, page: str, code: str) -> None:
    monkeypatch.chdir(tmp_path)
    if "runs" in code:
        assert adbench("run", "method=patchcore", "shots=2", f"data_root={tiny}", "gallery=0").code == 0
    names = {"root": tmp_path / "phantoms"}
    if code.lstrip().startswith(">>>"):
        example = doctest.DocTestParser().get_doctest(code, names, page, page, 0)
        assert doctest.DocTestRunner().run(example).failed == 0
    else:
        exec(compile(code, page, "exec"), names)
