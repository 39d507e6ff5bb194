"""A sweep of 48 cheap cells with one worker and with two, side by side; one core each.

    python benchmarks/sweep.py [--repeat 1]

Each sweep starts in a fresh process, with phantoms drawn and every other cache cold. Run it with nothing else running.
`start-up` is what passes before the first cell begins: the plan, and the imports of the workers; `overhead` what
neither it nor the cells explain, for each cell.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

SWEEP = ["method=patchcore,clip_finetune", "dataset=bmad", "shots=4", "draw=0,1", "seed=0,1", "gallery=0", "cores=1"]
CELLS = 48  # 2 x 6 x 2 x 2


class Took(NamedTuple):
    """Seconds of a sweep: in all, before its first cell, and of all stages of its cells by worker."""

    wall: float
    start_up: float
    own: float


def adbench(*words: str) -> None:
    """Run one command in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "adbench", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def sweep(workers: int, phantoms: Path) -> Took:
    """Run the sweep and return what it took."""
    with tempfile.TemporaryDirectory() as scratch:
        cache, runs = Path(scratch) / "cache", Path(scratch) / "runs"
        shutil.copytree(phantoms, cache)
        start = time.time()
        adbench("run", *SWEEP, f"workers={workers}", f"cache={cache}", f"runs={runs}")
        wall = time.time() - start
        own = {file: sum(json.loads(file.read_text())["seconds"].values()) for file in runs.glob("*/record.json")}
        began = min(file.stat().st_mtime - seconds for file, seconds in own.items())
    assert len(own) == CELLS, f"{len(own)} records"
    return Took(wall, began - start, sum(own.values()) / workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    took: dict[int, list[Took]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as scratch:
        phantoms = Path(scratch) / "cache"
        # Draws the phantoms; what else it leaves in the cache goes.
        adbench("run", "method=clip", "dataset=bmad", "gallery=0", f"cache={phantoms}", f"runs={scratch}/runs")
        for folder in phantoms.iterdir():
            if folder.name != "phantom":
                shutil.rmtree(folder)
        for _ in range(options.repeat):
            for workers in took:
                took[workers].append(sweep(workers, phantoms))
    print(f"| {CELLS} cells | wall s | start-up s | cells' own s | overhead s per cell |\n|---|---|---|---|---|")
    best = {workers: min(some) for workers, some in took.items()}
    for workers, (wall, start_up, own) in best.items():
        overhead = (wall - start_up - own) * workers / CELLS
        print(f"| workers={workers} | {wall:.1f} | {start_up:.1f} | {own:.1f} | {overhead:.2f} |")
    whole, after = (
        best[1].wall / best[2].wall, (best[1].wall - best[1].start_up) / (best[2].wall - best[2].start_up),
    )  # fmt: skip
    print(f"\ntwo workers are {whole:.2f} times as fast, {after:.2f} without start-up; best of {options.repeat}")


if __name__ == "__main__":
    main()
