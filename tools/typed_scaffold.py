"""Check the types of a scaffolded method package against an installed wheel of adbench, as its author would.

Usage: python tools/typed_scaffold.py FOLDER
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def install(folder: Path) -> Path:
    """Build the wheel and install it into a new environment that sees this one's packages; return its Python."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)  # what installing a wheel of pure Python does
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return folder / "venv" / "bin" / "python"


def check(python: Path, code: Path) -> subprocess.CompletedProcess[str]:
    """Run mypy strictly on a folder of code, in an environment."""
    strict = ["--strict", "--python-executable", str(python), "--cache-dir", str(ROOT / "build" / "mypy"), str(code)]
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", *strict], capture_output=True, text=True, cwd=code.parent
    )


def scaffold(python: Path, folder: Path) -> Path:
    """Write a new method's package with the installed adbench and return its folder."""
    words = ["-m", "adbench", "new-method", "typed_one", "--into", str(folder)]
    subprocess.run([str(python), *words], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    return folder / "typed_one" / "adbench_typed_one"


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    interpreter = install(place)
    done = check(interpreter, scaffold(interpreter, place))
    print(done.stdout, end="")
    sys.exit(done.returncode)
