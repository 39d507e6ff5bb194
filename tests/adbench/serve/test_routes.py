"""The routes of the page, asked as its scripts ask."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adbench.records.record import Record
from adbench.running.apply import load
from adbench.serve import safety, sources
from adbench.serve.safety import MOST_UPLOAD
from adbench.statistics import group, share
from tests.adbench.serve.conftest import TOKEN

ROOT = f"/{TOKEN}"


def png(side: int = 40, seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side + 20), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def key_of(client: Any, method: str) -> str:
    cells = client.get(f"{ROOT}/api/state").json()["cells"]
    return next(cell["key"] for cell in cells if cell["name"].startswith(f"{method} "))


def scored(client: Any, method: str, image: str, **overrides: Any) -> dict[str, Any]:
    asked = {"image": image, "overrides": overrides}
    answer = client.post(f"{ROOT}/api/cells/{key_of(client, method)}/score", json=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def map_of(found: dict[str, Any]) -> Any:
    return np.frombuffer(base64.b64decode(found["map"]), np.float32).reshape(found["side"], found["side"])


# --- who may ask


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 403),
        ("/wrong/api/state", {}, 403),
        (f"{ROOT}x/api/state", {}, 403),
        (f"{ROOT}/api/state", {"host": "evil.example"}, 421),
        (f"{ROOT}/api/state", {"host": "127.0.0.1.evil.example:8000"}, 421),
        (f"{ROOT}/api/state", {"origin": "http://evil.example"}, 403),
        (f"{ROOT}/api/state", {"origin": "null"}, 403),
        (f"{ROOT}/api/state", {"origin": "http://127.0.0.1:8001"}, 403),
        (f"{ROOT}/api/state", {"origin": "http://127.0.0.1:8000"}, 200),
        (f"{ROOT}/api/state", {"host": "localhost:8000", "origin": "http://localhost:8000"}, 200),
    ],
)
def test_token_host_and_origin_are_checked(client, path: str, headers: dict[str, str], status: int) -> None:
    assert client.get(path, headers=headers).status_code == status


def test_every_answer_has_the_policy(client) -> None:
    for path in (f"{ROOT}/", f"{ROOT}/static/main.js", f"{ROOT}/api/state", "/wrong/"):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "'unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_body_that_is_too_large_is_refused_with_and_without_a_length(client, monkeypatch) -> None:
    answer = client.post(f"{ROOT}/api/images", content=b"", headers={"content-length": str(200 * 2**20)})
    assert answer.status_code == 413
    assert f"{MOST_UPLOAD // 2**20} MB" in answer.text
    monkeypatch.setattr(safety, "MOST_UPLOAD", 2**16)
    chunks = (b"x" * 2**12 for _ in range(32))
    assert client.post(f"{ROOT}/api/images?name=a.png", content=chunks).status_code == 413


@pytest.mark.parametrize("name", ["../server.py", "..%2fserver.py", "%2e%2e/%2e%2e/pyproject.toml", "__init__.py"])
def test_only_the_files_of_the_page_are_served(client, name: str) -> None:
    assert client.get(f"{ROOT}/static/{name}").status_code == 404
    assert client.get(f"{ROOT}/static/style.css").status_code == 200


# --- images


def test_a_dropped_image_is_scored_as_load_scores_it(client, served_records: dict[str, Record], tmp_path: Path) -> None:
    file = tmp_path / "scan.png"
    file.write_bytes(png())
    image = client.post(f"{ROOT}/api/images?name=scan.png", content=file.read_bytes()).json()
    assert (image["name"], image["width"], image["height"], image["frames"]) == ("scan.png", 60, 40, 1)
    for method, record in served_records.items():
        found, expected = scored(client, method, image["key"]), load(record, device="cpu").score(file)
        assert found["score"] == float(expected.image[0])
        assert expected.maps is not None
        np.testing.assert_array_equal(map_of(found), expected.maps[0].numpy())
    shown = client.get(f"{ROOT}/api/images/{image['key']}/picture")
    assert Image.open(io.BytesIO(shown.content)).size == (60, 40)


@pytest.mark.parametrize("name", ["scan.dcm", "IM0001"])
def test_a_dropped_dicom_file_is_read_frame_by_frame(client, tmp_path: Path, name: str) -> None:
    pytest.importorskip("pydicom")
    from tests.adbench.data.test_stacks import dicom

    frames = np.random.default_rng(0).integers(0, 4000, (3, 30, 50), dtype=np.uint16)
    file = dicom(tmp_path / "scan.dcm", frames, PatientName="Doe^Jane", PatientID="17")
    image = client.post(f"{ROOT}/api/images?name={name}", content=file.read_bytes()).json()
    assert (image["width"], image["height"], image["frames"]) == (50, 30, 3)
    first, last = image["key"], image["key"][:-1] + "2"
    assert client.get(f"{ROOT}/api/images/{last}").json()["name"] == f"{name}#002"
    assert scored(client, "patchcore", first)["score"] != scored(client, "patchcore", last)["score"]
    assert "Doe" not in json.dumps(image)
    assert client.get(f"{ROOT}/api/images/{image['key'][:-1]}3").status_code == 422


def test_old_dropped_files_go(client, monkeypatch) -> None:
    monkeypatch.setattr(sources, "MOST_KEPT", 2)
    keys = [client.post(f"{ROOT}/api/images?name=a.png", content=png(seed=seed)).json()["key"] for seed in range(3)]
    assert "gone" in client.get(f"{ROOT}/api/images/{keys[0]}").json()["error"]
    assert client.get(f"{ROOT}/api/images/{keys[2]}").status_code == 200


@pytest.mark.parametrize("content", [b"", b"hello, I am text", png()[:60]])
def test_a_file_that_is_no_image_gets_a_sentence_with_its_name_and_no_path(client, content: bytes) -> None:
    answer = client.post(f"{ROOT}/api/images?name=../../notes.png", content=content)
    assert answer.status_code == 422
    sentence = answer.json()["error"]
    assert sentence.startswith("notes.png")
    assert "/" not in sentence.replace("and/or", "")


@pytest.mark.parametrize(
    "key", ["folder-0", "dropped-99-0", "test-nokey-0", "../etc/passwd", "support-x", "test-0", "dropped--1"]
)
def test_keys_that_name_nothing_get_a_sentence(client, key: str) -> None:
    answer = client.get(f"{ROOT}/api/images/{key}")
    assert answer.status_code in (404, 422)
    assert answer.status_code == 404 or answer.json()["error"]


def test_a_folder_is_stepped_through_and_searched(client, with_folder, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in ("a", "beta", "c")]
    for seed, path in enumerate(paths):
        path.write_bytes(png(seed=seed))
    with_folder(tmp_path, paths)
    assert client.get(f"{ROOT}/api/state").json()["folder"]["count"] == 3
    assert client.get(f"{ROOT}/api/images/folder-1").json()["name"] == "beta.png"
    assert client.get(f"{ROOT}/api/find?text=BET&after=1").json() == {"number": 1}
    assert client.get(f"{ROOT}/api/find?text=zeta&after=0").json() == {"number": None}
    assert client.get(f"{ROOT}/api/images/folder-3").status_code == 422


def test_the_test_set_is_that_of_the_record_and_its_truth_is_told_on_demand(client, served_records) -> None:
    record = served_records["patchcore"]
    table = record.predictions()
    assert client.get(f"{ROOT}/api/cells/{record.key}/tested").json() == {"count": len(table)}
    for row in (0, len(table) - 1):
        key = f"test-{record.key}-{row}"
        told = client.get(f"{ROOT}/api/images/{key}").json()
        assert "normal" not in told["name"]
        assert scored(client, "patchcore", key)["score"] == pytest.approx(table["score"][row], rel=1e-4)
        truth = client.get(f"{ROOT}/api/images/{key}/truth").json()
        assert truth["label"] == table["label"][row]
        assert (truth["mask"] is not None) == bool(truth["label"])


# --- figures, prompts, support


def test_figures_at_a_threshold_are_those_of_the_statistics(client, served_records) -> None:
    record = served_records["patchcore"]
    table = record.predictions()
    threshold = float(table["score"].median())
    found = client.post(f"{ROOT}/api/cells/{record.key}/figures", json={"threshold": threshold}).json()
    test = next(one for one in found if one["name"] == "test")
    abnormal = (table["label"] == 1).to_numpy()
    called = (table["score"] >= np.float32(threshold)).to_numpy()
    expected = share(called[abnormal], group(table["patient"][abnormal]))
    assert test["sensitivity"]["value"] == pytest.approx(expected.value)
    assert test["sensitivity"]["low"] == pytest.approx(expected.low)
    assert client.post(f"{ROOT}/api/cells/{record.key}/figures", json={"threshold": "x"}).status_code == 400


def test_other_prompts_give_what_load_gives_with_them(client, served_records, tmp_path: Path) -> None:
    file = tmp_path / "scan.png"
    file.write_bytes(png(seed=3))
    image = client.post(f"{ROOT}/api/images?name=scan.png", content=file.read_bytes()).json()["key"]
    texts = {"prompts.normal": ["healthy {}"], "prompts.abnormal": ["{} with a tumour"]}
    plain, other = scored(client, "clip", image), scored(client, "clip", image, **texts)
    assert plain["score"] != other["score"]
    assert other["score"] == float(load(served_records["clip"], texts, device="cpu").score(file).image[0])
    assert scored(client, "clip", image)["score"] == plain["score"], "the record's own prompts are as before"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"prompts.normal": []}, "give at least one phrase"),
        ({"seed": 1}, "can't be edited"),
        ({"temperature": -1}, "temperature"),
        ({"prompts.normal": "text"}, "list of phrases"),
        ({"prompts.abnormal": ["x" * 1000]}, "at most"),
    ],
)
def test_prompts_that_are_not_possible_get_a_sentence(client, overrides: dict[str, Any], said: str) -> None:
    image = client.post(f"{ROOT}/api/images?name=a.png", content=png()).json()["key"]
    answer = client.post(
        f"{ROOT}/api/cells/{key_of(client, 'clip')}/score", json={"image": image, "overrides": overrides}
    )
    assert answer.status_code == 422
    assert said in answer.json()["error"]


def test_the_support_and_the_images_that_could_be_in_it(client, served_records) -> None:
    record = served_records["patchcore"]
    found = client.get(f"{ROOT}/api/cells/{record.key}/support").json()
    assert [one["name"] for one in found["learned"]] == record.content["support"]["normal"]
    names = {one["name"] for one in found["pool"]}
    assert names
    assert not names & set(record.content["support"]["normal"])
    assert not [name for name in names if name.startswith("test/")]
    picture = client.get(f"{ROOT}/api/images/{found['learned'][0]['key']}/picture?small")
    assert max(Image.open(io.BytesIO(picture.content)).size) <= 160
    empty = client.get(f"{ROOT}/api/cells/{key_of(client, 'clip')}/support").json()
    assert empty == {"learned": [], "pool": []}


def test_the_hottest_patch_of_a_support_image_is_explained_by_itself_where_the_memory_is_whole(client) -> None:
    key = key_of(client, "patchcore")
    learned = client.get(f"{ROOT}/api/cells/{key}/support").json()["learned"]
    other = client.post(f"{ROOT}/api/images?name=a.png", content=png(seed=5)).json()["key"]
    found = client.post(f"{ROOT}/api/cells/{key}/explain", json={"image": other}).json()
    assert found["image"] in {one["key"] for one in learned}
    assert found["distance"] > 0
    assert all(0 <= place < found["grid"] for place in (*found["patch"], *found["of"]))
    said = client.post(f"{ROOT}/api/cells/{key_of(client, 'clip')}/explain", json={"image": other}).json()
    assert "no patches" in said["why"]


@pytest.mark.parametrize(
    ("method", "asked", "said"),
    [
        ("clip", {"without": [], "added": [0]}, "learns from no image"),
        ("patchcore", {"without": [0, 1], "added": []}, "no normal image is left"),
        ("patchcore", {"without": [], "added": [10**6]}, "not in the pool"),
    ],
)
def test_supports_that_are_not_possible_get_a_sentence(client, method: str, asked: dict[str, Any], said: str) -> None:
    answer = client.post(f"{ROOT}/api/cells/{key_of(client, method)}/fit", json=asked)
    assert answer.status_code == 422
    assert said in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"[1]", b"{"])
def test_a_body_that_is_no_object_is_refused(client, body: bytes) -> None:
    assert client.post(f"{ROOT}/api/review", content=body).status_code == 400
