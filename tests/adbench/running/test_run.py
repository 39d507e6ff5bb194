"""The command line end to end, on files on disk and through a real open_clip model."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from adbench.metrics import Histogram, pixel_metrics, roc_auc
from adbench.records.check import key_of
from adbench.records.record import read
from adbench.system import finite
from tests.adbench.board.conftest import believing

QUICK = ("method=madclip", "shots=2", "method.epochs=1", "gallery=6")


@pytest.fixture
def words(tiny: Path, tmp_path: Path) -> list[str]:
    return [*QUICK, f"data_root={tiny}", f"runs={tmp_path / 'runs'}"]


def only(runs: Path) -> Path:
    (path,) = (p for p in runs.iterdir() if not p.name.startswith("."))
    return path


def test_a_run_leaves_a_whole_record(adbench, words, tmp_path: Path) -> None:
    answer = adbench("run", *words)
    assert answer.code == 0, answer.err
    folder = only(tmp_path / "runs")
    record = read(folder)
    content = record.content
    assert folder.name == content["key"]
    assert content["status"] == "complete"
    assert content["given"] == words
    assert content["resolved"]["seed"] == 0
    assert content["protocol"] == "few_shot"
    assert len(content["support"]["normal"]) == len(content["support"]["abnormal"]) == 2
    assert content["backbone"]["built_activation"] == "gelu"
    assert content["backbone"]["built_normalisation"] == "none"
    assert len(content["backbone"]["weights_hash"]) == 64
    assert set(content["seconds"]) == {"resolve", "decode", "build", "fit", "held_out", "score", "write"}
    assert content["overlap"] == 0
    assert content["peak_memory"]["host_bytes"] > 1e8
    assert content["parameters"]["trainable"] > 0
    assert content["gflops_per_image"] > 0.1
    assert content["packages"]["torch"]
    assert not list((tmp_path / "runs").glob(".*"))

    table = record.predictions()
    columns = ["image", "label", "score", "map_max", "map_mean", "patient", "subgroup"]
    assert list(table.columns) == [*columns, "lesion_area", "aupimo", "aupimo_loose"]
    assert len(table) == 10
    assert table["label"].sum() == 5
    assert table["patient"].notna().all()
    assert record.metrics["image_auroc"] == roc_auc(table["score"], table["label"])
    lesions = record.lesions()
    areas = lesions.groupby("image")["area"].sum()
    assert areas.to_dict() == table.loc[table["label"] == 1, "lesion_area"].to_dict()
    assert (lesions["score"] <= table["map_max"].to_numpy()[lesions["image"]]).all()
    assert record.metrics["pixel_aupimo"] is None, "five normal images are too few"
    assert table["aupimo"].isna().all()
    assert record.false_positives() is None, "and too few are held out"
    stored = pixel_metrics(Histogram.from_arrays(record.histogram()))
    contributions, whole = record.contributions(), Histogram.from_arrays(record.histogram())
    assert len(contributions.regions) == record.content["test_images"]
    assert contributions.regions.sum() == whole.n_regions
    assert (contributions.positive.sum(), contributions.negative.sum()) == (whole.n_positive, whole.n_negative)
    assert stored["pixel_auroc"].value == record.metrics["pixel_auroc"]
    assert stored["pixel_aupro"].half_width == content["half_widths"]["pixel_aupro"]

    pictures = sorted(p.name for p in (folder / "gallery").iterdir())
    assert len(pictures) >= 16
    assert "overview.png" in pictures
    with Image.open(folder / "gallery" / "miss_01.png") as picture:
        assert picture.size[0] == 3 * 240
    with safe_open(folder / "method.safetensors", "pt") as file:
        assert all(not name.startswith(("backbone", "model", "visual")) for name in file.keys())  # noqa: SIM118

    for figure in ("image AUROC", "pixel AUROC", "time", "peak memory", str(folder)):
        assert figure in answer.out
    assert "data: real" in answer.out


def test_the_same_cell_is_reused_and_force_runs_it_again(adbench, words, tmp_path: Path) -> None:
    adbench("run", *words)
    folder = only(tmp_path / "runs")
    stamp = (folder / "record.json").stat().st_mtime_ns
    before, state = read(folder).predictions(), (folder / "method.safetensors").read_bytes()
    again = adbench("run", *words)
    assert "recorded already, reused" in again.out
    assert (folder / "record.json").stat().st_mtime_ns == stamp
    assert adbench("run", *words, "force=true").code == 0
    assert (only(tmp_path / "runs") / "record.json").stat().st_mtime_ns > stamp
    pd.testing.assert_frame_equal(read(folder).predictions(), before)
    assert (folder / "method.safetensors").read_bytes() == state


def test_features_cold_warm_in_memory_and_nowhere_give_the_same_scores(adbench, words, tmp_path: Path) -> None:
    tables, keys = [], set()
    for runs, where in (("cold", "disk"), ("warm", "disk"), ("auto", "auto"), ("memory", "memory"), ("off", "off")):
        own = [w for w in words if not w.startswith("runs=")]
        cache = tmp_path / f"cache-{where}"
        answer = adbench("run", *own, f"runs={tmp_path / runs}", f"cache={cache}", f"feature_cache={where}")
        assert answer.code == 0, answer.err
        record = read(only(tmp_path / runs))
        assert record.content["resolved"]["feature_cache"] == where
        assert where == "auto" or bool(list(cache.rglob("*.rows"))) == (where == "disk")
        tables.append(record.predictions())
        keys.add(record.key)
    assert len(keys) == 1, "the cache is no part of the cell"
    for other in tables[1:]:
        pd.testing.assert_frame_equal(other, tables[0], check_exact=True)


def test_paths_are_no_part_of_the_cell_and_seeds_are(adbench, words, tiny: Path, tmp_path: Path) -> None:
    adbench("run", *words)
    key = only(tmp_path / "runs").name
    moved = tmp_path / "elsewhere"
    shutil.copytree(tiny, moved)
    changed = [w for w in words if not w.startswith("data_root")] + [f"data_root={moved}", "device=cpu"]
    assert "reused" in adbench("run", *changed).out
    assert only(tmp_path / "runs").name == key
    adbench("run", *words, "seed=1")
    assert len(list((tmp_path / "runs").iterdir())) == 2
    image = next((moved / "Brain" / "test" / "good" / "img").iterdir())
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(image)
    assert "reused" not in adbench("run", *changed).out


def test_a_method_without_support_says_so(adbench, words) -> None:
    words = [w for w in words if not w.startswith(("method", "shots"))]
    answer = adbench("run", "method=clip", "shots=4", "draw=2", *words)
    assert "clip learns from no image: shots and draw are set to 0" in answer.out
    again = adbench("run", "method=clip", "shots=8", *words)
    assert "reused" in again.out


def test_what_the_backbone_states_is_part_of_the_cell(adbench, words, tmp_path: Path) -> None:
    own = ["method=clip", *(w for w in words if not w.startswith(("method", "shots")))]
    for extra in ([], ["backbone.activation=quick_gelu"], ["backbone.normalisation=none"], ["precision=bf16-mixed"]):
        answer = adbench("run", *own, *extra)
        assert "reused" not in answer.out, extra
    board = adbench("leaderboard", tmp_path / "runs", "--csv", tmp_path / "b.csv")
    assert board.code == 0, board.err
    table = pd.read_csv(tmp_path / "b.csv")
    assert (table["n"] == 1).all(), "settings that differ are never averaged"
    assert any("precision=bf16-mixed" in text for text in table["variant"].fillna(""))


def test_a_support_that_shows_test_patients_is_counted(adbench, words, tiny: Path, tmp_path: Path) -> None:
    for path in sorted((tiny / "Brain" / "valid" / "good" / "img").iterdir()):
        path.rename(path.with_name("00100_" + path.name.partition("_")[2]))
    assert adbench("run", *words).code == 0
    assert read(only(tmp_path / "runs")).content["overlap"] == 2


def test_a_record_set_aside_by_a_killed_run_comes_back(adbench, words, tmp_path: Path) -> None:
    from adbench.system.files import HOST

    adbench("run", *words)
    folder = only(tmp_path / "runs")
    folder.rename(folder.with_name(f".{folder.name}.{HOST}.999999999.abc.old"))
    (tmp_path / "runs" / f".other.{HOST}.999999999.abc.tmp").mkdir()
    (tmp_path / "runs" / ".other.elsewhere.1.abc.tmp").mkdir()
    adbench("run", *words, "seed=1")
    names = {p.name for p in (tmp_path / "runs").iterdir()}
    assert folder.name in names
    assert {n for n in names if n.startswith(".")} == {".other.elsewhere.1.abc.tmp"}, "other machines' runs stay"


def test_score_applies_a_record(adbench, words, tiny: Path, tmp_path: Path) -> None:
    adbench("run", *words)
    record = only(tmp_path / "runs")
    folder = tiny / "Brain" / "test" / "Ungood" / "img"
    answer = adbench("score", record, folder, f"out={tmp_path / 'out'}", "threshold=2.0", "map_threshold=2.0")
    assert answer.code == 0, answer.err
    table = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert list(table.columns) == ["image", "score", "abnormal"]
    assert ((table["score"] >= 2.0) == (table["abnormal"] == 1)).all()
    recorded = read(record).predictions().set_index("image")["score"]
    for path, score in zip(table["image"], table["score"], strict=True):
        assert score == pytest.approx(recorded[f"test/abnormal/{Path(path).name}"], abs=1e-6)
    names = [p.name for p in (tmp_path / "out").iterdir()]
    assert sum(n.endswith("_heatmap.png") for n in names) == 5
    assert sum(n.endswith("_mask.png") for n in names) == 5
    assert sum(n.endswith("_outline.png") for n in names) == 5


def test_other_words_without_training(adbench, words, tiny: Path, tmp_path: Path) -> None:
    words = [w for w in words if not w.startswith(("method", "shots"))]
    adbench("run", "method=clip", *words)
    record, image = only(tmp_path / "runs"), next((tiny / "Brain" / "test" / "good" / "img").iterdir())

    def score(*extra: str) -> float:
        out = tmp_path / f"out{len(extra)}"
        assert adbench("score", record, image, f"out={out}", *extra).code == 0
        return float(pd.read_csv(out / "scores.csv")["score"][0])

    assert score() != score("method.prompts.normal=['healthy {}']")
    refused = adbench("score", record, image, "method.activation=gelu")
    assert refused.code == 2
    assert "can't be changed after training" in refused.err


@pytest.mark.parametrize(
    ("extra", "code", "says"),
    [
        (["shots=7"], 2, "shots=7 is more than there are.*6 normal and 6 abnormal"),
        (["shots=0"], 2, "shots=0: madclip learns from support images"),
        (["shots=four"], 2, "shots"),
        (["protocol=zero_shot"], 2, "learns from normal and abnormal images"),
        (["method.epoch=3"], 2, "did you mean 'epochs'"),
        (["trainer.max_epochs=3"], 2, "use method.epochs="),
        (["trainer.num_nodes=2"], 2, "one cell runs on one machine"),
        (["trainer.detect_anomally=true"], 2, "did you mean 'detect_anomaly'"),
        (["method.levels=[99]"], 2, "rising block numbers from 1 to 12"),
        (["method.blocks=[4"], 2, "cannot be read as a value"),
        (["dataset.support_split=test"], 2, "comes from train or valid"),
        (["dataset.mask_treshold=3"], 2, "did you mean 'mask_threshold'"),
        (["backbone.weights=none.safetensors"], 2, "none.safetensors is not a file"),
        (["method.prompts.abnormal=['" + "very " * 40 + "{}']"], 2, "reads at most 32"),
        (["dataset=liverct"], 3, "a folder called Liver"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(adbench, words, tmp_path, extra, code, says) -> None:
    own = [w for w in words if w.partition("=")[0] not in {e.partition("=")[0] for e in extra}]
    answer = adbench("run", *own, *extra)
    assert answer.code == code
    assert re.search(says, answer.err), answer.err
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_damaged_test_image_is_named_and_leaves_nothing(adbench, words, tiny: Path, tmp_path: Path) -> None:
    path = sorted((tiny / "Brain" / "test" / "good" / "img").iterdir())[0]
    path.write_bytes(path.read_bytes()[:150])
    answer = adbench("run", *words)
    assert answer.code == 3
    assert path.name in answer.err
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("collected", [False, True], ids=["at once", "with later ones, as on a GPU"])
def test_a_loss_that_is_not_finite_stops_the_run(adbench, words, tmp_path: Path, monkeypatch, collected: bool) -> None:
    if collected:
        collecting = finite.collecting
        monkeypatch.setattr(finite, "collecting", lambda _: collecting(torch.device("cuda")))
    answer = adbench("run", *words, "method.learning_rate=1e30")
    assert answer.code == 5
    assert "MadCLIP, step 2 (epoch 1 of 1, batch 2): the loss is not finite: detection at block 3 is nan" in answer.err
    assert not list((tmp_path / "runs").iterdir())


def test_records_of_another_schema_and_damaged_ones_are_named(adbench, words, tiny: Path, tmp_path: Path) -> None:
    adbench("run", *words)
    folder = only(tmp_path / "runs")
    content = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(content | {"schema": 99}))
    answer = adbench("leaderboard", tmp_path / "runs")
    assert answer.code == 4
    assert "is of record schema 99" in answer.err
    (folder / "record.json").write_text("{")
    assert "is damaged" in adbench("run", *words).err
    (folder / "record.json").unlink()
    assert "has no record.json" in adbench("score", folder, tiny).err
    assert adbench("leaderboard", tmp_path / "nowhere").code == 4


def test_a_place_that_cannot_be_written(adbench, words, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    own = [w for w in words if not w.startswith("runs=")]
    answer = adbench("run", *own, f"runs={tmp_path / 'file' / 'runs'}")
    assert answer.code == 2
    assert "cannot write" in answer.err
    assert "runs=DIR" in answer.err


@pytest.fixture
def small_disk(tmp_path: Path):
    """A real file system of 300 kB, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("key", ["runs", "cache"])
def test_a_real_disk_that_runs_full(adbench, words, small_disk: Path, key: str) -> None:
    answer = adbench("run", *[w for w in words if not w.startswith(f"{key}=")], f"{key}={small_disk / 'place'}")
    assert answer.code == 2
    assert re.search(r"cannot write .*No space left on device.*runs=DIR or cache=DIR", answer.err), answer.err
    assert "Traceback" not in answer.err
    assert not [p for p in (small_disk / "place").rglob("*") if p.name.endswith(".tmp")]
    assert key == "cache" or not list((small_disk / "place").iterdir())


def test_a_read_only_disk(adbench, words, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    answer = adbench("run", *[w for w in words if not w.startswith("runs=")], f"runs={small_disk / 'runs'}")
    assert answer.code == 2
    assert "Read-only file system" in answer.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adbench.errors import AdbenchError
    from adbench.system.files import atomic

    target = tmp_path / "thing"
    with (
        pytest.raises(AdbenchError, match=r"cannot write .*No space left on device.*Free some space"),
        atomic(target),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x" * 100)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_killing_leaves_no_record_and_the_next_run_starts_again(words, tmp_path: Path, how: signal.Signals) -> None:
    runs = tmp_path / "runs"
    long = [w for w in words if not w.startswith("method.epochs")] + ["method.epochs=5000"]
    child = subprocess.Popen(
        [sys.executable, "-m", "adbench", "run", *long], stderr=subprocess.PIPE, text=True,
        # A test run in the background of a shell has Ctrl-C ignored, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(runs.glob(".*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(4)
    child.send_signal(how)
    try:
        _, err = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == (130 if how is signal.SIGINT else -9)
    if how is signal.SIGINT:
        assert "interrupted" in err
        assert "Traceback" not in err
    assert [p for p in runs.iterdir() if not p.name.startswith(".")] == []
    done = subprocess.run([sys.executable, "-m", "adbench", "run", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in runs.iterdir()] == [read(only(runs)).key]


def test_the_leaderboard_aggregates_draws_and_keeps_real_from_phantom(adbench, words, tmp_path: Path) -> None:
    for draw in (0, 1):
        adbench("run", *words, f"draw={draw}")
    first = (
        only(tmp_path / "runs")
        if len(list((tmp_path / "runs").iterdir())) == 1
        else sorted((tmp_path / "runs").iterdir())[0]
    )
    content = json.loads((first / "record.json").read_text())
    for part in ("facts", "resolved"):
        content[part]["seed"] = 7
    content |= {"data": "phantom", "key": key_of(content["facts"])}
    copy = tmp_path / "runs" / content["key"]
    shutil.copytree(first, copy)
    (copy / "record.json").write_text(json.dumps(content))
    with believing():  # that one of them is of phantoms
        answer = adbench("leaderboard", tmp_path / "runs", "--csv", tmp_path / "board.csv", "--markdown")
    assert answer.code == 0, answer.err
    board = pd.read_csv(tmp_path / "board.csv")
    real = board[(board["data"] == "real") & (board["metric"] == "image_auroc")].iloc[0]
    values = [100 * read(p).metrics["image_auroc"] for p in (tmp_path / "runs").iterdir() if p != copy]
    assert real["n"] == 2
    assert real["mean"] == pytest.approx(np.mean(values), abs=0.005)
    assert real["std"] == pytest.approx(np.std(values, ddof=1), abs=0.005)
    assert answer.out.index("### Phantom data") < answer.out.index("### Real data")
    assert "| madclip |" in answer.out
    assert "±" in answer.out.partition("### Real data")[2]


def test_two_records_of_one_cell_that_disagree_are_reported(adbench, words, tmp_path: Path) -> None:
    adbench("run", *words)
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "runs", other)
    file = only(other) / "record.json"
    content = json.loads(file.read_text())
    content["metrics"]["image_auroc"] -= 0.01
    file.write_text(json.dumps(content))
    answer = adbench("leaderboard", tmp_path / "runs", other)
    assert answer.code == 4
    assert f"{only(other)} doesn't agree with itself" in answer.err
    with believing():
        answer = adbench("leaderboard", tmp_path / "runs", other)
    assert answer.code == 4
    assert "records of one cell with different figures" in answer.err
