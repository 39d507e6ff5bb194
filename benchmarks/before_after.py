"""Today against another commit of adbench: encoding, training step, test pass and main job of each method.

    python benchmarks/before_after.py 7705c91 [--methods madclip,mvfa] [--repeat 3] [--stages encode,step,job]

The commit is installed from a worktree in an environment of its own, with this one's packages. Both sides run in turn,
in fresh processes; the best of `--repeat` counts, for memory the least. Encoding, steps and passes have the size of
ViT-L/14 at 112 pixels, with random weights and without a cache, and two cores: in older trees `threads=2`, but for
encoding their default, one thread. The job is `adbench run` with phantom-clip and the defaults of each side. Run it
with nothing else running.

`products alone` are the seconds of a stage's FLOPs at the rate of all cores in a product of ViT-L's size, measured in
the same run. `at most` is how many times as fast as before a tree would be in which nothing else took time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOTS = {"mvfa": "4"}  # as published most often; the others: 16
VIT_L = ["backbone=ViT-L-14", "backbone.weights=random", "input_size=112"]
VIEWS = {"madclip": "method.views=1"}  # no augmentation: preparing 16 views of 32 images would take minutes


def install(commit: str, folder: Path) -> Path:
    """Install a commit in an environment of its own; return its Python."""
    tree = folder / "tree"
    subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--detach", "-q", str(tree), commit], check=True)
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    site = subprocess.check_output(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    for name in ("setuptools", "pkg_resources"):
        subprocess.run(["rm", "-rf", f"{site.strip()}/{name}"], check=True)
    (Path(site.strip()) / "packages.pth").write_text(sysconfig.get_path("purelib"))
    command = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", str(tree)]
    subprocess.run(command, check=True)
    return python


def uncached(tree: Path) -> str:
    """Return the word with which the adbench of a tree keeps no features."""
    older = "feature_cache: true" in (tree / "configs" / "run.yaml").read_text()
    return "feature_cache=false" if older else "feature_cache=off"


def probe(python: str, stages: str, words: list[str], cache: Path) -> dict[str, float]:
    """Run `probe.py`; return seconds by stage."""
    command = [python, str(ROOT / "benchmarks" / "probe.py"), stages, *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"ADBENCH_CACHE": str(cache)}, cwd="/"
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def job(python: str, words: list[str], folder: Path) -> tuple[float, float]:
    """Run `adbench run`; return its wall seconds, and the peak memory in GB that its record names."""
    command = [python, "-m", "adbench", "run", *words, f"cache={folder}/cache", f"runs={folder}/runs"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds = time.perf_counter() - start
    newest = max((folder / "runs").glob("*/record.json"), key=lambda path: path.stat().st_mtime)
    return seconds, json.loads(newest.read_text())["peak_memory"]["host_bytes"] / 1e9


def compared(method: str, stages: list[str], sides: dict[str, str], options: argparse.Namespace, folder: Path) -> None:
    """Print the rows of one method."""
    words = [f"method={method}", f"shots={SHOTS.get(method, '16')}"]
    best: dict[tuple[str, str], float] = {}
    counted: dict[str, float] = {}  # the FLOPs of each stage, and how many a second all cores do
    for repeat in range(options.repeat):
        for side, python in sides.items():
            newer = side == "after" or options.same_keys
            off = uncached(ROOT if side == "after" else folder / "tree")
            for inner in (["encode"], ["step", "test"]):
                asked = ",".join(stage for stage in inner if stage in stages)
                cores = ["cores=2"] if newer else [] if asked == "encode" else ["threads=2"]  # the default there is 1
                sized = [*words, *VIT_L, *cores, off, "method.epochs=1", *([VIEWS[method]] if method in VIEWS else [])]
                counts = ",flops" if side == "after" else ""
                found = probe(python, asked + counts, sized, folder / f"cache-{side}") if asked else {}
                for what, value in found.items():
                    if what in inner:
                        best[what, side] = min(value, best.get((what, side), value))
                    else:
                        counted[what] = max(value, counted.get(what, 0))
            if "job" in stages:
                own = folder / f"{side}{repeat}{method}"
                for name, more in (("main job, cold", []), ("a second cell", ["seed=1"])):
                    for what, value in zip((name, f"{name}: peak GB"), job(python, [*words, *more], own), strict=True):
                        best[what, side] = min(value, best.get((what, side), value))
    for stage in dict.fromkeys(stage for stage, _ in best):
        before, after = best[stage, "before"], best[stage, "after"]
        least = counted[f"{stage} flops"] / counted["rate"] if f"{stage} flops" in counted else None
        limit = f"{least:.3f} | {before / least:.2f}" if least else " | "
        print(f"| {method} | {stage} | {before:.3f} | {after:.3f} | {before / after:.2f} | {limit} |", flush=True)
    if counted:
        print(f"The cores together: {counted['rate'] / 1e9:.0f} GFLOP/s.", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("--methods", default="madclip,mvfa,mediclip")
    parser.add_argument("--stages", default="encode,step,test,job")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--same-keys", action="store_true", help="the commit knows cores= too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            sides = {"before": str(install(options.commit, folder)), "after": sys.executable}
            head = ("method", "seconds of", options.commit, "this tree", "faster", "products alone", "at most")
            print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
            for method in options.methods.split(","):
                compared(method, options.stages.split(","), sides, options, folder)
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(folder / "tree")], check=False)


if __name__ == "__main__":
    main()
