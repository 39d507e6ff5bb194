"""Cases that the page saves are read by `dataset=folder` and `support=`; the review list is a table."""

from __future__ import annotations

import base64
import csv
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import adbench as package
from adbench.errors import AdbenchError
from adbench.serve.cases import PREFIX, Case, Folder, read_painted, support_text, table
from tests.adbench.serve.conftest import TOKEN
from tests.adbench.serve.test_routes import key_of, png, scored

ROOT = f"/{TOKEN}"


def case(name: str, label: int, split: str, mask: bool = True, seed: int = 0) -> Case:
    pixels = np.random.default_rng(seed).integers(0, 200, (48, 48), dtype=np.uint8)
    painted = np.zeros((48, 48), bool)
    painted[10:20, 12:22] = label == 1 and mask
    return Case(Image.fromarray(pixels), name, label, split, painted if painted.any() else None, "", {}, {})


def painted(width: int, height: int) -> str:
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[2:9, 3:12] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return PREFIX + base64.b64encode(buffer.getvalue()).decode()


def test_saved_cases_are_a_dataset_and_a_support(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "cases")
    for seed, (label, split) in enumerate([(0, "train"), (0, "train"), (1, "train"), (0, "test"), (1, "test")]):
        folder.save(case(f"scan {seed}.png", label, split, seed=seed))
    record = package.run(
        method="patchcore", dataset="folder", data_root=folder.path, support=folder.path / "support.txt", gallery=0,
        runs=tmp_path / "runs",
    )  # fmt: skip
    assert len(record.content["support"]["normal"]) == 2
    assert record.predictions()["label"].tolist() == [0, 1]
    assert record.metrics["pixel_auroc"] is not None, "the painted mask is the truth"


def test_the_same_pixels_are_one_case(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first = folder.save(case("a.png", 0, "train"))
    assert folder.save(case("a.png", 1, "test")) == first
    other = folder.save(case("copy of a.png", 0, "train"))
    assert other != first
    assert [row["path"] for row in folder.rows()] == [f"images/{other}.png"]
    assert not list(tmp_path.glob(f"*/{first}*")), "an image isn't both to learn from and to test on"
    assert folder.save(case("a.png", 1, "test")) == first
    assert folder.save(case("a.png", 1, "test", seed=1)) != first
    assert [row["label"] for row in folder.rows()] == ["abnormal", "abnormal"]


@pytest.mark.parametrize(
    ("before", "wrong", "said"),
    [
        (None, {"label": 0, "split": "valid"}, "to learn from or to test on"),
        ({"label": 1, "split": "train"}, {"label": 1, "split": "train", "mask": False}, "have masks"),
        ({"label": 1, "split": "train", "mask": False}, {"label": 1, "split": "train"}, "have none"),
    ],
)
def test_what_no_dataset_reads_is_refused(tmp_path: Path, before: Any, wrong: dict[str, Any], said: str) -> None:
    folder = Folder(tmp_path / "cases")
    if before:
        folder.save(case("a.png", **before))
    rows = folder.rows()
    with pytest.raises(AdbenchError, match=said):
        folder.save(case("b.png", seed=1, **wrong))
    assert folder.rows() == rows


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("path,label\na.png,normal\n")
    with pytest.raises(AdbenchError, match="--out DIR"):
        Folder(tmp_path).rows()


def test_a_mask_has_the_size_of_its_image(tmp_path: Path) -> None:
    mask = read_painted(painted(30, 20), (30, 20))
    assert mask is not None
    assert mask.sum() == 63
    assert read_painted("", (30, 20)) is None
    with pytest.raises(AdbenchError, match="30 x 20"):
        read_painted(painted(30, 20), (20, 30))
    with pytest.raises(AdbenchError, match="no PNG"):
        read_painted(PREFIX + "AAAA", (30, 20))
    with pytest.raises(AdbenchError, match="no PNG"):
        read_painted("no base64 at all", (30, 20))


def test_names_with_blanks_are_quoted_in_the_support_list() -> None:
    rows = [
        {"path": "images/a b.png", "label": "normal", "split": "train"},
        {"path": "c", "label": "normal", "split": "test"},
    ]
    assert support_text(rows) == "n-0: 'images/a b.png'\n"


def test_the_route_saves_image_mask_map_and_what_was_said(client, server) -> None:
    image = client.post(f"{ROOT}/api/images?name=scan.png", content=png()).json()["key"]
    asked = {
        "image": image, "label": "abnormal", "split": "train", "mask": painted(60, 40), "note": "left lobe",
        "cells": [{"cell": key_of(client, "clip"), "overrides": {"prompts.normal": ["healthy {}"]}, "threshold": 0.5}],
    }  # fmt: skip
    answer = client.post(f"{ROOT}/api/cases", json=asked)
    assert answer.status_code == 200, answer.text
    name, folder = answer.json()["case"], server.folder.path
    facts = json.loads((folder / "cases" / f"{name}.json").read_text())
    assert facts["note"] == "left lobe"
    assert facts["cells"][0]["parameters"]["prompts.normal"] == ["healthy {}"]
    assert np.load(folder / "maps" / f"{name}_{key_of(client, 'clip')}.npy").shape == (112, 112)
    assert np.asarray(Image.open(folder / "masks" / f"{name}.png")).max() == 255
    assert Image.open(folder / "images" / f"{name}.png").size == (60, 40)
    wrong = client.post(f"{ROOT}/api/cases", json=asked | {"label": "normal"})
    assert "a normal image has no mask" in wrong.json()["error"]


def test_the_review_list(client, server) -> None:
    assert not server.folder.path.exists(), "nothing is written unless somebody asks"
    key = key_of(client, "clip")
    image = client.post(f"{ROOT}/api/images?name=%3Dsum.png", content=png()).json()["key"]
    row = {"image": image, "cell": key, "decision": "reject", "note": "=HYPERLINK(1)", "score": "of another image"}
    assert client.post(f"{ROOT}/api/review", json=row).json()["count"] == 1
    assert client.post(f"{ROOT}/api/review", json=row | {"decision": "accept"}).json()["count"] == 1
    text = client.get(f"{ROOT}/api/review.csv").text
    (found,) = csv.DictReader(io.StringIO(text))
    assert (found["decision"], found["note"], found["image"]) == ("accept", "'=HYPERLINK(1)", "'=sum.png")
    assert server.folder.reviews()[0]["note"] == "=HYPERLINK(1)"
    assert float(found["score"]) == scored(client, "clip", image)["score"], "of the image, whatever the page says"
    assert client.post(f"{ROOT}/api/review", json=row | {"decision": "", "note": ""}).json()["count"] == 0
    assert client.post(f"{ROOT}/api/review", json=row | {"decision": "maybe"}).status_code == 422


SERVER = """
import sys
from pathlib import Path
from adbench.serve.cases import Folder
folder = Folder(Path(sys.argv[1]))
print("ready", flush=True)
input()
for number in range(40):
    folder.review({"image": sys.argv[2], "content": str(number), "cell": "clip", "decision": "accept"})
"""


def test_servers_of_one_folder_and_their_threads_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVER, str(tmp_path / "cases")]
    servers = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in "abc"
    ]
    for server in servers:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
    folder = Folder(tmp_path / "cases")
    for server in servers:
        assert server.stdin is not None
        server.stdin.write("\n")
        server.stdin.flush()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: folder.save(case(f"{seed}.png", 0, "train", seed=seed)), range(8)))
    assert [server.wait() for server in servers] == [0, 0, 0]
    for server in servers:
        server.communicate()
    assert len(folder.reviews()) == 3 * 40
    assert len(folder.rows()) == 8


def test_files_of_one_name_have_a_row_each(client, server, with_folder, tmp_path: Path) -> None:
    """A name says little: IM0001 of two patients, dropped or of two folders with one list."""

    def review(image: str, decision: str) -> list[dict[str, str]]:
        row = {"image": image, "cell": key_of(client, "clip"), "decision": decision, "note": ""}
        return list(client.post(f"{ROOT}/api/review", json=row).json()["reviews"])

    def dropped(seed: int) -> str:
        return str(client.post(f"{ROOT}/api/images?name=IM0001", content=png(seed=seed)).json()["key"])

    review(dropped(0), "accept")
    rows = review(dropped(1), "reject")
    assert [(row["image"], row["decision"]) for row in rows] == [("IM0001", "accept"), ("IM0001", "reject")]
    assert len({row["content"] for row in rows}) == 2
    again = dropped(0)
    assert client.get(f"{ROOT}/api/images/{again}").json()["content"] == rows[0]["content"]
    assert [row["decision"] for row in review(again, "reject")] == ["reject", "reject"], "it is known again"
    file = tmp_path / "ward" / "IM0001"
    file.parent.mkdir()
    file.write_bytes(png(seed=2))
    with_folder(file.parent, [file])
    assert len(review("folder-0", "accept")) == 3
    file.write_bytes(png(seed=3))
    assert len(review("folder-0", "accept")) == 4, "another image under the old name"
    assert len(review("folder-0", "")) == 3


def test_frames_of_a_file_have_a_row_each(client, tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((20, 20), level, np.uint8)) for level in (9, 200)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    content = (tmp_path / "scan.tif").read_bytes()
    key = client.post(f"{ROOT}/api/images?name=scan.tif", content=content).json()["key"]
    for image in (key, key[:-1] + "1"):
        row = {"image": image, "cell": key_of(client, "clip"), "decision": "accept", "note": ""}
        found = client.post(f"{ROOT}/api/review", json=row).json()["reviews"]
    assert [row["image"] for row in found] == ["scan.tif#000", "scan.tif#001"]


def test_a_cell_that_begins_like_a_formula_is_text() -> None:
    assert table(("a",), [{"a": "-1+1"}]) == b"a\r\n'-1+1\r\n"
    assert table(("a",), [{"a": "-1.5e-3"}]) == b"a\r\n-1.5e-3\r\n", "a number stays one"
