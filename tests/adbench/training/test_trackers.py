"""What trackers write, read back with their own readers; and that nobody pays for one who did not ask."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from adbench.config import trackers as config_trackers
from adbench.config.words import parse
from adbench.records.record import read, read_all
from adbench.training.trackers import Curves, curves


@pytest.fixture
def words(tiny: Path, tmp_path: Path) -> list[str]:
    quick = ["method=madclip", "shots=2", "method.epochs=2", "method.batch_size=16", "gallery=2"]
    return [*quick, f"data_root={tiny}", f"runs={tmp_path / 'runs'}"]


def only(runs: Path) -> Path:
    (path,) = (p for p in runs.iterdir() if p.name[0] != "." and p.name != "logs")
    return path


def python(words: list[str], **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, with variables set or (none) taken away."""
    own = {k: v for k, v in (os.environ | environment).items() if v is not None}
    line = [sys.executable, *words]
    return subprocess.run(line, capture_output=True, text=True, env=own, stdin=subprocess.DEVNULL, timeout=300)


def command(words: list[str], **environment: str | None) -> subprocess.CompletedProcess[str]:
    return python(["-m", "adbench", "run", *words], **environment)


def test_csv_curves_lie_in_the_record_and_change_nothing_else(adbench, words, tmp_path: Path) -> None:
    assert adbench("run", *words).code == 0
    plain = read(only(tmp_path / "runs"))
    own = [w for w in words if not w.startswith("runs=")]
    assert adbench("run", *own, f"runs={tmp_path / 'tracked'}", "logger=csv").code == 0
    tracked = read(only(tmp_path / "tracked"))
    assert tracked.key == plain.key, "what is logged is no part of the cell"
    pd.testing.assert_frame_equal(tracked.predictions(), plain.predictions(), check_exact=True)
    assert tracked.content["tracker"] == {
        "logger": "csv", "files": "curves", "state": "complete", "notes": []
    }  # fmt: skip
    assert plain.content["tracker"] is None

    table = pd.read_csv(tracked.path / "curves" / "metrics.csv")
    steps = table["train/loss_step"].dropna()
    epochs = table["train/loss_epoch"].dropna()
    assert len(steps) == 8, "16 views of 4 images, 16 at a time, twice"
    assert len(epochs) == 2
    assert epochs.iloc[0] == pytest.approx(steps.iloc[:4].mean(), rel=1e-5)
    assert epochs.iloc[1] < epochs.iloc[0], "the loss that is trained"
    final = table.iloc[-1]
    for name, value in tracked.metrics.items():
        assert value is None or final[f"test/{name}"] == pytest.approx(value)
    resolved = yaml.safe_load((tracked.path / "curves" / "hparams.yaml").read_text())
    assert resolved["resolved"]["shots"] == 2
    assert resolved["cell"] == tracked.key


def test_what_a_method_logs_is_kept_and_so_is_the_figure_that_chooses_the_epoch(
    adbench, words, tmp_path: Path, monkeypatch
) -> None:
    from adbench.methods.madclip import MadCLIP

    step = MadCLIP.training_step

    def talkative(self: Any, batch: Any, at: int) -> Any:
        loss = step(self, batch, at)
        self.log("twice", 2 * loss.detach())
        return loss

    monkeypatch.setattr(MadCLIP, "training_step", talkative)
    assert adbench("run", *words, "logger=csv", "selection=oracle").code == 0
    record = read(only(tmp_path / "runs"))
    table = pd.read_csv(record.path / "curves" / "metrics.csv")
    assert table["twice"].dropna().to_numpy() == pytest.approx(2 * table["train/loss_step"].dropna().to_numpy())
    assert table["selection"].dropna().tolist() == pytest.approx(list(record.content["selection"]["curve"].values()))


def test_tensorboard_holds_curves_figures_and_pictures(adbench, words, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    answer = adbench("run", *words, "logger=tensorboard")
    assert answer.code == 0, answer.err
    record = read(only(tmp_path / "runs"))
    found = EventAccumulator(str(record.path / "tensorboard")).Reload()
    assert len(found.Scalars("train/loss_step")) == 8
    (figure,) = found.Scalars("test/image_auroc")
    assert figure.value == pytest.approx(record.metrics["image_auroc"])
    assert "gallery/overview" in found.Tags()["images"]
    pictures = {f"gallery/{path.stem}" for path in (record.path / "gallery").glob("*.png")}
    assert set(found.Tags()["images"]) == pictures


def wandb_records(file: Path) -> Iterator[Any]:
    """Read a .wandb file: blocks of 32 KiB with chunks (checksum, length, kind), as in LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = file.read_bytes()
    assert content[:4] == b":W&B"
    at, whole = 7, b""
    while at < len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        at += 7
        whole += content[at : at + length]
        at += length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def pairs(items: Any) -> dict[str, Any]:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def test_wandb_without_a_key_is_an_offline_run_that_can_be_uploaded(words, tmp_path: Path) -> None:
    keys = ["logger=wandb", "wandb.project=phantoms", "wandb.entity=a-team", "wandb.tags=first,tiny"]
    nobody = {"WANDB_MODE": None, "WANDB_API_KEY": None, "NETRC": str(tmp_path / "none"), "HOME": str(tmp_path)}
    done = command([*words, *keys], **nobody)
    assert done.returncode == 0, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("adbench:")]
    assert re.search(r"no API key here: the run is kept in (\S+); `wandb sync \1` uploads it", said), said
    record = read_all(tmp_path / "runs")[0]
    folder = Path(record.content["tracker"]["files"])
    assert record.content["tracker"]["notes"] == [said.removeprefix("adbench: ")]
    assert record.content["tracker"]["state"] == "offline"
    assert folder.parent == tmp_path / "runs" / "logs" / "wandb"

    (file,) = folder.glob("*.wandb")
    kinds: dict[str, list[Any]] = {}
    for one in wandb_records(file):
        kinds.setdefault(one.WhichOneof("record_type"), []).append(one)
    (run,) = kinds["run"]
    assert (run.run.project, run.run.entity, list(run.run.tags)) == ("phantoms", "a-team", ["first", "tiny"])
    history = [pairs(one.history.item) for one in kinds["history"]]
    losses = [row["train/loss_step"] for row in history if "train/loss_step" in row]
    assert len(losses) == 8
    figures = [row["test/image_auroc"] for row in history if "test/image_auroc" in row]
    assert figures == [pytest.approx(record.metrics["image_auroc"])]
    config = {k: v for one in kinds["config"] for k, v in pairs(one.config.update).items()}
    assert config["resolved"]["shots"] == 2
    shown = sorted((folder / "files" / "media" / "images").rglob("*.png"))
    assert len(shown) == len(list((record.path / "gallery").glob("*.png"))) > 2
    listed = {f.path for one in kinds["files"] for f in one.files.files}
    assert {str(path.relative_to(folder / "files")) for path in shown} <= listed
    assert kinds["exit"][0].exit.exit_code == 0
    upload = python(["-m", "wandb", "sync", "--dry-run", str(folder)], HOME=str(tmp_path))
    assert "Would sync 1 run" in upload.stdout + upload.stderr


@pytest.mark.slow
def test_wandb_out_of_reach_goes_offline(words, tmp_path: Path) -> None:
    away = {"WANDB_MODE": None, "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = command([*words, "logger=wandb"], **away, NETRC=str(tmp_path / "none"), HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert re.search(r"wandb can't be reached .*: the run is kept in \S+; `wandb sync", done.stderr), done.stderr
    assert list((tmp_path / "runs" / "logs" / "wandb").glob("offline-run-*/*.wandb"))


class Server(BaseHTTPRequestHandler):
    """What wandb asks before and at the start of a run is answered; what is logged then never is."""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        if "file_stream" in self.path or "CreateRunFiles" in asked:
            self.server.gone.wait()  # type: ignore[attr-defined]
            return
        viewer = {"id": "1", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
        project = {"id": "2", "name": "adbench", "entity": {"id": "3", "name": "me"}}
        said: dict[str, Any] = {"viewer": viewer}
        if "UpsertBucket" in asked:
            name = json.loads(asked)["variables"]["name"]
            bucket = {"id": "4", "name": name, "displayName": name, "config": "{}", "project": project}
            said = {"upsertBucket": {"bucket": bucket | {"historyLineCount": 0}, "inserted": True}}
        answer = json.dumps({"data": said}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_an_upload_that_is_not_done_in_time_is_told_and_kept(words, tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.gone = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    there = {"WANDB_MODE": None, "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": address, "NO_PROXY": "127.0.0.1"}
    hurried = (
        "import sys; from adbench.commands import cli; from adbench.training import trackers\n"
        f"trackers.LEFT_TO_UPLOAD = 2.0; sys.argv = ['adbench', 'run', *{[*words, 'logger=wandb']!r}]; cli.main()"
    )
    try:
        done = python(["-c", hurried], **there, HOME=str(tmp_path))
    finally:
        server.gone.set()  # type: ignore[attr-defined]
        server.shutdown()
    assert done.returncode == 0, done.stderr
    (record,) = read_all(tmp_path / "runs")
    folder, tracker = record.content["tracker"]["files"], record.content["tracker"]
    assert Path(folder).name.startswith("run-"), done.stderr
    assert tracker["state"] == "late", tracker
    begun, late = tracker["notes"]
    assert begun.startswith(f"wandb: {address}/me/adbench/runs/")
    assert re.search(r"given up; the run is kept in (\S+); `wandb sync --include-online \1` uploads", late), late
    assert f"adbench: {late}" in done.stderr
    upload = python(["-m", "wandb", "sync", "--include-online", "--dry-run", folder], HOME=str(tmp_path))
    assert "Would sync 1 run" in upload.stdout + upload.stderr


@pytest.mark.slow
def test_without_logger_neither_is_imported(words) -> None:
    code = (
        "import sys; from adbench.commands import cli\n"
        f"sys.argv = ['adbench', 'run', *{words!r}]\n"
        "try: cli.main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "print([name for name in ('wandb', 'tensorboard', 'tensorboardX') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("when", ["log_metrics", "save", "log_hyperparams"])
def test_a_tracker_that_fails_costs_a_sentence_and_no_record(adbench, words, tmp_path, monkeypatch, when) -> None:
    from pytorch_lightning.loggers import CSVLogger

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CSVLogger, when, fail)
    answer = adbench("run", *words, "logger=csv")
    assert answer.code == 0, answer.err
    assert re.search(r"logger=csv failed and is left out from here .*No space left on device", answer.err)
    assert answer.err.count("adbench:") == 1
    record = read(only(tmp_path / "runs"))
    assert "No space left" in record.content["tracker"]["notes"][0]
    assert record.content["tracker"]["state"] == "broken"


def test_a_cell_that_fails_leaves_no_curves_behind(adbench, words, tmp_path: Path) -> None:
    answer = adbench("run", *words, "logger=csv", "method.learning_rate=1e30")
    assert answer.code == 5
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["logger=wand"], "logger=wand is not possible: did you mean 'wandb'"),
        (["logger=csv,wandb"], "logger=csv,wandb is not possible"),
        (["wandb.project=x"], "wandb.project= .*add logger=wandb"),
        (["logger=wandb", "wandb.projct=x"], "unknown key 'projct' for wandb: did you mean 'project'"),
        (["logger=wandb", "wandb.mode=ofline"], "wandb.mode=ofline is not possible: did you mean 'offline'"),
        (["trainer.logger=true"], "use logger="),
    ],
)
def test_keys_that_cannot_be_used(adbench, words, tmp_path: Path, extra, says) -> None:
    answer = adbench("run", *words, *extra)
    assert answer.code == 2
    assert re.search(says, answer.err), answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_tensorboard_that_is_not_installed(adbench, words, monkeypatch) -> None:

    monkeypatch.setattr(config_trackers, "find_spec", lambda name: None)
    answer = adbench("run", *words, "logger=tensorboard")
    assert answer.code == 2
    assert re.search(r"needs the package tensorboard: pip install 'adbench-medical\[tensorboard\]'", answer.err)


@pytest.mark.slow  # a sweep, twice; what it prints is shown below without one
def test_a_sweep_says_at_its_end_where_the_files_are(adbench, words, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    places = [word for word in words if word.startswith(("data_root", "runs"))]
    mine = ["method=clip", "batch_size=8,16", "gallery=0", *places]
    answer = adbench("run", *mine, "logger=wandb")
    assert answer.code == 0, answer.err
    (line,) = [line for line in answer.out.splitlines() if line.startswith("logger=wandb")]
    folder = tmp_path / "runs" / "logs" / "wandb"
    assert f"2 cells tracked; 2 kept offline: `wandb sync {folder}/offline-run-*`" in line
    assert len(list(folder.glob("offline-run-*"))) == 2
    assert "logger=" not in adbench("run", *mine, "logger=wandb").out, "nothing was tracked"


def test_trackers_that_broke_off_or_were_late_are_in_the_summary() -> None:
    from adbench.training.trackers import summary

    well = {"logger": "tensorboard", "files": "tensorboard", "state": "complete", "notes": []}
    broke = well | {"state": "broken", "notes": ["no space"]}
    found = summary([well, broke, well])
    assert found.endswith(": 3 cells tracked; <cell>/tensorboard; 1 lost the tracker, the first: no space")
    mine = well | {"logger": "wandb", "notes": ["https://where"]}
    found = summary(
        [
            mine | {"files": "/w/run-1"},
            mine | {"files": "/w/run 2", "state": "late"},
            mine | {"files": "/w/offline-run-3", "state": "offline"},
        ]
    )
    assert "3 cells tracked; 1 kept offline: `wandb sync /w/offline-run-*` uploads them" in found
    assert "1 not uploaded in time: `wandb sync --include-online '/w/run 2'` uploads them" in found


def test_every_step_is_logged_where_log_every_n_steps_is_null() -> None:
    (run,) = parse(["logger=csv", "trainer.log_every_n_steps=null"])
    (callback,) = curves(run, None)
    assert isinstance(callback, Curves)
    assert callback.every == 1
