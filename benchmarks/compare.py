"""`adbench compare` of ten methods, five draws and a test split of 3,715 images: seconds and memory.

    python benchmarks/compare.py [--images 3715] [--draws 5] [--folder DIR]

The images are phantoms of brain MRI in BMAD's layout and number. Every cell is run first (about half an hour on two
cores); with --folder they are kept, and a second call measures at once. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from data import SHARE, write

# Ten that depend on draws. Not tgumiad: such a cell takes it ten minutes.
METHODS = "anomalydino,april_gan,clip_finetune,clip_normal,crossmodal,madclip,mediclip,mvfa,patchcore,subspacead"
METRICS = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pixel_aupro")
MEASURED = """
import resource, sys
import adbench.commands.cli
adbench.commands.cli.app(sys.argv[1:], standalone_mode=False)
whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
print(*(resource.getrusage(who).ru_maxrss / 1e6 for who in whose), file=sys.stderr)
"""


def cells(folder: Path, images: int, draws: int) -> Path:
    """Run the cells that are not there yet; return the folder of their records."""
    if not (folder / "data" / "Brain").is_dir():
        write(folder / "data", round(images / SHARE["test"]))
    words = [
        f"method={METHODS}", "dataset=brainmri", f"data_root={folder / 'data'}", "shots=1", "schedule=short",
        f"draw={','.join(map(str, range(draws)))}", "gallery=0", f"runs={folder / 'runs'}", f"cache={folder / 'cache'}",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "adbench", "run", *words], check=True, stdout=subprocess.DEVNULL)
    return folder / "runs"


def measured(*words: str) -> tuple[float, float, float]:
    """Run a command in a process of its own; return its seconds, and the GB of it and of its largest child."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", MEASURED, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    own, child = map(float, done.stderr.split()[-2:])
    return time.perf_counter() - start, own, child


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3715, help="of the test split")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep files and records here; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        runs = cells(folder, options.images, options.draws)
        os.environ["ADBENCH_CACHE"] = f"{scratch}/cache"  # nothing is remembered of the records
        records = sum(1 for _ in runs.glob("*/record.json"))
        time.sleep(3)  # a file that has just been written is not remembered
        print(f"| {records} records of {options.images} images, compared by | s | GB | GB of its largest child |")
        print("|---|---|---|---|")
        for title, metrics in (("image and pixel metrics, the first time", METRICS), ("the same again", METRICS)):
            seconds, own, child = measured("compare", str(runs), "--metric", ",".join(metrics))
            print(f"| {title} | {seconds:.1f} | {own:.2f} | {child:.2f} |")


if __name__ == "__main__":
    main()
