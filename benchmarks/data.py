"""A dataset of 30,000 files: index and fingerprint with and without memory, decode with flat memory.

    python benchmarks/data.py [--images 30000] [--folder DIR]

The files are phantoms of brain MRI in BMAD's layout, 240 x 240: 300 drawn ones, repeated with a number written into
their first pixels, so that no two files are the same. Each line of the table is a process of its own. `cold` means
without adbench's own memory; the files may lie in the operating system's cache.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from adbench.datasets.phantoms import draw

DRAWN = 300
SHARE = {"train": 0.5, "valid": 0.15, "test": 0.35}  # valid and test are half abnormal


def _write(job: tuple[Path, int, int]) -> None:
    """Write one phantom under many numbers."""
    root, seed, images = job
    counts = {split: round(share * images) for split, share in SHARE.items()}
    start = 0
    for split, count in counts.items():
        for number in range(seed, count, DRAWN):
            abnormal = split != "train" and seed % 2 == 1
            phantom = draw("brainmri", 0, seed, 0, abnormal)
            pixels = phantom.image.copy()
            pixels[0, :4] = np.frombuffer(np.int32(start + number).tobytes(), np.uint8)
            folder = root / "Brain" / split / ("Ungood" if abnormal else "good")
            name = f"{number:06d}_0.png"
            Image.fromarray(pixels).save(folder / "img" / name, compress_level=1)
            if abnormal:
                mask = Image.fromarray(phantom.mask.astype(np.uint8) * 255)
                mask.save(folder / "anomaly_mask" / name, compress_level=1)
        start += count


def write(root: Path, images: int) -> None:
    """Write the dataset with a process per core."""
    for split in SHARE:
        for part in ("good/img", *(("Ungood/img", "Ungood/anomaly_mask") if split != "train" else ())):
            (root / "Brain" / split / part).mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool() as pool:
        pool.map(_write, [(root, seed, images) for seed in range(DRAWN)], chunksize=10)


def index(root: Path, cache: Path) -> dict[str, float]:
    """Open the dataset as a run does, and fingerprint it."""
    from adbench.cells.protocols import open_dataset
    from adbench.config import words as config
    from adbench.data.fingerprint import fingerprint
    from adbench.system.session import Session

    (run,) = config.parse(["dataset=brainmri", f"data_root={root}", f"cache={cache}"])
    start = time.perf_counter()
    opened = open_dataset("brainmri", run, Session())
    fingerprint(opened.items, opened.hashes)
    return {"seconds": time.perf_counter() - start, "images": len(opened.items)}


def decode(root: Path, cache: Path, part: float) -> dict[str, float]:
    """Decode a part of the images to 240 pixels; memory is what the process holds at most beyond its start."""
    from adbench.cells.protocols import open_dataset
    from adbench.config import words as config
    from adbench.data import arrays
    from adbench.system.session import Session

    (run,) = config.parse(["dataset=brainmri", f"data_root={root}", f"cache={cache}"])
    opened = open_dataset("brainmri", run, Session())
    items = opened.items[: round(part * len(opened.items))]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    decoded = arrays.images(items, opened.hashes, cache, 240, "bicubic", False, "all")
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "images": len(decoded), "bytes": decoded.nbytes, "grown": (after - before) * 1024}


def apart(*words: str) -> dict[str, float]:
    """Run one line of the table in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(images: int, root: Path) -> None:
    """Measure and print."""
    start = time.perf_counter()
    if not (root / "Brain").is_dir():
        write(root, images)
        print(f"written in {time.perf_counter() - start:.0f} s")
    files = sum(1 for path in root.rglob("*.png"))
    print(f"\n| {files} files | images | seconds | memory grown by, MB | on disk, MB |\n|---|---|---|---|---|")
    for title in ("index and fingerprint, cold", "the same, warm"):
        found = apart("--step", "index", "--folder", str(root.parent))
        print(f"| {title} | {found['images']:.0f} | {found['seconds']:.2f} | | |")
    for title, part in (("a tenth", 0.1), ("all", 1.0), ("all, once more", 1.0)):
        found = apart("--step", "decode", "--part", str(part), "--folder", str(root.parent))
        print(
            f"| decode to 240 px: {title} | {found['images']:.0f} | {found['seconds']:.2f} | "
            f"{found['grown'] / 1e6:.0f} | {found['bytes'] / 1e6:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=30000)
    parser.add_argument("--folder", type=Path, help="keep the files here; default: a temporary folder")
    parser.add_argument("--step", choices=["index", "decode"], help=argparse.SUPPRESS)
    parser.add_argument("--part", type=float, default=1.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        root, cache = options.folder / "data", options.folder / "cache"
        print(json.dumps(index(root, cache) if options.step == "index" else decode(root, cache, options.part)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        (folder / "cache").mkdir(parents=True, exist_ok=True)
        table(options.images, folder / "data")


if __name__ == "__main__":
    main()
