"""300 bad inputs, drawn from a seed: each gives a result, or one sentence and an exit code; never a traceback.

Twelve kinds of input with 25 draws each: words of the command line, folders, images, masks, DICOM, NIfTI, tables,
support lists, weights, records, caches, methods of others.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
Rng = np.random.Generator
DRAWS = 25
CODES = (0, 1, 2, 3, 4)  # docs/tour.md: fine, a method or cell failed, words, data, records


def judge(answer: Any, runs: Path | None = None) -> None:
    """A result, or one sentence on standard error; nothing half-written."""
    assert "Traceback" not in answer.err + answer.out, answer.err
    assert answer.code in CODES, (answer.code, answer.err)
    if answer.code:
        said = [line for line in answer.err.splitlines() if line.startswith("adbench: ")]
        # `data check` answers with its table; every other command with a sentence.
        assert len(said) == 1 or (answer.code == 1 and "error" in answer.out), (
            answer.code,
            answer.err,
            answer.out[-300:],
        )
    if runs is not None and runs.exists() and runs.is_dir():
        assert not [path.name for path in runs.iterdir() if path.name.endswith(".tmp")]
        for folder in runs.iterdir():
            assert not folder.is_dir() or folder.name == "logs" or (folder / "record.json").exists(), folder


def damaged(data: bytes, rng: Rng) -> bytes:
    """Return bytes that were cut, overwritten, repeated or emptied."""
    kind = rng.integers(5)
    if kind == 0 or not data:
        return data[: int(rng.integers(len(data) + 1))]
    if kind == 1:
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 30)):
            changed[place] = rng.integers(256)
        return bytes(changed)
    if kind == 2:
        start = int(rng.integers(len(data)))
        return data[:start] + data[start : start + 40] * 3 + data[start:]
    if kind == 3:
        return b""
    return bytes(rng.integers(0, 256, 200, dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """8 + 8 grey images of 24 x 24 pixels with masks, as `dataset=folder` reads them."""
    rng, root = np.random.default_rng(1), tmp_path / "own"
    for name in ("normal", "abnormal", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(8):
        Image.fromarray(rng.integers(20, 90, (24, 24), dtype=np.uint8)).save(root / f"normal/n{i}.png")
        pixels = rng.integers(20, 90, (24, 24), dtype=np.uint8)
        pixels[5:12, 6:14] = 200
        Image.fromarray(pixels).save(root / f"abnormal/a{i}.png")
        mask = np.zeros((24, 24), np.uint8)
        mask[5:12, 6:14] = 255
        Image.fromarray(mask).save(root / f"masks/a{i}.png")
    return root


def words_of(root: Path, tmp_path: Path) -> list[str]:
    return [
        "dataset=folder",
        f"data_root={root}",
        f"runs={tmp_path / 'runs'}",
        "gallery=0",
        f"cache={tmp_path / 'cache'}",
    ]


def look(adbench: Callable[..., Any], rng: Rng, root: Path, tmp_path: Path) -> None:
    """Run, check or describe the images of a folder."""
    runs = tmp_path / "runs"
    which = rng.integers(3)
    data = ["folder", f"data_root={root}", f"cache={tmp_path / 'cache'}"]
    if which == 0:
        judge(adbench("run", "method=clip", *words_of(root, tmp_path)), runs)
    elif which == 1:
        judge(adbench("data", "check", *data))
    else:
        judge(adbench("data", "describe", *data, "--out", tmp_path / "sheet.png"))


@pytest.mark.parametrize("draw", range(DRAWS))
def test_words(adbench, folder: Path, tmp_path: Path, draw: int) -> None:
    rng = np.random.default_rng([1, draw])
    line = [
        "run",
        "method=patchcore",
        "shots=2",
        "seed=0",
        "draw=0",
        "dataset.split_seed=1",
        *words_of(folder, tmp_path),
    ]
    odd = [
        "",
        "=",
        "==",
        "\x1b[31m",
        "nan",
        "-1",
        "1e400",
        "a" * 5000,
        "*",
        "[",
        "{",
        "null",
        "0,0",
        "../..",
        "\u202e",
        "1..3",
    ]
    for _ in range(rng.integers(1, 3)):
        place, text = int(rng.integers(1, 7)), odd[int(rng.integers(len(odd)))]
        key, _, value = line[place].partition("=")
        line[place] = [f"{key}={text}", f"{text}={value}", f"{key}{text}={value}", text][int(rng.integers(4))]
    judge(adbench(*line), tmp_path / "runs")


def break_folder(root: Path, rng: Rng) -> None:
    """Do to a folder what copying, unpacking and people do."""
    place = root / ["normal", "abnormal", "masks"][int(rng.integers(3))]
    if not place.is_dir():
        return
    files = sorted(path for path in place.iterdir() if path.is_file())
    some = files[int(rng.integers(len(files)))] if files else place / "a0.png"
    kind = int(rng.integers(14))
    if kind == 0:
        (place / "broken.png").symlink_to(root / "nowhere.png")
    elif kind == 1:
        (place / "loop.png").symlink_to(place / "loop.png")
    elif kind == 2:
        (place / "up").symlink_to(root)
    elif kind == 3:
        os.mkfifo(place / "pipe.png")
    elif kind == 4:
        (place / "folder.png").mkdir()
    elif kind == 5:
        shutil.rmtree(place)
    elif kind == 6 and some.exists():
        some.rename(some.with_suffix([".PNG", ".gif", "", ".jpeg"][int(rng.integers(4))]))
    elif kind == 7:
        (place / "._a0.png").write_bytes(b"resource fork")
        (place / "Thumbs.db").write_bytes(b"x")
    elif kind == 8 and some.exists():
        shutil.copy(some, root / "loose.png")
    elif kind == 9:
        place.rename(root / ["Normal", "ABNORMAL", "scratch", "mask_", "train", "test"][int(rng.integers(6))])
    elif kind == 10 and some.exists():
        os.rename(some, os.fsencode(place) + b"/bad\xff.png")
    elif kind == 11 and some.exists():
        shutil.copy(some, place / f"{some.stem}.jpg")
    elif kind == 12:
        (root / "extra").mkdir(exist_ok=True)
        Image.new("L", (24, 24)).save(root / "extra" / "x.png")
    else:
        (place / "read.txt").write_text("notes")


@pytest.mark.parametrize("draw", range(DRAWS))
def test_folders(adbench, folder: Path, tmp_path: Path, draw: int) -> None:
    rng = np.random.default_rng([2, draw])
    for _ in range(rng.integers(1, 4)):
        break_folder(folder, rng)
    look(adbench, rng, folder, tmp_path)


@pytest.mark.parametrize("draw", range(DRAWS))
def test_images(adbench, folder: Path, tmp_path: Path, draw: int) -> None:
    rng = np.random.default_rng([3, draw])
    for _ in range(rng.integers(1, 3)):
        file = folder / ["normal/n0.png", "normal/n5.png", "abnormal/a1.png", "abnormal/a6.png"][int(rng.integers(4))]
        if rng.random() < 0.5:
            file.write_bytes(damaged(file.read_bytes(), rng))
            continue
        mode = ["1", "P", "LA", "RGBA", "CMYK", "I", "F", "I;16", "YCbCr"][int(rng.integers(9))]
        image = Image.new(mode, (int(rng.integers(1, 60)), 24))
        image.save(file, format="TIFF" if mode in ("CMYK", "F", "I", "YCbCr") else "PNG")
    look(adbench, rng, folder, tmp_path)


@pytest.mark.parametrize("draw", range(DRAWS))
def test_masks(adbench, folder: Path, tmp_path: Path, draw: int) -> None:
    rng = np.random.default_rng([4, draw])
    for number in rng.integers(0, 8, rng.integers(1, 9)):
        file, kind = folder / f"masks/a{number}.png", int(rng.integers(9))
        mask = np.zeros((24, 24), np.uint8)
        mask[5:12, 6:14] = 255
        if kind == 0:
            mask = np.full_like(mask, int(rng.integers(256)))
        elif kind == 1:
            mask[:] = 255 - mask
        elif kind == 2:
            mask[6:9, 7:9] = int(rng.integers(256))
        elif kind == 3:
            mask = mask[:20]
        elif kind == 4:
            mask = (mask > 0) * np.uint8(rng.integers(1, 5))
        elif kind == 5:
            file.unlink(missing_ok=True)
            continue
        elif kind == 6:
            file.write_bytes(damaged(file.read_bytes() if file.exists() else b"", rng))
            continue
        elif kind == 7:
            rgba = np.zeros((24, 24, 4), np.uint8)
            rgba[..., 3] = mask
            Image.fromarray(rgba).save(file)
            continue
        else:
            mask = rng.integers(0, 256, mask.shape, dtype=np.uint8)
        Image.fromarray(mask).save(file)
    look(adbench, rng, folder, tmp_path)


def write_dicom(file: Path, rng: Rng) -> None:
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    made = FileDataset(str(file), Dataset(), file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    made.Rows = made.Columns = 24
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.PixelData = rng.integers(0, 4096, (24, 24)).astype("<u2").tobytes()
    odd = {
        "BitsStored": [0, 1, 8, 17], "Rows": [0, 23, 60000], "WindowWidth": ["", "0", "-5", "400"],
        "WindowCenter": ["", "40", "1e30"], "RescaleSlope": ["", "0", "2"], "RescaleIntercept": ["", "-1024"],
        "PhotometricInterpretation": ["MONOCHROME1", "RGB", "PALETTE COLOR", "", "ODD"], "SamplesPerPixel": [0, 3],
        "NumberOfFrames": ["0", "2", "1"], "PixelPaddingValue": [0, 4095], "HighBit": [3, 15],
    }  # fmt: skip
    for name in rng.choice(list(odd), int(rng.integers(0, 4)), replace=False):
        setattr(made, str(name), odd[str(name)][int(rng.integers(len(odd[str(name)])))])
    if rng.random() < 0.3:
        del made[
            str(rng.choice(["Rows", "PhotometricInterpretation", "BitsAllocated", "PixelData", "SamplesPerPixel"]))
        ]
    made.save_as(file, enforce_file_format=False)
    if rng.random() < 0.3:
        file.write_bytes(damaged(file.read_bytes(), rng))


@pytest.mark.parametrize("draw", range(DRAWS))
def test_dicom(adbench, folder: Path, tmp_path: Path, draw: int) -> None:
    rng = np.random.default_rng([5, draw])
    shutil.rmtree(folder / "masks")
    for path in sorted(folder.rglob("*.png")):
        path.unlink()
        write_dicom(path.with_suffix(".dcm"), rng if path.stem in ("n1", "a2") else np.random.default_rng([55, 0]))
    look(adbench, rng, folder, tmp_path)


@pytest.mark.parametrize("draw", range(DRAWS))
def test_nifti(adbench, folder: Path, tmp_path: Path, draw: int) -> None:
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng([6, draw])
    for path in sorted(folder.rglob("*.png")):
        path.unlink()
    for number in range(3):
        for name in ("normal", "abnormal", "masks"):
            shape = (12, 10, 6) if rng.random() < 0.8 else tuple(rng.integers(1, 9, int(rng.integers(2, 5))))
            voxels = rng.integers(0, 900, shape).astype([np.int16, np.float32, np.uint8][int(rng.integers(3))])
            if name == "masks":
                voxels = (voxels > 600).astype(np.uint8)
            file = folder / name / f"p{number}{name[0] if name == 'normal' else ''}.nii{'.gz' * int(rng.integers(2))}"
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) * (1 if rng.random() < 0.8 else 2)), file)
            if rng.random() < 0.2:
                file.write_bytes(damaged(file.read_bytes(), rng))
    look(adbench, rng, folder, tmp_path)


@pytest.mark.parametrize("draw", range(DRAWS))
def test_tables(adbench, folder: Path, tmp_path: Path, draw: int) -> None:
    rng = np.random.default_rng([7, draw])
    rows = ["path,label,split,mask,patient"]
    for i in range(8):
        split = "train" if i % 2 else "test"
        rows += [f"normal/n{i}.png,0,{split},,n{i}", f"abnormal/a{i}.png,1,{split},masks/a{i}.png,a{i}"]
    odd = [
        "",
        "2",
        "-1",
        "../x",
        "/etc/passwd",
        "a" * 400,
        '"',
        "normal/n0.png",
        "train ",
        "=1+1",
        "\0",
        "ä",
        ";",
        "1.0",
    ]
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(rows)))
        cells = rows[place].split(",")
        cells[int(rng.integers(len(cells)))] = odd[int(rng.integers(len(odd)))]
        rows[place] = ",".join(cells)
    text = "\n".join(rows).encode(["utf-8", "utf-8-sig", "utf-16", "latin-1"][int(rng.integers(4))])
    (folder / "images.csv").write_bytes(damaged(text, rng) if rng.random() < 0.4 else text)
    look(adbench, rng, folder, tmp_path)


@pytest.mark.parametrize("draw", range(DRAWS))
def test_support_lists(adbench, tiny: Path, tmp_path: Path, draw: int) -> None:
    rng = np.random.default_rng([8, draw])
    names = {key: sorted(path.name for path in (tiny / f"Brain/valid/{place}/img").iterdir()) for key, place in
             (("n-0", "good"), ("a-0", "Ungood"))}  # fmt: skip
    lines = [f"{key}: {' '.join(some[:2])}" for key, some in names.items()]
    if rng.random() < 0.5:
        lines[int(rng.integers(2))] = ["n-0:", "a-0: nothing.png", "x-0: a.png", 'n-0: "open', "", "n-0 a.png"][
            int(rng.integers(6))
        ]
    file = tmp_path / "list.txt"
    text = "\r\n".join(lines).encode(["utf-8", "utf-8-sig", "utf-16"][int(rng.integers(3))])
    file.write_bytes(damaged(text, rng) if rng.random() < 0.6 else text)
    judge(adbench("support", "show", "dataset=brainmri", f"data_root={tiny}", f"support={file}", "method=madclip",
                  "--out", tmp_path / "s.png"))  # fmt: skip


@pytest.mark.parametrize("draw", range(DRAWS))
def test_weights(adbench, folder: Path, tmp_path: Path, draw: int) -> None:
    rng = np.random.default_rng([9, draw])
    file = tmp_path / "weights.safetensors"
    save_file({"visual.proj": np.zeros((3, 4), np.float32), "logit_scale": np.ones((), np.float32)}, file)
    file.write_bytes(damaged(file.read_bytes(), rng) if rng.random() < 0.8 else file.read_bytes())
    if rng.random() < 0.2:
        file = file.rename(tmp_path / ["weights.pt", "weights", "weights.bin"][int(rng.integers(3))])
    answer = adbench("run", "method=clip", f"backbone.weights={file}", *words_of(folder, tmp_path))
    judge(answer, tmp_path / "runs")
    assert answer.code, "these are no weights of the model"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good record of phantoms, and its cache."""
    import adbench

    place = tmp_path_factory.mktemp("good")
    adbench.run(method="patchcore", shots=2, gallery=1, runs=place / "runs", cache=place / "cache")
    return place


@pytest.mark.parametrize("draw", range(DRAWS))
def test_records(adbench, good: Path, tmp_path: Path, draw: int) -> None:
    rng = np.random.default_rng([10, draw])
    runs = tmp_path / "runs"
    (record,) = (path for path in (good / "runs").iterdir() if (path / "record.json").exists())
    shutil.copytree(record, runs / record.name)
    bad = runs / ("0" * 20)
    shutil.copytree(record, bad)
    if rng.random() < 0.5:
        content = json.loads((bad / "record.json").read_text())
        part = content if rng.random() < 0.5 else content[str(rng.choice(["resolved", "facts", "support", "metrics"]))]
        key = str(rng.choice(sorted(part)))
        part[key] = [None, -1, "\x1b[2J", [], {}, 1e300, "=cmd()", True][int(rng.integers(8))]
        (bad / "record.json").write_text(json.dumps(content))
    else:
        file = sorted(path for path in bad.iterdir() if path.is_file())
        some = file[int(rng.integers(len(file)))]
        some.write_bytes(damaged(some.read_bytes(), rng))
    judge(adbench("leaderboard", runs, "--csv", tmp_path / "board.csv"))
    board = pd.read_csv(tmp_path / "board.csv")
    assert "patchcore" in set(board["method"]), "the good record stays"
    judge(adbench("score", bad, record / "gallery" / "overview.png", f"out={tmp_path / 'scores'}"))


@pytest.mark.parametrize("draw", range(DRAWS))
def test_caches(adbench, good: Path, tmp_path: Path, draw: int) -> None:
    rng = np.random.default_rng([11, draw])
    (record,) = (path for path in (good / "runs").iterdir() if (path / "record.json").exists())
    cache = tmp_path / "cache"
    shutil.copytree(good / "cache", cache)
    files = sorted(
        path for path in cache.rglob("*") if path.is_file() and path.suffix in (".json", ".npy", ".safetensors")
    )
    for place in rng.integers(0, len(files), 3):
        data = files[place].read_bytes()
        files[place].write_bytes(
            data[: int(rng.integers(len(data)))] if rng.random() < 0.5 else damaged(data[:64], rng)
        )
    runs = tmp_path / "runs"
    answer = adbench("run", "method=patchcore", "shots=2", "gallery=1", f"runs={runs}", f"cache={cache}")
    judge(answer, runs)
    if answer.code == 0:
        again = (runs / record.name / "predictions.parquet").read_bytes()
        assert again == (record / "predictions.parquet").read_bytes(), "the same figures as with a good cache"


BODY = """
from dataclasses import dataclass
import torch
from adbench import Capability, Method, Scores

@dataclass
class Params:
    size: int = 1

class Odd(Method):
    Params = Params

    @classmethod
    def capability(cls, params, architecture):
        {capability}
        return Capability(support="normal", blocks=(1,), maps=False, stochastic=False)

    def prepare(self, support):
        {prepare}

    def score(self, batch):
        {score}
        return Scores(batch.images.float().mean((1, 2, 3)))
"""
FAULTS = [
    "raise SystemExit(0)", "raise KeyboardInterrupt", "raise ValueError", "raise ValueError('a\\nb\\x1b[2J')",
    "return None",
    "return torch.zeros(3, 2)", "raise OSError(28, 'No space left on device')", "1 / 0", "raise RecursionError('deep')",
    "raise MemoryError", "raise RuntimeError('x' * 100000)", "return 7", "raise Exception({})", "raise StopIteration",
    "import nothing_of_this_name", "return Scores(torch.full((1, 1), float('nan')))",
]  # fmt: skip


@pytest.mark.parametrize("draw", range(DRAWS))
def test_methods_of_others(adbench, folder: Path, tmp_path: Path, draw: int) -> None:
    rng = np.random.default_rng([12, draw])
    where, fault = str(rng.choice(["capability", "prepare", "score"])), FAULTS[int(rng.integers(len(FAULTS)))]
    file = tmp_path / "odd.py"
    file.write_text(BODY.format(**(dict.fromkeys(("capability", "prepare", "score"), "pass") | {where: fault})))
    answer = adbench("run", f"method={file}:Odd", "shots=2", *words_of(folder, tmp_path))
    judge(answer, tmp_path / "runs")
    assert answer.code or (where == "prepare" and fault.startswith("return")), "what prepare returns is not looked at"
