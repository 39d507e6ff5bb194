"""Wall time and peak memory of the main job in fresh processes: cold caches, a second cell, the paper's schedule.

    python benchmarks/run.py [--repeat 3] [--paper]

Run it with nothing else running: on two cores a foreign process makes threaded code several times slower.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def timed(words: list[str], folder: Path) -> tuple[float, float, dict[str, float]]:
    """Run `adbench run` once; return wall seconds, peak GB, and the seconds of each stage."""
    command = [sys.executable, "-m", "adbench", "run", *words, f"cache={folder / 'cache'}", f"runs={folder / 'runs'}"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr)
    newest = max((folder / "runs").glob("*/record.json"), key=lambda path: path.stat().st_mtime)
    content = json.loads(newest.read_text())
    return wall, content["peak_memory"]["host_bytes"] / 1e9, content["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--paper", action="store_true", help="time schedule=paper too, once")
    options = parser.parse_args()
    job = ["method=madclip", "shots=16"]
    rows = []
    for _ in range(options.repeat):
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(("cold caches", *timed(job, Path(scratch))))
            rows.append(("second cell (seed=1)", *timed([*job, "seed=1"], Path(scratch))))
    if options.paper:
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(("schedule=paper, cold", *timed([*job, "schedule=paper"], Path(scratch))))
    print("| adbench run method=madclip shots=16 | wall s | peak GB | stages s |\n|---|---|---|---|")
    for title in dict.fromkeys(row[0] for row in rows):
        _, wall, peak, stages = min((row for row in rows if row[0] == title), key=lambda row: row[1])
        print(f"| {title} | {wall:.1f} | {peak:.2f} | {', '.join(f'{k} {v:.1f}' for k, v in stages.items())} |")
    print(f"\nbest of {options.repeat}")


if __name__ == "__main__":
    main()
