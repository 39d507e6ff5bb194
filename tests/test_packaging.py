"""What is on disk is in the wheel, in its place under `adbench.`, and an installed wheel works."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from adbench._version import __version__

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOPS = {
    "adbench": "adbench",
    "methods": "adbench.methods",
    "datasets": "adbench.datasets",
    "configs": "adbench.configs",
}


def folders() -> dict[str, Path]:
    """Return every folder of the four tops that holds Python or data, by its import name."""
    found = {}
    for top, package in TOPS.items():
        for folder in [ROOT / top, *(ROOT / top).rglob("*")]:
            if folder.is_dir() and folder.name != "__pycache__":
                found[".".join([package, *folder.relative_to(ROOT / top).parts])] = folder
    return found


def test_every_folder_is_listed_and_is_a_package() -> None:
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(folders())
    assert all((folder / "__init__.py").is_file() for folder in folders().values())


def test_the_top_level_is_the_users() -> None:
    names = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
    assert {"adbench", "methods", "datasets", "configs", "tests", "docs"} <= names


def test_core_dependencies_are_explained() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    for requirement in PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"]:
        name = requirement.split("[")[0].split(">")[0].split("!")[0].split("=")[0]
        assert f"`{name}`" in page, name


def test_the_page_of_a_record_brings_few_packages() -> None:
    """Those of the extra `serve` and what they need in turn, as they are installed here."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in PROJECT["project"]["optional-dependencies"]["serve"]]
    while waiting:
        one = waiting.pop()
        if one.name not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
            found.add(one.name)
            waiting += [Requirement(text) for text in metadata.requires(one.name) or ()]
    assert {"starlette", "uvicorn"} < found
    assert len(found) <= 15, sorted(found)


def test_compromised_releases_are_excluded() -> None:
    (line,) = (d for d in PROJECT["project"]["dependencies"] if d.startswith("pytorch-lightning"))
    assert "!=2.6.2" in line
    assert "!=2.6.3" in line


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    clean = tmp_path_factory.mktemp("source") / "adbench"  # an old build/ in the checkout would hide what is missing
    skipped = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__", "tests", "docs")
    shutil.copytree(ROOT, clean, ignore=skipped)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(clean)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("adbench_medical-*.whl")
    return path


def test_every_file_is_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "/".join([*package.split("."), file.name])
        for package, folder in folders().items()
        for file in folder.iterdir()
        if file.is_file() and file.suffix in (".py", ".yaml", ".json", ".safetensors", ".md", ".csv", ".typed")
    }
    assert wanted <= inside, sorted(wanted - inside)
    tops = {name.split("/")[0] for name in inside}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"adbench"}, "no top-level `datasets` or `methods`"
    assert any(name.endswith("licenses/LICENSE") for name in inside)


@pytest.mark.slow
def test_an_installed_wheel_runs_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True, system_site_packages=False)
    python = tmp_path / "env" / "bin" / "python"
    # The environment borrows the installed dependencies: what is tried is the wheel, not the index.
    site = Path(next(p for p in sys.path if p.endswith("site-packages")))
    target = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    (target / "borrowed.pth").write_text(f"{site}\n")
    code = (
        "import adbench, adbench.methods.madclip as m; "
        f"assert not adbench.__file__.startswith({str(ROOT)!r}), adbench.__file__; "
        f"assert not m.__file__.startswith({str(ROOT)!r}), m.__file__"
    )
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path)
    words = ["method=clip", f"runs={tmp_path / 'runs'}"]
    done = subprocess.run([python, "-m", "adbench", "run", *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "image AUROC" in done.stdout


def test_the_citation_is_of_this_version() -> None:
    """The keys that CFF 1.2.0 requires, and what pyproject.toml says as well."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert citation["type"] == "software"
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert [author["name"] for author in citation["authors"]] == [a["name"] for a in PROJECT["project"]["authors"]]
    assert citation["keywords"] == PROJECT["project"]["keywords"]
    allowed = {"cff-version", "message", "type", "title", "abstract", "authors", "version", "license", "keywords"}
    assert set(citation) <= allowed, "of CFF 1.2.0"
