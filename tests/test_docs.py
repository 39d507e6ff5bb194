"""What the documentation says to type exists, and its Python runs."""

from __future__ import annotations

import doctest
import glob
import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer.main
from PIL import Image

from adbench.commands.cli import app
from adbench.commands.keys import SCORE_KEYS
from adbench.config import words as config
from adbench.conformance.checks import CHECKS
from adbench.plugins import registry
from adbench.records.record import read_all
from adbench.reproduce import keys as reproduce
from tests.adbench.exports.sources import saved, source

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted((ROOT / "methods").rglob("README.md"))


def commands() -> list[tuple[str, str]]:
    """Every command that a page says to type, in a block or within a sentence, with the page."""
    found = set()
    for page in PAGES:
        text = page.read_text()
        fenced = re.findall(r"^```[a-z ]*\n(.*?)^```", text, re.S | re.M)
        lines = [line for block in fenced for line in block.splitlines()]
        lines += [line.strip() for line in text.splitlines() if line.startswith("    ")]
        lines += [span.replace("\n", " ") for span in re.findall(r"`(adbench\s[^`]+)`", text)]
        found |= {(page.name, line) for line in lines if line.startswith("adbench ")}
    return sorted(found)


def test_there_are_commands() -> None:
    named = {shlex.split(line, comments=True)[1] for _, line in commands()}
    assert {"run", "plan", "score", "leaderboard", "data", "support", "plot", "list", "check-method"} <= named


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_of_the_pages_can_be_typed(page: str, line: str) -> None:
    """Options and arguments are examined by the command line's own parser, and the words of a cell by theirs."""
    words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    command, path = typer.main.get_command(app), []
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        name, command, words = command.resolve_command(typer.Context(command), words)
        path.append(name)
    if len(path) == len(line.split()) - 1:
        return  # a sentence speaks of it
    if words in (["--help"], ["--install-completion"]):
        return  # they end a command when they are read
    context = command.make_context(" ".join(path), list(words))
    if path[0] in ("run", "plan", "support") and page != "your-own-method.md":  # whose method is made there, by a test
        assert config.parse(context.params["words"] or [])


def test_keys_named_in_the_pages_exist() -> None:
    known = {*config.KEYS, *SCORE_KEYS, *reproduce.KEYS, "key"}
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
    Image.new("L", (60, 50), 90).save("scan.png")
    Path("incoming").mkdir()
    for kind in ("CT", "MR"):
        saved(source(kind), Path("incoming") / f"{kind.lower()}.dcm")
    if "runs" in code and "adbench.run(" not in code:
        assert adbench("run", "method=patchcore", "shots=2", f"data_root={tiny}", "gallery=0").code == 0
    names = {"root": tmp_path / "phantoms"}
    if code.lstrip().startswith(">>>"):
        example = doctest.DocTestParser().get_doctest(code, names, page, page, 0)
        assert doctest.DocTestRunner().run(example).failed == 0
    else:
        exec(compile(code, page, "exec"), names)


def test_every_field_of_a_record_is_described(adbench, tiny: Path, tmp_path: Path) -> None:
    words = [
        "method=mvfa",
        "method.epochs=1",
        "shots=2",
        "logger=csv",
        f"data_root={tiny}",
        f"runs={tmp_path / 'runs'}",
    ]
    assert adbench("run", *words).code == 0
    (record,) = read_all(tmp_path / "runs")
    page = (ROOT / "docs" / "records.md").read_text()
    layout, facts = page.partition("## What a record holds")[2].partition("## What makes a cell")[::2]
    rows = {row.split(" | ")[0].strip("| "): row for row in layout.splitlines() if row.startswith("| `")}
    heads = [*rows, *re.findall(r"^\| (`.*?) \|", facts.partition("\n## ")[0], re.M)]
    described = {name for head in heads for name in re.findall(r"`([^`]+)`", head)}
    assert described >= {*record.content, *record.content["facts"], *record.predictions()}
    files = {path.name + "/" * path.is_dir() for path in record.path.iterdir()}
    assert described >= files
    for field in ("support", "seen", "held_out", "backbone", "histogram", "parameters", "seconds", "peak_memory",
                  "code", "device", "selection", "tracker"):  # fmt: skip
        value = record.content[field]
        for name in value[0] if isinstance(value, list) else value:
            assert f"`{name}`" in rows[f"`{field}`"], f"{field}.{name}"
    capability = (ROOT / "docs" / "your-own-method.md").read_text().partition("## Capability")[2].partition("\n## ")[0]
    for name in record.content["capability"]:
        assert f"| `{name}" in capability or f", `{name}" in capability, name


def test_the_guide_names_every_check() -> None:
    section = (ROOT / "docs" / "your-own-method.md").read_text().partition("## The checks")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z -]+) \| ", section, re.M)
    assert rows[1:] == [check.name for check in CHECKS]
    assert rows[0] == "check"


def runnable() -> list[Path]:
    return [page for page in PAGES if "```sh runnable\n" in page.read_text()]


@pytest.mark.parametrize("page", runnable(), ids=lambda page: page.name)
def test_commands_marked_runnable_run(adbench, tiny: Path, tmp_path: Path, monkeypatch, page: Path) -> None:
    monkeypatch.chdir(tmp_path)
    lines = "".join(re.findall(r"```sh runnable\n(.*?)```", page.read_text(), re.S)).splitlines()
    if not any(line.startswith("adbench run") for line in lines):  # a page that speaks of records that are there
        assert adbench("run", "method=clip,patchcore", "shots=1", f"data_root={tiny}", "gallery=0").code == 0
        shutil.copytree("runs", "other/runs")
    for line in lines:
        words = shlex.split(line, comments=True)
        words = [found for word in words for found in (sorted(glob.glob(word)) or [word])]
        assert words[0] == "adbench"
        answer = adbench(*words[1:])
        assert answer.code == 0, f"{line}: {answer.err}"


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_docs", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_site_has_every_page_and_no_dead_link(build, tmp_path: Path) -> None:
    build.assemble(tmp_path)
    contents = (tmp_path / "index.md").read_text()
    pages = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md"))
    assert {"reference.md", "changelog.md", "methods/madclip.md"} < set(pages)
    for page in pages:
        assert page == "index.md" or f"\n{page.removesuffix('.md')}\n" in contents, f"{page} is not in the contents"
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", (tmp_path / page).read_text()):
            assert (tmp_path / page).parent.joinpath(link).exists(), f"{page}: {link}"


def test_the_reference_names_every_command_key_and_parameter(build) -> None:
    text = build.reference()
    commands = re.findall(r"^### `(.*)`$", text, re.M)
    assert re.findall(r"^Usage: (adbench [a-z -]+) \[OPTIONS\]", text, re.M) == commands
    assert max(map(len, text.partition("## Keys")[0].splitlines())) <= 80
    for command in ("run", "plan", "score", "leaderboard", "data check", "support show", "plot features", "new-method"):
        assert f"### `adbench {command}`" in text
    for key in config.KEYS:
        assert f"\n{key}:" in text
    for name, entry in registry.entries("method").items():
        assert (f"\n### {name}\n" in text) != entry.foreign
    assert "text_share: float = 0.5  # of the zero-shot branch in the fusion" in text


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(build, tmp_path: Path) -> None:
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package, reason="the extra `docs` is not installed")
    assert build.main(str(tmp_path / "site")) == 0
    assert "adbench" in (tmp_path / "site" / "sweeps.html").read_text()
    assert (tmp_path / "site" / "methods" / "madclip.html").is_file()
