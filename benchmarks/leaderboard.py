"""A leaderboard of 10,000 records and a plan of their cells, each in a fresh process; the goals are 10 s and 5 s.

`imports` is what the process takes to import what the command needs: for the plan torch and Lightning, without which no
method can be asked anything. `command` is what comes after it; the goal of the plan is for that.

    python benchmarks/leaderboard.py [--records 10000] [--repeat 3]

One cell is run; the others have its record with facts, support and figures of their own, and empty files for what
neither command opens. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from adbench.config import words as config
from adbench.records.record import FILES, read_all, to_json
from adbench.sweeps.sweep import Task, plan

SWEEP = ["method=madclip,mvfa,patchcore", "dataset=bmad", "shots=2,4,8,16", "draw=0,1,2,3,4"]
CELLS = 360  # of each seed


TIMED = """
import sys, time
start = time.perf_counter()
import adbench.commands.cli, {modules}
imported = time.perf_counter()
adbench.commands.cli.app(sys.argv[1:], standalone_mode=False)
print(imported - start, time.perf_counter() - imported)
"""


def python(*words: str) -> str:
    """Run Python in a process of its own; return what it prints."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def timed(words: list[str], modules: str) -> tuple[float, float, float, str]:
    """Run a command in a process of its own; return the seconds of all, imports and command, and what it prints."""
    start = time.perf_counter()
    printed, _, took = python("-c", TIMED.format(modules=modules), *words).rstrip().rpartition("\n")
    imports, command = map(float, took.split())
    return time.perf_counter() - start, imports, command, printed


def write(runs: Path, model: dict[str, object], task: Task) -> int:
    """Write the record of a planned cell after a model; return the bytes of its record.json."""
    assert task.cell is not None
    rng = np.random.default_rng(int(task.key[:8], 16))
    metrics = {name: float(rng.uniform(0.5, 1)) for name in ("image_auroc", "image_ap", "image_f1_max")}
    if task.cell.dataset.masks:
        metrics |= {name: float(rng.uniform(0.5, 1)) for name in ("pixel_auroc", "pixel_ap", "pixel_aupro")}
    own = {
        "key": task.key,
        "facts": task.cell.facts,
        "resolved": dataclasses.asdict(task.cell.config),
        "protocol": task.cell.protocol,
        "support": dataclasses.asdict(task.cell.manifest),
        "dataset": dataclasses.asdict(task.cell.dataset) | {"fingerprint": task.cell.facts["data"]},
        "metrics": metrics,
        "histogram": None,
        "image_histograms": None,
    }
    folder = runs / task.key
    folder.mkdir(parents=True)
    text = to_json(model | own)
    (folder / "record.json").write_text(text, encoding="utf-8")
    for name in FILES:
        (folder / name).touch()
    return len(text.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        runs, cache = Path(scratch) / "runs", f"cache={scratch}/cache"
        python("-m", "adbench", "run", "method=patchcore", "shots=2", "gallery=0", f"runs={scratch}/model", cache)
        model = read_all(Path(scratch) / "model")[0].content
        seeds = ",".join(map(str, range(-(-options.records // CELLS))))
        words = [*SWEEP, f"seed={seeds}", f"runs={runs}", cache]
        sizes = [write(runs, model, task) for task in plan(config.parse(words))]
        board = ["leaderboard", str(runs), "--csv", f"{scratch}/board.csv"]
        commands = {
            "adbench leaderboard": (board, "adbench.board.render"),
            "adbench plan": (["plan", *words], "adbench.sweeps.tables, adbench.methods.madclip"),
        }
        found = {name: min(timed(*words) for _ in range(options.repeat)) for name, words in commands.items()}
        # The plan finds every record, and every record is in one of the leaderboard's means.
        assert f"{len(sizes)} recorded already" in found["adbench plan"][3], found["adbench plan"][3][-500:]
        rows = pd.read_csv(f"{scratch}/board.csv")
        own = (rows["metric"] == "image_auroc") & ~rows["dataset"].str.startswith("mean of ")
        assert rows.loc[own, "n"].sum() == len(sizes)
    print(f"| {len(sizes)} records of {np.mean(sizes) / 1e3:.1f} kB | wall s | imports s | command s |")
    print("|---|---|---|---|")
    for name, (wall, imports, command, _) in found.items():
        print(f"| {name} | {wall:.2f} | {imports:.2f} | {command:.2f} |")
    print(f"\nthe quickest of {options.repeat} processes each")


if __name__ == "__main__":
    main()
