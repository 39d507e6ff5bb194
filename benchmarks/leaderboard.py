"""A leaderboard, a verification and a plan of many records, each in a fresh process.

The goals: 10 s for a leaderboard of 10,000 records, 5 min to verify 1,000, 5 s for the plan of 10,000 cells.

The first leaderboard verifies every record, which is timed apart; later ones remember what it found. So does a plan: a
run of the same cells, all of them recorded, asks the methods and reads the records before it, and is timed apart too. A
plan that finds them in the cache imports neither torch nor Lightning.

`imports` is what the process takes to import what the command needs: for the run torch and Lightning, without which no
method can be asked anything. `command` is what comes after it. The goals are for both together.

    python benchmarks/leaderboard.py [--records 10000] [--verified 1000] [--repeat 3] [--folder DIR]

One cell of each dataset is run; the others have its record with facts, support, image scores and figures of their own,
which agree with one another. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save

from adbench.config import words as config
from adbench.metrics import image_metrics
from adbench.records.hashes import hashes_of
from adbench.records.record import Record, read_all, to_json
from adbench.running.cell import seen_of
from adbench.sweeps.sweep import Task, plan

SWEEP = [
    "method=madclip,mvfa,patchcore",
    "dataset=bmad",
    "shots=2,4,8,16",
    "draw=0,1,2,3,4",
    "gallery=0",
    "operating=none",
]
CELLS = 360  # of each seed
PIXELS = ("histogram.parquet", "image_histograms.parquet", "lesions.parquet")


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


def write(runs: Path, models: dict[str, Record], task: Task) -> int:
    """Write the record of a planned cell after that of its dataset; return the bytes of its record.json.

    The maps, and with them the tables of pixels and lesions, are the model's; image scores and their figures its own.
    """
    cell = task.cell
    assert cell is not None
    folder, model = runs / task.key, models[task.config.dataset]
    if (folder / "record.json").is_file():
        return (folder / "record.json").stat().st_size
    folder.mkdir(parents=True)
    rng = np.random.default_rng(int(task.key[:8], 16))
    table = pd.read_parquet(model.path / "predictions.parquet")
    labels = table["label"].to_numpy()
    scores = (rng.uniform(0, 1, len(table)) + rng.uniform(0, 1) * labels).astype(np.float32)
    table.assign(score=scores).to_parquet(folder / "predictions.parquet", index=False)
    for name in PIXELS:
        if (model.path / name).is_file():
            os.link(model.path / name, folder / name)
    (folder / "method.safetensors").write_bytes(save({}, {"cell": task.key}))
    resolved = cell.config.as_dict()
    own = {
        "key": task.key,
        "facts": cell.facts,
        "resolved": resolved,
        "given": [f"{key}={resolved[key]}" for key in ("method", "dataset", "shots", "draw", "seed")],
        "protocol": cell.protocol,
        "capability": dataclasses.asdict(cell.capability),
        "support": dataclasses.asdict(cell.manifest),
        "seen": seen_of(cell),
        "metrics": model.content["metrics"] | image_metrics(scores, labels),
        "parameters": {"trainable": 0},
        "selection": {"rule": "last", "epoch": cell.capability.epochs, "curve": {}, "last": None},
    }
    built = {name: cell.facts[name] for name in ("activation", "normalisation", "input_size")}
    own["backbone"] = model.content["backbone"] | {f"built_{name}": value for name, value in built.items()}
    content = json.loads(to_json(model.content | own))
    text = to_json(content | {"files": hashes_of(folder, content)})
    (folder / "record.json").write_text(text, encoding="utf-8")
    return len(text.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--verified", type=int, default=1000, help="records that `adbench verify` looks at")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the records here and use those that are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = options.folder or temporary
        runs, cache = Path(scratch) / "runs", f"cache={scratch}/cache"
        run = ["method=patchcore", "shots=2", "gallery=0", "operating=none", "dataset=bmad"]  # nothing held out
        python("-m", "adbench", "run", *run, f"runs={scratch}/model", cache)
        models = {record.content["resolved"]["dataset"]: record for record in read_all(Path(scratch) / "model")}
        seeds = ",".join(map(str, range(-(-options.records // CELLS))))
        words = [*SWEEP, f"seed={seeds}", f"runs={runs}", cache]
        sizes = [write(runs, models, task) for task in plan(config.parse(words))]
        board = ["leaderboard", str(runs), "--csv", f"{scratch}/board.csv"]
        commands = {
            "adbench leaderboard": (board, "adbench.board.render"),
            "adbench plan": (["plan", *words], "adbench.sweeps.tables"),
        }
        os.environ["ADBENCH_CACHE"] = f"{temporary}/memory"
        time.sleep(3)  # a file that has just been written is not remembered
        found = {"the first leaderboard": timed(*commands["adbench leaderboard"])}
        again = (["run", *words], "adbench.sweeps.tables, adbench.methods.madclip")
        found["adbench run of what is recorded"] = timed(*again)
        part = Path(scratch) / "part"  # `verify` reads whole folders
        part.mkdir()
        moved = [folder.rename(part / folder.name) for folder in sorted(runs.iterdir())[: options.verified]]
        verify = (["verify", str(part)], "torch, pytorch_lightning")
        found[f"adbench verify of {len(moved)} records"] = timed(*verify)
        for folder in moved:
            folder.rename(runs / folder.name)
        found |= {name: min(timed(*words) for _ in range(options.repeat)) for name, words in commands.items()}
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
