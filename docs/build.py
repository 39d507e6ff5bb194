"""Build the documentation site: the pages of this folder, README, changelog, the methods' pages, and the reference.

    python docs/build.py [OUT]

The pages are put together in a temporary folder, which Sphinx then turns into HTML that opens from disk, without a
network. A link that leads nowhere, or a page outside the table of contents, is an error.
"""

from __future__ import annotations

import dataclasses
import inspect
import posixpath
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import typer.main

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
CONTENTS: dict[str, list[str]] = {
    "First steps": ["tour", "own-images", "command-line", "terms", "python"],
    "Compare methods": [
        "datasets",
        "data-check",
        "protocols",
        "backbones",
        "sweeps",
        "clusters",
        "precision",
        "gpu",
        "trackers",
        "anomalib",
        "leaderboard",
        "site",
        "statistics",
        "metrics",
    ],
    "Publish, reproduce, review": [
        "reproduce",
        "publish",
        "check-a-paper",
        "reviewers",
        "records",
        "records-of-others",
        "caches",
    ],
    "Use a trained method": ["score", "serve", "operating-points", "report"],
    "Develop": ["your-own-method", "architecture", "phantoms", "dependencies", "reference", "changelog"],
    "Methods": [],  # every folder in methods/
    "Benchmarks": [],  # every page in docs/benchmarks/
}


def assemble(folder: Path) -> None:
    """Write every page of the site, as Markdown, into an empty folder."""
    shutil.copytree(ROOT / "docs", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copy(ROOT / "docs" / "conf.py", folder)
    for page in folder.rglob("*.md"):
        path = page.relative_to(folder).as_posix()
        page.write_text(_linked(page.read_text(encoding="utf-8"), f"docs/{path}", path), encoding="utf-8")
    methods = sorted(readme.parent.name for readme in (ROOT / "methods").glob("*/README.md"))
    sources = ["README.md", "CHANGELOG.md", *(f"methods/{name}/README.md" for name in methods)]
    pages = {place(path) or path: _moved(path) for path in sources} | {"reference.md": reference()}
    benchmarks = sorted(page.stem for page in (ROOT / "docs" / "benchmarks").glob("*.md"))
    found = {"Methods": [f"methods/{name}" for name in methods]}
    found["Benchmarks"] = [f"benchmarks/{name}" for name in benchmarks]
    pages["index.md"] += _contents(CONTENTS | found)
    for name, text in pages.items():
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _contents(captions: dict[str, list[str]]) -> str:
    parts = []
    for caption in CONTENTS:
        head = ["", "```{toctree}", ":hidden:", f":caption: {caption}", ""]
        parts.append("\n".join([*head, *captions[caption], "```", ""]))
    return "".join(parts)


def place(path: str) -> str | None:
    """Return where the site has a file of the repository; none where it hasn't.

    >>> place("methods/mvfa/README.md"), place("docs/metrics.md"), place("LICENSE")
    ('methods/mvfa.md', 'metrics.md', None)
    """
    if path in ("README.md", "CHANGELOG.md"):
        return {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}[path]
    if found := re.fullmatch(r"methods/(\w+)/README\.md", path):
        return f"methods/{found[1]}.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def _moved(path: str) -> str:
    return _linked((ROOT / path).read_text(encoding="utf-8"), path, place(path) or path)


def _linked(text: str, source: str, target: str) -> str:
    """Rewrite the links of `source` (a path in the repository) for the page `target` (a path in the site)."""

    def one(match: re.Match[str]) -> str:
        picture, words, link = match.groups()
        path, hash_, part = link.partition("#")
        inside = source.startswith("docs/") and not path.startswith("..")
        if not path or "://" in path or inside:
            return match[0]
        found = place(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
        if found is None:
            return words  # a file that the site doesn't have
        return f"{picture}[{words}]({posixpath.relpath(found, posixpath.dirname(target) or '.')}{hash_}{part})"

    return LINK.sub(one, text)


def reference() -> str:
    """Return the page of every command, key and method parameter."""
    parts = ["# Reference", "Generated from the code.", "## Commands", *_commands()]
    parts += ["## Keys", "`adbench run --keys` prints this file.", _fenced("yaml", _resource("run.yaml"))]
    parts += [
        "## Parameters of the methods",
        "Each is a key `method.NAME=`; what they mean stands on the method's page.",
    ]
    from adbench.plugins import registry

    own = {name: entry for name, entry in registry.entries("method").items() if not entry.foreign}
    for name, entry in own.items():
        params = entry.load().Params
        parts += [f"### {name}", _fenced("python", _fields(params)), _fenced("yaml", _resource(f"method/{name}.yaml"))]
    return "\n\n".join(parts) + "\n"


def _commands() -> Iterator[str]:
    """Yield the name and the help page of every command, in the order of `adbench --help`."""
    from adbench.commands.cli import app
    from adbench.commands.usage import PANELS, leaves

    root = typer.main.get_command(app)
    for name, _ in sorted(leaves(root), key=lambda leaf: PANELS.index(str(leaf[1].rich_help_panel))):
        command: Any = root
        context = typer.Context(command, info_name="adbench", terminal_width=80)
        for word in name.split():
            command = command.commands[word]
            context = typer.Context(command, info_name=word, parent=context)
        yield from (f"### `adbench {name}`", _fenced("text", command.get_help(context)))


def _fields(params: type) -> str:
    """Return a dataclass's fields as they stand in the source, with their comments."""
    assert dataclasses.is_dataclass(params)
    lines = inspect.getsource(params).splitlines()
    first = next(i for i, line in enumerate(lines) if re.match(r"    \w+:", line)) if dataclasses.fields(params) else 0
    return inspect.cleandoc("\n".join(lines[first:])) if dataclasses.fields(params) else "# none"


def _resource(name: str) -> str:
    return resources("adbench.configs").joinpath(*name.split("/")).read_text(encoding="utf-8").rstrip()


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def main(out: str = "site") -> int:
    """Assemble and build; return Sphinx's exit code."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "pages"
        assemble(source)
        return build_main(["-q", "-W", "--keep-going", "-b", "html", "-d", f"{scratch}/trees", str(source), out])


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
