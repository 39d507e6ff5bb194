"""Cores: pieces side by side, in order, with the caller's gradient and autocast; errors and forks."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
import torch

from adbench.system import cores

pytestmark = pytest.mark.usefixtures("one_core_afterwards")


@pytest.mark.parametrize("number", [1, 2, 4])
def test_results_come_in_the_order_of_the_items(number: int) -> None:
    cores.use(number)

    def late(item: int) -> int:
        time.sleep(0.002 * (5 - item % 5))
        return item * item

    assert list(cores.each(late, range(20))) == [item * item for item in range(20)]


def test_as_many_pieces_run_at_a_time_as_there_are_cores() -> None:
    cores.use(3)
    meeting = threading.Barrier(3, timeout=20)
    assert sorted(cores.each(lambda _: meeting.wait(), range(3))) == [0, 1, 2]


def test_items_are_taken_as_they_are_needed() -> None:
    cores.use(2)
    taken: list[int] = []
    results = cores.each(lambda item: item, (taken.append(n) or n for n in range(100)))
    assert next(results) == 0
    assert len(taken) <= 6


def test_an_error_comes_in_its_place_and_ends_the_work() -> None:
    cores.use(2)
    begun: list[int] = []

    def fails(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    results = cores.each(fails, range(100))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(begun) < 20


@pytest.mark.parametrize("number", [1, 2])
def test_a_piece_computes_as_its_caller_does(number: int) -> None:
    cores.use(number)
    weight = torch.ones(2, 2, requires_grad=True)

    def made(_: int) -> torch.Tensor:
        assert torch.get_num_threads() == 1
        return torch.ones(2, 2) @ weight

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert {(t.requires_grad, t.dtype) for t in cores.each(made, range(4))} == {(False, torch.bfloat16)}
    assert {(t.requires_grad, t.dtype) for t in cores.each(made, range(4))} == {(True, torch.float32)}


def test_pieces_of_a_piece_are_computed_by_its_thread() -> None:
    cores.use(2)

    def outer(_: int) -> set[str]:
        return {threading.current_thread().name, *cores.each(lambda _: threading.current_thread().name, range(4))}

    assert all(len(names) == 1 for names in cores.each(outer, range(4)))


def test_an_only_piece_is_computed_here_and_its_own_pieces_side_by_side() -> None:
    cores.use(2)
    meeting = threading.Barrier(2, timeout=20)

    def outer(_: int) -> tuple[str, list[int]]:
        return threading.current_thread().name, sorted(cores.each(lambda _: meeting.wait(), range(2)))

    assert list(cores.each(outer, [0])) == [(threading.current_thread().name, [0, 1])]
    assert list(cores.each(outer, [])) == []


def test_a_forked_process_starts_threads_of_its_own() -> None:
    cores.use(2)
    assert list(cores.each(abs, [-1, -2, -3])) == [1, 2, 3]
    child = os.fork()
    if child == 0:
        os._exit(0 if list(cores.each(abs, [-1, -2, -3])) == [1, 2, 3] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_what_is_available_is_the_least_of_affinity_quota_and_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    quota = tmp_path / "cpu.max"
    assert cores.available(quota) == 8
    for text, expected in (("max 100000\n", 8), ("300000 100000\n", 3), ("50000 100000\n", 1)):
        quota.write_text(text)
        assert cores.available(quota) == expected
    quota.write_text("300000 100000")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert cores.available(quota) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(cores, "available", lambda: 7)
    assert [cores.shared(processes)["OMP_NUM_THREADS"] for processes in (1, 2, 9)] == ["7", "3", "1"]
