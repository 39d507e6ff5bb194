"""A sweep of 48 cheap cells with one worker and with two, side by side; one core each.

    python benchmarks/sweep.py [--repeat 1]

Each sweep starts in a fresh process, with phantoms drawn and every other cache cold. Run it with nothing else running.
`start-up` is `adbench plan` of the same words; `overhead` what neither it nor the cells explain, for each cell.
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

SWEEP = ["method=patchcore,clip_finetune", "dataset=bmad", "shots=4", "draw=0,1", "seed=0,1", "gallery=0", "cores=1"]
CELLS = 48  # 2 x 6 x 2 x 2


def adbench(*words: str) -> float:
    """Run one command in a process of its own and return its wall seconds."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "adbench", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - start


def sweep(workers: int, phantoms: Path) -> tuple[float, float]:
    """Return wall seconds of the sweep, and the seconds of all stages of its cells, by worker."""
    with tempfile.TemporaryDirectory() as scratch:
        cache, runs = Path(scratch) / "cache", Path(scratch) / "runs"
        shutil.copytree(phantoms, cache)
        wall = adbench("run", *SWEEP, f"workers={workers}", f"cache={cache}", f"runs={runs}")
        records = [json.loads(file.read_text()) for file in runs.glob("*/record.json")]
    assert len(records) == CELLS, f"{len(records)} records"
    return wall, sum(sum(record["seconds"].values()) for record in records) / workers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    took: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
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
        start = min(adbench("plan", *SWEEP, f"cache={phantoms}", f"runs={scratch}/none") for _ in range(options.repeat))
    print(f"| {CELLS} cells | wall s | cells' own s | start-up s | overhead s per cell |\n|---|---|---|---|---|")
    best = {workers: min(pairs) for workers, pairs in took.items()}
    for workers, (wall, own) in best.items():
        overhead = (wall - own - start) * workers / CELLS
        print(f"| workers={workers} | {wall:.1f} | {own:.1f} | {start:.1f} | {overhead:.2f} |")
    print(f"\ntwo workers are {best[1][0] / best[2][0]:.2f} times as fast; best of {options.repeat}")


if __name__ == "__main__":
    main()
