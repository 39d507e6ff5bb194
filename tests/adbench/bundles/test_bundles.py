"""`adbench bundle`: what is in an archive, and what is not; verifying and showing it."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import adbench as ad
from adbench.bundles.read import opened
from adbench.bundles.scrub import Pseudonyms, anonymised, without_paths
from adbench.bundles.write import bundle
from adbench.errors import RecordError
from adbench.records.record import read
from tests.adbench.verify.conftest import Tampered

NAME = "test/normal/0029_0.png"


@pytest.fixture(scope="session")
def made(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of phantoms, with pictures, a log of its training, and notes that name images and paths."""
    runs = tmp_path_factory.mktemp("somewhere") / "runs"
    words = {"method": "patchcore", "shots": 2, "gallery": 1, "eval_size": 32, "logger": "csv", "data_root": phantoms}
    record = ad.run(**words, runs=runs)
    assert isinstance(record, ad.Record)
    tampered = Tampered(record.path)
    image = record.predictions()["image"][0]
    note = f"{image} of patient 0029 is dark, see /home/ann/data/notes.txt and mask_0001.png"
    tampered.edit("notes", [note])
    tampered.rehash()
    return runs


@pytest.fixture(scope="session")
def archives(made: Path) -> dict[str, bytes]:
    records = ad.read_all(made)
    return {
        "plain": bundle(records, pictures=False, names=None),
        "pictures": bundle(records, pictures=True, names=None),
        "anonymous": bundle(records, pictures=False, names=Pseudonyms(b"secret")),
    }


def members(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened_archive:
        return {name: opened_archive.read(name) for name in opened_archive.namelist()}


def content_of(archive: bytes) -> dict[str, Any]:
    (name,) = (name for name in members(archive) if name.endswith("record.json"))
    return dict(json.loads(members(archive)[name]))


def test_the_same_records_are_the_same_bytes(made: Path, archives: dict[str, bytes], tmp_path: Path) -> None:
    copy = shutil.copytree(made, tmp_path / "elsewhere" / "runs")
    assert bundle(ad.read_all(copy), pictures=False, names=None) == archives["plain"]
    assert bundle(ad.read_all(copy), pictures=False, names=Pseudonyms(b"secret")) == archives["anonymous"]
    assert bundle(ad.read_all(copy), pictures=False, names=Pseudonyms(b"other")) != archives["anonymous"]


def test_no_image_no_path_and_no_log_is_inside(made: Path, archives: dict[str, bytes]) -> None:
    names = {name.rpartition("/")[2] for name in members(archives["plain"])}
    assert names == {
        "README.txt", "SHA256SUMS", "bundle.json", "commands.sh", "record.json", "predictions.parquet",
        "histogram.parquet", "image_histograms.parquet", "method.safetensors", "held_out.parquet",
        "held_out_pixels.parquet", "lesions.parquet", "false_positives.parquet",
    }  # fmt: skip
    for archive in archives.values():
        for name, data in members(archive).items():
            for text in (str(made), str(made.parent), "/home/ann", "/tmp/"):
                assert text.encode() not in data, (name, text)
    assert {n.rpartition("/")[2] for n in members(archives["pictures"])} - names == {
        "miss_01.png", "false_alarm_01.png", "hit_01.png", "overview.png",
    }  # fmt: skip


def test_commands_licences_and_checksums_are_inside(archives: dict[str, bytes]) -> None:
    files = members(archives["plain"])
    index = json.loads(files["bundle.json"])
    assert index["records"][0]["command"].startswith("adbench run method=patchcore dataset=brainmri")
    assert index["records"][0]["command"] in files["commands.sh"].decode()
    assert index["datasets"]["brainmri"]["licence"].startswith("CC BY-NC-SA 4.0")
    assert index["datasets"]["brainmri"]["learned_from"] == ["brainmri"]
    assert len(files["SHA256SUMS"].splitlines()) == len(files) - 1


def test_names_of_images_and_patients_are_hashed_everywhere(made: Path, archives: dict[str, bytes]) -> None:
    (record,) = ad.read_all(made)
    table = record.predictions()
    support = record.content["support"]["normal"]
    secrets = {*table["image"], *support, *(name.rpartition("/")[2] for name in [*table["image"], *support])}
    secrets |= {"mask_0001.png", "patient 0029"}
    for name, data in members(archives["anonymous"]).items():
        assert not [one for one in secrets if one.encode() in data], name
    files = members(archives["anonymous"])
    (predictions,) = (data for name, data in files.items() if name.endswith("predictions.parquet"))
    hashed = pd.read_parquet(io.BytesIO(predictions))
    assert hashed["image"].is_unique
    assert all(re.fullmatch(r"test/(normal|abnormal)/image-[0-9a-f]{16}", name) for name in hashed["image"])
    same = hashed.groupby("patient")["image"].count().sort_values().tolist()
    assert same == table.groupby("patient")["image"].count().sort_values().tolist(), "a patient stays one"
    (note,) = content_of(archives["anonymous"])["notes"]
    assert note.startswith(hashed["image"][0])
    assert note.endswith("is dark, see notes.txt and image-" + note[-16:])


def test_the_same_name_has_the_same_pseudonym_and_another_key_another_one() -> None:
    names = Pseudonyms(b"a")
    assert names.image(NAME) == Pseudonyms(b"a").image(NAME) != Pseudonyms(b"b").image(NAME)
    hashed = names.image(NAME).rpartition("/")[2]
    assert names.image(f"liverct:{NAME}") == f"liverct:test/normal/{hashed}"
    assert names.text(f"{NAME}, 0029_0.png: odd") == f"test/normal/{hashed}, {hashed}: odd"
    assert names.patient("p1") == names.patient("p1") != names.patient("p2")
    assert names.image("0029_0.png") != names.patient("0029_0.png")


def test_of_a_text_only_absolute_paths_are_taken_out(made: Path) -> None:
    (record,) = ad.read_all(made)
    text = "1/2 of https://example.org/a/b and ../c; and/or /srv/data/x/y.png"
    content = record.content | {"notes": [text]}
    assert without_paths(content)["notes"] == ["1/2 of https://example.org/a/b and ../c; and/or y.png"]
    assert without_paths(content)["facts"] == content["facts"]


def test_folders_of_relative_paths_are_taken_out_too(made: Path) -> None:
    (record,) = ad.read_all(made)
    given = [
        "method=../smith_hospital/mean.py:Mean,clip", "data_root=smith scans", "runs=../smith/runs",
        "cache=smith/cache", "support=smith/list.txt", "backbone.weights=smith/w.safetensors", "train_on=a+b",
        "shots=2",
    ]  # fmt: skip
    resolved = record.content["resolved"] | {"data_root": "smith scans"}
    resolved["overrides"] = {"backbone": {"weights": "smith/w.safetensors", "activation": "gelu"}}
    changed = without_paths(record.content | {"given": given, "resolved": resolved})
    assert "smith" not in json.dumps([changed["given"], changed["resolved"]])
    assert changed["given"] == [
        "method=mean.py:Mean,clip", "data_root=DATA", "runs=runs", "cache=cache", "support=list.txt",
        "backbone.weights=w.safetensors", "train_on=a+b", "shots=2",
    ]  # fmt: skip
    assert changed["resolved"]["overrides"] == {"backbone": {"weights": "w.safetensors", "activation": "gelu"}}
    hub = record.content | {"given": ["backbone.weights=hf-hub:org/model/w.safetensors"]}
    assert without_paths(hub)["given"] == hub["given"]


def test_where_a_record_is_needed_a_bundle_is_to_be_unpacked(
    archives: dict[str, bytes], phantoms: Path, tmp_path: Path, adbench: Any
) -> None:
    file = tmp_path / "b.zip"
    file.write_bytes(archives["plain"])
    said = "b.zip is a bundle, not a record. Unpack it and name one of its records: records/<key>"
    scan = next(phantoms.rglob("*.png"))
    answer = adbench("score", file, scan)
    assert (answer.code, said in answer.err) == (4, True)
    with pytest.raises(RecordError, match=re.escape(said)):
        ad.load(file)
    with pytest.raises(RecordError, match="b.zip is a bundle, not a folder of records. Unpack it .*: records$"):
        ad.read_all(file)
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "unpacked")
    (record,) = ad.read_all(tmp_path / "unpacked" / "records")
    assert ad.load(record).notes == ()


@pytest.mark.parametrize("folder", ["/x/Jane Doe/b", "../lab/Jane Doe/b", "~/Jane Doe/b", "/x/Doe, Jane/b"])
def test_the_folder_of_a_file_is_taken_out_wherever_a_record_names_it(made: Path, folder: str) -> None:
    (record,) = ad.read_all(made)
    weights, text, logs = (f"{folder}/{name}" for name in ("w.safetensors", "text", "logs"))
    resolved = record.content["resolved"] | {
        "overrides": {"backbone": {"weights": weights, "text": text}, "wandb": {"dir": f"/srv/Jane Doe/{logs}"}}
    }
    changed = without_paths(
        record.content
        | {"resolved": resolved, "backbone": record.content["backbone"] | {"weights": weights, "text": text}}
        | {"given": [f"backbone.weights={weights}", f"backbone.text={text}"], "notes": [f"{weights} was read."]}
    )
    assert not [word for word in ("Jane", "Doe", "lab", "srv") if word in json.dumps(changed)]
    assert [changed["backbone"][name] for name in ("weights", "text")] == ["w.safetensors", "text"]
    assert changed["given"] == ["backbone.weights=w.safetensors", "backbone.text=text"]
    assert changed["notes"] == ["w.safetensors was read."]


def test_a_tag_and_a_file_of_a_hub_stay(made: Path) -> None:
    (record,) = ad.read_all(made)
    for weights in ("openai", "random", "hf-hub:org/model/w.safetensors"):
        backbone = record.content["backbone"] | {"weights": weights}
        assert without_paths(record.content | {"backbone": backbone})["backbone"]["weights"] == weights


def test_the_name_of_a_table_is_no_name_of_an_image(made: Path) -> None:
    (record,) = ad.read_all(made)
    content = record.content | {"given": ["dataset.table=images.csv", "support=p1.png"]}
    table, support = anonymised(content, Pseudonyms(b"0123456789abcdef"))["given"]
    assert table == "dataset.table=images.csv"
    assert "p1" not in support


def test_a_bundle_is_verified_and_shown(archives: dict[str, bytes], made: Path, tmp_path: Path, adbench: Any) -> None:
    expected = adbench("leaderboard", made, "--markdown").out
    for name, archive in archives.items():
        file = tmp_path / f"{name}.zip"
        file.write_bytes(archive)
        answer = adbench("verify", file)
        assert answer.code == 0, answer.out
        assert f"{file}/records/" in answer.out
        assert ("the pictures, which were left out" in answer.out) == (name != "pictures")
        assert ("names and patients, which are keyed hashes" in answer.out) == (name == "anonymous")
        board = adbench("leaderboard", file, "--markdown")
        assert board.code == 0
        assert board.out == expected
    assert len(ad.leaderboard(tmp_path / "plain.zip")) > 5


def test_pseudonyms_can_be_scored_again(
    archives: dict[str, bytes], phantoms: Path, tmp_path: Path, adbench: Any
) -> None:
    file = tmp_path / "anonymous.zip"
    file.write_bytes(archives["anonymous"])
    answer = adbench("verify", file, f"data_root={phantoms}", "--rescore", "1")
    assert answer.code == 0, answer.out
    assert "scores: 24 images scored again: the same bits" in answer.out


def test_a_changed_bundle_is_found(archives: dict[str, bytes], tmp_path: Path, adbench: Any) -> None:
    files = members(archives["plain"])
    (record,) = (name for name in files if name.endswith("record.json"))
    changed = files | {record: files[record].replace(b'"finished": "2', b'"finished": "1')}
    (tmp_path / "changed.zip").write_bytes(zipped(changed))
    answer = adbench("verify", tmp_path / "changed.zip")
    assert answer.code == 1
    assert "record.json has another checksum than SHA256SUMS says" in answer.out
    assert "record.json is not as it was written" in answer.out
    answer = adbench("leaderboard", tmp_path / "changed.zip")
    assert answer.code == 4
    assert "doesn't agree with itself" in answer.err
    assert f"{tmp_path / 'changed.zip'}/records/" in answer.err
    assert "/adbench-" not in answer.err  # no temporary folder


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


# --- the command


def test_the_command_writes_a_bundle(made: Path, archives: dict[str, bytes], tmp_path: Path, adbench: Any) -> None:
    answer = adbench("bundle", made, "--out", tmp_path / "board.zip")
    assert answer.code == 0
    assert "1 record in" in answer.out
    assert (tmp_path / "board.zip").read_bytes() == archives["plain"]
    key = tmp_path / "my.key"
    for name in ("a", "b"):
        answer = adbench("bundle", made, "--out", tmp_path / f"{name}.zip", "--anonymise", "--key", key)
        assert f"{key} holds the key: keep it to yourself" in answer.out
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    key.unlink()
    adbench("bundle", tmp_path / "board.zip", "--out", tmp_path / "c.zip", "--anonymise", "--key", key)
    assert (tmp_path / "c.zip").read_bytes() != (tmp_path / "a.zip").read_bytes()


def test_what_cannot_be_bundled_is_named(made: Path, tmp_path: Path, adbench: Any) -> None:
    out = tmp_path / "board.zip"
    key = tmp_path / "short.key"
    key.write_bytes(b"abc")
    for words, code, said in (
        ((made,), 2, "--out FILE"),
        ((made, "--out", out, "--anonymise", "--pictures"), 2, "exclude each other"),
        ((made, "--out", out, "--key", key), 2, "has no effect without --anonymise"),
        ((made, "--out", out, "--anonymise", "--key", key), 2, "holds 3 bytes; a secret has at least 16"),
        ((tmp_path / "none", "--out", out), 4, "does not exist. Name a folder of records"),
        ((made, "--out", next(made.iterdir()) / "method.safetensors"), 2, "would be overwritten"),
        ((made, "--out", key), 2, "is a file already, and no bundle"),
    ):
        answer = adbench("bundle", *words)
        assert (answer.code, said in answer.err) == (code, True), (words, answer.err)
        assert not out.exists()
    odd = Tampered(
        shutil.copytree(next(path for path in made.iterdir() if path.name != "logs"), tmp_path / "odd" / "a")
    )
    odd.edit("metrics.image_ap", 0.99)
    answer = adbench("bundle", odd.path, "--out", out)
    assert answer.code == 4
    assert "nothing is bundled" in answer.err
    assert not out.exists()


def test_a_record_of_a_bundle_reads_as_any_other(archives: dict[str, bytes], made: Path, tmp_path: Path) -> None:
    file = tmp_path / "board.zip"
    file.write_bytes(archives["plain"])
    (original,) = ad.read_all(made)
    with opened([file]) as bundles:
        assert bundles.problems == []
        record = read(next(bundles.folders[0].iterdir()))
        assert record.metrics == original.metrics
        assert record.predictions().equals(original.predictions())
        folder = bundles.folders[0]
    assert not folder.exists()
