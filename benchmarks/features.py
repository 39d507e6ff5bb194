"""The cache of features: a file for each image and block, as adbench once kept them, against files of rows.

    python benchmarks/features.py [--images 64] [--folder DIR]

Features are random, of the size of ViT-L/14's four blocks at 240 pixels, in fp32. Cold: read from the disk, after the
system was asked to drop the files from its memory. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from adbench.backbone.kept import OnDisk
from adbench.backbone.segment import KEY

BLOCKS = ("6", "12", "18", "24")
SHAPE = (290, 1024)
CHUNK = 8  # images that are read at once


def drop(folder: Path) -> tuple[int, int]:
    """Drop the files below a folder from the system's memory; return how many they are, and their bytes."""
    files = [file for file in folder.rglob("*") if file.is_file() and ".locks" not in file.parts]
    for file in files:
        with file.open("r+b") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return len(files), sum(file.stat().st_size for file in files)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--folder", help="on the disk that is measured; it needs 10 MB for each image")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keys = [number.to_bytes(KEY, "big") for number in range(options.images)]
    chunks = [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]
    value = torch.randn(SHAPE)

    def file(folder: Path, key: bytes, block: str) -> Path:
        return folder / key.hex()[-2:] / f"{key.hex()}.{block}.safetensors"

    def write_files(folder: Path) -> None:
        for key in keys:
            file(folder, key, "").parent.mkdir(exist_ok=True)
            for block in BLOCKS:
                save_file({block: value}, file(folder, key, block))

    def read_files(folder: Path) -> None:
        for some in chunks:
            for block in BLOCKS:
                torch.stack([load_file(file(folder, key, block))[block] for key in some])

    def write_rows(folder: Path) -> None:
        for some in chunks:
            for block in BLOCKS:
                kept[folder].add(block, dict.fromkeys(some, value))

    def read_rows(folder: Path) -> None:
        for some in chunks:
            for block in BLOCKS:
                torch.stack(list(kept[folder].read(block, some).values()))

    print("| layout | files | MB | write, s | read cold, s | read warm, s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        for name, write, read in (("a file each", write_files, read_files), ("rows", write_rows, read_rows)):
            folder = Path(scratch) / name
            folder.mkdir()
            kept = {folder: OnDisk(folder, lambda part, shape: shape == SHAPE)}
            written = seconds(lambda w=write, f=folder: w(f))
            count, size = drop(folder)
            cold, warm = (seconds(lambda r=read, f=folder: r(f)) for _ in range(2))
            print(f"| {name} | {count} | {size / 1e6:.0f} | {written:.2f} | {cold:.2f} | {warm:.2f} |", flush=True)


if __name__ == "__main__":
    main()
