"""The same sweep of 24 cells by local workers, by Ray on two nodes and by Slurm: are the leaderboards the same bytes?

    python benchmarks/engines.py [--keep DIR]

One of its two methods trains. Ray's nodes are started here, with one CPU each. Slurm is left out where no daemon
answers; tests/slurm/slurm.sh starts one. `--keep` leaves each executor's records and leaderboard in DIR:
`adbench leaderboard DIR/local --html board` then shows the sweep.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SWEEP = ["method=patchcore,clip_finetune", "dataset=bmad", "shots=2", "draw=0,1", "workers=2"]
CELLS = 24  # two methods, six sets, two draws


def adbench(*words: object) -> None:
    done = subprocess.run([sys.executable, "-m", "adbench", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


@contextmanager
def two_nodes() -> Iterator[list[str]]:
    """Yield the words for a Ray cluster of two nodes."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **node})
    cluster.add_node(**node)
    yield ["executor=ray", f"ray.address={cluster.address}"]
    cluster.shutdown()


def slurm_answers() -> bool:
    return shutil.which("sinfo") is not None and subprocess.run(["sinfo"], capture_output=True).returncode == 0


def sweep(place: Path, cache: Path, name: str, words: list[str]) -> tuple[str, int, str, str]:
    """Run the sweep; return its name, how many records it left, the hash of all predictions and the leaderboard's."""
    runs, board = place / name, place / f"{name}.csv"
    adbench("run", *SWEEP, *words, f"runs={runs}", f"cache={cache}")
    adbench("leaderboard", runs, "--csv", board)
    records = [file.parent for file in sorted(runs.glob("*/record.json"))]
    every = hashlib.sha256()
    for folder in records:
        every.update(folder.name.encode() + (folder / "predictions.parquet").read_bytes())
    return name, len(records), every.hexdigest(), hashlib.sha256(board.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path, metavar="DIR", help="an empty folder, or none yet, for records and boards")
    keep = parser.parse_args().keep
    if keep and keep.exists() and any(keep.iterdir()):
        raise SystemExit(f"{keep} is not empty: records that are there would be reused. Give another folder.")
    rows = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        place, cache = (keep or Path(scratch)).absolute(), Path(scratch) / "cache"
        place.mkdir(parents=True, exist_ok=True)
        # Phantoms and their features are made once, so that the order of the executors doesn't matter.
        adbench("run", *SWEEP, f"runs={Path(scratch) / 'first'}", f"cache={cache}")
        rows.append(sweep(place, cache, "local", []))
        with two_nodes() as words:
            rows.append(sweep(place, cache, "ray", words))
        if slurm_answers():
            rows.append(sweep(place, cache, "slurm", ["executor=slurm", "slurm.poll=2"]))
        else:
            print("no Slurm daemon answers: left out\n")
    print("| executor | records | all predictions (SHA-256) | leaderboard (SHA-256) |\n|---|---|---|---|")
    for name, records, predictions, board in rows:
        print(f"| {name} | {records} | `{predictions[:32]}` | `{board[:32]}` |")
    same = len({row[1:] for row in rows}) == 1 and rows[0][1] == CELLS
    print(f"\n{'the same bytes' if same else 'NOT THE SAME'}, from {len(rows)} executors")
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
