"""One cell on two devices: two real processes that talk through gloo, on the CPU."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from adbench.config.layers import standalone
from adbench.plugins import registry
from adbench.records.record import Record, read_all
from adbench.training.ddp import share

TWO = ("trainer.devices=2", "trainer.strategy=ddp")


@pytest.fixture
def seven(tiny: Path) -> Path:
    """The tiny data set with a test split of 7 images: 4 normal, 3 abnormal."""
    for folder, keep in (("good", 4), ("Ungood", 3)):
        for path in sorted((tiny / "Brain" / "test" / folder / "img").iterdir())[keep:]:
            path.unlink()
            (path.parents[1] / "anomaly_mask" / path.name).unlink(missing_ok=True)
    return tiny


def both(adbench, words: list[str], runs: Path) -> tuple[Record, Record]:
    """Run a cell on one device and on two; return both records."""
    records = []
    for name, extra in (("one", ()), ("two", TWO)):
        answer = adbench("run", *words, f"runs={runs / name}", *extra)
        assert answer.code == 0, answer.err
        assert not list((runs / name).glob(".*"))
        (record,) = read_all(runs / name)
        records.append(record)
    return records[0], records[1]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 4, 7])
def test_shares_make_the_whole_batch(world: int, n: int) -> None:
    values = torch.rand(n, generator=torch.Generator().manual_seed(0)).double()
    shares = [share(list(range(n)), rank, world) for rank in range(world)]
    counted = [row for rows, weight in shares if weight for row in rows]
    assert sorted(counted) == list(range(n)), "each row counts once"
    assert all(rows for rows, _ in shares), "every process has a step to make"
    mean = sum(weight * values[rows].mean() for rows, weight in shares) / world
    assert float(mean) == pytest.approx(float(values.mean()), rel=1e-12)


def test_seven_images_on_two_devices_are_scored_once_each_bit_for_bit(adbench, seven: Path, tmp_path: Path) -> None:
    words = ["method=clip", f"data_root={seven}", "batch_size=2", "gallery=2"]
    one, two = both(adbench, words, tmp_path)
    assert two.content["test_images"] == 7
    pd.testing.assert_frame_equal(two.predictions(), one.predictions(), check_exact=True)
    pd.testing.assert_frame_equal(two.held_out(), one.held_out(), check_exact=True)
    for column, values in one.held_out_pixels().items():
        assert two.held_out_pixels()[column].tolist() == values.tolist()
    assert two.content["held_out"] == one.content["held_out"]
    assert two.metrics["image_auroc"] == one.metrics["image_auroc"]
    for name, value in one.metrics.items():
        assert two.metrics[name] == pytest.approx(value, abs=1e-12), name
    assert (one.content["device"]["count"], two.content["device"]["count"]) == (1, 2)
    assert one.key == two.key, "without epochs the number of devices changes nothing"
    assert (two.path / "gallery" / "overview.png").is_file()


def test_one_batch_for_two_devices_leaves_one_of_them_nothing_to_score(adbench, seven: Path, tmp_path: Path) -> None:
    one, two = both(adbench, ["method=clip", f"data_root={seven}", "gallery=0"], tmp_path)
    pd.testing.assert_frame_equal(two.predictions(), one.predictions(), check_exact=True)


@pytest.mark.parametrize(
    ("method", "shots", "size", "steps"),
    [
        ("madclip", 1, 31, 4),  # 32 views: 16 and 15 of the first batch, then one and none
        pytest.param("mediclip", 5, 2, 6, marks=pytest.mark.slow),  # 5 images: one each, one each, one and none
    ],
)
def test_a_training_on_two_devices_is_that_of_one(
    adbench, seven: Path, tmp_path: Path, method: str, shots: int, size: int, steps: int
) -> None:
    words = [f"method={method}", f"shots={shots}", "method.epochs=2", f"method.batch_size={size}", "batch_size=2"]
    one, two = both(adbench, [*words, "gallery=0", f"data_root={seven}", "logger=csv"], tmp_path)
    for column in ("score", "map_max", "map_mean"):
        np.testing.assert_allclose(two.predictions()[column], one.predictions()[column], atol=1e-5, rtol=1e-5)
    curves = [pd.read_csv(r.path / "curves" / "metrics.csv")["train/loss_step"].dropna() for r in (one, two)]
    assert len(curves[0]) == len(curves[1]) == steps
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5)


@pytest.mark.slow
def test_a_cross_validation_for_thresholds_on_two_devices_is_that_of_one(adbench, tiny: Path, tmp_path: Path) -> None:
    words = ["method=madclip", "shots=4", "method.epochs=1", "operating=support_cv", "gallery=0", f"data_root={tiny}"]
    one, two = both(adbench, words, tmp_path)
    np.testing.assert_allclose(two.held_out()["score"], one.held_out()["score"], atol=1e-5, rtol=1e-5)
    assert two.content["held_out"] == one.content["held_out"]


# Noise and dropout are drawn by each process for its own rows; batch normalisation and mining see these rows alone.
OWN_ROWS = ("dinomaly", "inpformer", "rd4ad", "simplenet", "tgumiad", "uniad")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_method_runs_on_two_devices(adbench, seven: Path, tmp_path: Path) -> None:
    """One epoch; prints the largest difference between scores on one device and on two."""
    table: dict[str, float] = {}
    for method in [name for name in standalone() if not registry.entries("method")[name].foreign]:
        words = [f"method={method}", "shots=4", "batch_size=2", "gallery=0", f"data_root={seven}"]
        schema = registry.find("method", method).load().Params
        words += ["method.epochs=1"] if "epochs" in {f.name for f in dataclasses.fields(schema)} else []
        one, two = (record.predictions()["score"].to_numpy() for record in both(adbench, words, tmp_path / method))
        table[method] = float(np.abs(two - one).max() / np.abs(one).max())
        assert np.isfinite(two).all()
    print("\n".join(f"{method:<16}{apart:.1e}" for method, apart in table.items()))
    assert not [method for method, apart in table.items() if apart > 1e-4 and method not in OWN_ROWS]


def test_the_choice_of_an_epoch_is_made_together(adbench, seven: Path, tmp_path: Path) -> None:
    words = ["method=madclip", "shots=2", "method.epochs=2", "batch_size=2", "gallery=0", "selection=oracle"]
    one, two = both(adbench, [*words, f"data_root={seven}"], tmp_path)
    assert two.content["selection"]["epoch"] == one.content["selection"]["epoch"]
    assert set(two.content["selection"]["curve"]) == {"1", "2"}


def test_an_error_in_one_process_ends_both_and_is_shown(adbench, seven: Path, tmp_path: Path) -> None:
    words = ["method=madclip", "shots=2", f"data_root={seven}", f"runs={tmp_path / 'runs'}", *TWO]
    answer = adbench("run", *words, "method.learning_rate=1e30")
    assert answer.code == 5, answer.err
    assert "not finite" in answer.err
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.slow
def test_in_a_sweep_as_well(adbench, seven: Path, fake, tmp_path: Path) -> None:
    fake.behave("print")
    words = [fake.word, f"data_root={seven}", "gallery=0", f"runs={tmp_path / 'runs'}", *TWO]
    answer = adbench("run", *words, "seed=0,1", "workers=1")
    assert answer.code == 0, answer.out + answer.err
    records = read_all(tmp_path / "runs")
    assert len(records) == 2
    assert all(record.content["device"]["count"] == 2 for record in records)
    logs = [(tmp_path / "runs" / "logs" / f"{record.key}.log").read_text() for record in records]
    assert [log.count("the fake method prints") for log in logs] == [2, 2], "each cell's log has both processes"


def below(pid: int) -> list[int]:
    """Return the processes that a process started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def processes_of(command: subprocess.Popen[str], runs: Path) -> list[int]:
    """Wait until a command trains on two devices and return both processes: forks of its server."""
    deadline = time.monotonic() + 120
    while not list(runs.glob(".*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(3)
    (server,) = [pid for pid in below(command.pid) if "forkserver" in Path(f"/proc/{pid}/cmdline").read_text()]
    return below(server)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and the fork server")
@pytest.mark.parametrize("how", ["a process is killed", "Ctrl-C", "the command is killed"])
def test_nothing_stays_behind(seven: Path, tmp_path: Path, how: str) -> None:
    runs = tmp_path / "runs"
    words = ["method=madclip", "shots=5", "method.epochs=5000", f"data_root={seven}", f"runs={runs}", *TWO]
    command = subprocess.Popen(
        [sys.executable, "-m", "adbench", "run", *words], stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        processes = processes_of(command, runs)
        assert len(processes) == 2
        if how == "a process is killed":
            os.kill(processes[1], signal.SIGKILL)
        elif how == "Ctrl-C":
            os.killpg(command.pid, signal.SIGINT)  # as a terminal does
        else:
            command.kill()
        _, said = command.communicate(timeout=60)
    finally:
        command.kill()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in processes) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]
    if how == "the command is killed":
        return
    assert command.returncode == (130 if how == "Ctrl-C" else 2), said
    assert "Traceback" not in said
    assert not list(runs.iterdir())
    if how == "a process is killed":
        assert re.search(r"the process of device \d of 2 was ended by SIGKILL", said), said


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["trainer.devices=0"], "trainer.devices=0 is not possible: at least 1 is needed"),
        (["trainer.devices=auto"], "trainer.devices=auto is not possible: give a number of devices"),
        (["trainer.devices=2", "trainer.strategy=fsdp"], "trainer.strategy=fsdp is not possible.*strategy=ddp"),
        (["trainer.strategy=ddp"], "trainer.strategy=ddp is for several devices"),
        (["trainer.num_nodes=2"], "one cell runs on one machine"),
        (["trainer.accelerator=gpu"], "use device="),
    ],
)
def test_devices_that_cannot_be_used(adbench, seven: Path, tmp_path: Path, extra: list[str], says: str) -> None:
    answer = adbench("run", "method=clip", f"data_root={seven}", f"runs={tmp_path / 'runs'}", *extra)
    assert answer.code == 2
    assert re.search(says, answer.err), answer.err
    assert not (tmp_path / "runs").exists()


def test_a_loader_that_cannot_be_shared_is_named(seven: Path, tmp_path: Path) -> None:
    from torch.utils.data import DataLoader

    from adbench.errors import AdbenchError
    from adbench.training.ddp import ShardedDataModule

    class Odd(torch.nn.Module):
        def train_dataloader(self) -> object:
            return [DataLoader(torch.zeros(4)), DataLoader(torch.zeros(4))]

    with pytest.raises(AdbenchError, match="not possible for Odd: its train_dataloader.* one DataLoader"):
        ShardedDataModule(Odd()).train_dataloader()  # type: ignore[arg-type]


def test_how_devices_are_called_is_no_part_of_the_cell(adbench, seven: Path, tmp_path: Path) -> None:
    words = ["method=clip", f"data_root={seven}", "gallery=0", f"runs={tmp_path / 'runs'}"]
    assert adbench("run", *words).code == 0
    assert "reused" in adbench("run", *words, "trainer.devices=1").out
    assert "reused" in adbench("run", *words, "trainer.log_every_n_steps=5").out
