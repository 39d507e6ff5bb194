"""All methods on phantoms: the sweeps behind docs/benchmarks/phantoms.md, and the tables of docs/benchmarks/README.md.

    python benchmarks/phantoms.py [--folder DIR] [--groups few,full] [--workers 2] [--tables]

Records are kept in folders by group: few (16 shots, zero-shot), fewer (1 and 4 shots), full (all normal images),
unified (one model for three sets), auxiliary (trained on industrial images). What is recorded is not run again, so that
the script goes on where it was stopped; `--tables` runs nothing. With one core each, all cells take some hours.

Each table says on how many sets a method's mean is above zero-shot `clip`, and on how many `adbench compare` calls it
better: by the p of Obuchowski-Rockette-Hillis, for new patients and new draws, after Holm.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from adbench.board.compare import judged, measured
from adbench.board.leaderboard import collect
from adbench.board.samples import Samples, rows_of

UNTRAINED = "patchcore,padim,anomalydino,subspacead,clip_normal,winclip,mrad"
TRAINED = "madclip,mvfa,mediclip,tgumiad,april_gan,clip_finetune,crossmodal"
RIVALS = "uniad,dinomaly,rd4ad,simplenet,dra,anomalyclip,inpformer"
THREE = "brainmri,liverct,resc"
EACH = "draw=0,1,2"
FULL = ("protocol=full_normal", "shots=full", "seed=0,1,2")
GROUPS: dict[str, list[tuple[str, ...]]] = {
    "few": [
        ("method=clip,musc", "dataset=bmad", "shots=0"),
        ("method=winclip", "method.reference=false", "dataset=bmad", "shots=0"),
        *((f"method={names}", "dataset=bmad", "shots=16", EACH) for names in (UNTRAINED, RIVALS, TRAINED)),
    ],
    "fewer": [
        ("method=clip", "dataset=bmad", "shots=0"),
        (f"method={UNTRAINED}", "dataset=bmad", "shots=1,4", EACH),
    ],
    "full": [
        ("method=clip", "dataset=bmad", "shots=0"),
        ("method=uniad,dinomaly,inpformer,rd4ad,simplenet,patchcore,padim,subspacead", "dataset=bmad", *FULL),
    ],
    "unified": [
        ("method=tgumiad,uniad,dinomaly,patchcore", f"dataset={THREE}", *FULL, f"train_on={THREE.replace(',', '+')}"),
    ],
    "auxiliary": [
        ("method=clip", "dataset=bmad", "shots=0"),
        (
            "method=anomalyclip,mrad", "dataset=bmad", "protocol=auxiliary", "train_on=mvtec", "shots=full",
            "seed=0,1,2",
        ),
    ],
    "leak": [("method=uniad", "dataset=bmad", *FULL, "selection=oracle")],
}  # fmt: skip
HEAD = ("method", "variant", "protocol", "shots")
SETS = ("brainmri", "liverct", "resc", "oct17", "chestxray", "his")


def adbench(*words: str, quiet: bool = False) -> None:
    """Run a command line of adbench; what it prints goes to standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "adbench", *words], stdout=subprocess.DEVNULL if quiet else sys.stderr.fileno()
    )
    if done.returncode:
        raise SystemExit(f"adbench {' '.join(words)} ended with code {done.returncode}.")


def table(kind: str, *words: str) -> pd.DataFrame:
    """Return what `adbench leaderboard` or `adbench compare` writes as CSV."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "table.csv"
        adbench(kind, *words, "--csv", str(file), quiet=True)
        return pd.read_csv(file)


def print_board(runs: Path, metric: str = "image_auroc") -> None:
    """Print a line for each row of the board: its mean over the sets, and how it compares with clip."""
    lines = table("leaderboard", str(runs), "--metric", metric, "--intervals")
    lines = lines.astype({"shots": str, "variant": object}).fillna({"variant": ""})
    means = lines[lines["dataset"].str.startswith("mean of ")].sort_values("mean", ascending=False)
    verdicts, by_key = against_clip(runs, metric), lines.groupby(list(HEAD))
    sets = [one for one in SETS if one in set(lines["dataset"])]
    print("\n| | shots | " + " | ".join(sets) + " | mean | 95 % interval | above `clip` on | better on |")
    print("|---" * (len(sets) + 6) + "|")
    for _, row in means.iterrows():
        key = row["method"], row["variant"], row["protocol"], row["shots"]
        same = by_key.get_group(key).set_index("dataset")["mean"]
        figures = [f"{same[one]:.1f}" if one in same else "–" for one in sets]
        interval = f"{row['ci_low']:.1f} to {row['ci_high']:.1f}" if pd.notna(row["ci_low"]) else "–"
        said = [verdicts[one, *key] for one in sets if (one, *key) in verdicts]
        above = f"{sum(difference > 0 for difference, _ in said)} of {len(said)}" if said else "–"
        better = sum(verdict == "better" for _, verdict in said) if said else "–"
        name = f"`{row['method']}{row['variant'] and ' method.' + row['variant']}`"
        print(
            f"| {name} | {row['shots']} | {' | '.join(figures)} | {row['mean']:.1f} | {interval} | {above} | {better} |"
        )


def against_clip(runs: Path, metric: str) -> dict[tuple[str, ...], tuple[float, str]]:
    """Return a row's difference from clip in points and the verdict on it, by set, method, variant, protocol, shots.

    Rows that know more about the test images than clip does are left out, and so are sets without clip.
    """
    rows = [row for row in rows_of(collect([runs])[0]) if row.head["standing"] == "clean"]
    if not any(row.head["method"] == "clip" for row in rows):
        return {}
    found = {}
    for shots in sorted({row.head["shots"] for row in rows if row.drawn}):
        chosen = [row for row in rows if not row.drawn or row.head["shots"] == shots]
        heads = {(row.dataset, row.name): tuple(row.head[key] for key in HEAD) for row in chosen}
        for one in judged(measured(chosen, metric, Samples(), against="clip")):
            if one.difference is not None and (one.dataset, one.second) in heads:
                turned = {"better": "worse", "worse": "better"}.get(one.verdict, one.verdict)
                found[one.dataset, *heads[one.dataset, one.second]] = -one.difference.estimate, turned
    return found


def print_pairs(runs: Path, metric: str) -> None:
    """Print the verdict of each pair of rows, set by set and in the mean."""
    found = table("compare", str(runs), "--metric", metric)
    print(f"\n| {metric} | " + " | ".join(dict.fromkeys(found["dataset"])) + " |")
    print("|---" * (1 + found["dataset"].nunique()) + "|")
    for (first, second), some in found.groupby(["first", "second"], sort=False):
        cells = [
            f"{one['difference']:+.1f} [{one['ci_low']:+.1f}, {one['ci_high']:+.1f}] {one['verdict']}"
            for _, one in some.iterrows()
        ]
        print(f"| `{first}` − `{second}` | " + " | ".join(cells) + " |")


def print_leak(runs: Path) -> None:
    """Print, set by set, the figures of the last epoch, of the epoch chosen on the test set, and the difference."""
    columns: dict[str, pd.Series] = {}
    for metric in ("image_auroc", "pixel_auroc"):
        lines = table("leaderboard", str(runs), "--metric", metric)
        found = lines[lines["selection"] == "oracle"].pivot(index="dataset", columns="metric", values="mean")
        for name, end in (("last", "_last"), ("oracle", ""), ("leak", "_leak")):
            columns[f"{metric}: {name}"] = found[metric + end].map("{:.1f}".format)
    print("\n| | " + " | ".join(columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for dataset, row in pd.DataFrame(columns).fillna("–").iterrows():
        print(f"| {dataset} | {' | '.join(row)} |")


def print_costs(runs: Path) -> None:
    """Print the seconds and the memory of the cells, by method."""
    found = []
    for file in runs.glob("*/record.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["status"] == "complete":
            found.append(
                {
                    "method": record["facts"]["method"], "seconds": sum(record["seconds"].values()),
                    "GB": record["peak_memory"]["host_bytes"] / 1e9,
                }
            )  # fmt: skip
    print("\n| | cells | seconds: median | most | GB: most |\n|---|---|---|---|---|")
    for name, some in pd.DataFrame(found).groupby("method"):
        seconds, memory = some["seconds"], some["GB"].max()
        print(f"| `{name}` | {len(some)} | {seconds.median():.0f} | {seconds.max():.0f} | {memory:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/phantoms"))
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--also", default="", help="methods of other packages for the group few")
    parser.add_argument("--tables", action="store_true", help="run nothing")
    options = parser.parse_args()
    for group in options.groups.split(","):
        runs = options.folder / group
        if not options.tables:
            more = [(f"method={options.also}", "dataset=bmad", "shots=16", EACH)] if options.also else []
            for words in GROUPS[group] + (more if group == "few" else []):
                adbench("run", *words, f"runs={runs}", f"workers={options.workers}", "gallery=0")
        print(f"\n### {group}")
        if group == "leak":
            print_leak(runs)
            continue
        if group == "unified":
            for metric in ("image_auroc", "pixel_auroc"):
                print_pairs(runs, metric)
        print_board(runs)
        print_costs(runs)


if __name__ == "__main__":
    main()
