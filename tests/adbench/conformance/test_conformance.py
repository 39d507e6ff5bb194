"""The conformance kit, tested on methods that break one rule each."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from yaml import safe_load

from adbench import Method
from adbench.conformance import subject
from adbench.conformance.bench import Bench
from adbench.conformance.checks import CHECKS
from adbench.conformance.examine import CheckResult, examine
from adbench.conformance.settings import settings
from adbench.conformance.subject import Subject
from adbench.errors import AdbenchError
from adbench.testing import check_method, new_bench
from tests.adbench.conformance.breaking_off import BREAKING_OFF
from tests.adbench.conformance.broken_methods import (
    ALSO_BROKEN,
    BROKEN,
    TOO,
    Constant,
    Edited,
    Levels,
    Named,
    Params,
    RefusesOtherWords,
    Sound,
    TouchesBackbone,
    Transductive,
)
from tests.adbench.conformance.leaving_traces import (
    ALSO_LEAVING,
    LEAVING,
    DrawsGloballyWithoutEffect,
    DrawsWithoutEffect,
    LeavesHook,
    LeavesProcess,
    LeavesThread,
    PatchesForward,
    ReplacesPart,
)
from tests.adbench.plugins.packages import OWN, defined_in_a_notebook

EVERY = [*BROKEN, *LEAVING]
OTHERS = [*ALSO_BROKEN, *ALSO_LEAVING]


@pytest.fixture(scope="module", autouse=True)
def ended() -> Iterator[None]:
    """End what methods leave running: pytest would wait for a thread."""
    yield
    LeavesThread.released.set()
    if LeavesProcess.process is not None:
        LeavesProcess.process.communicate()


@pytest.fixture(scope="module")
def bench() -> Bench:
    return new_bench()


def failures(findings: list[CheckResult]) -> dict[str, CheckResult]:
    return {finding.check: finding for finding in findings if finding.outcome == "failed"}


def test_a_sound_method_passes_everything(bench: Bench) -> None:
    findings = examine(Sound, {}, bench)
    assert not failures(findings)
    assert [finding.check for finding in findings] == [check.name for check in CHECKS]
    assert {finding.outcome for finding in findings} == {"passed"}


@pytest.mark.parametrize(("method", "check", "seen", "look"), EVERY, ids=[one[0].__name__ for one in EVERY])
def test_a_broken_method_fails_the_check_it_breaks(bench: Bench, method, check: str, seen: str, look: str) -> None:
    findings = examine(method, {}, bench)
    failed = failures(findings)
    assert check in failed, failed
    assert re.search(seen, failed[check].seen), failed[check]
    assert re.search(look, failed[check].look), failed[check]
    others = set(failed) - {check}
    assert others <= TOO.get(method, set()), failed
    gate = next(one for one in CHECKS if one.name == check).gate
    assert ("not run" in {finding.outcome for finding in findings}) == gate


@pytest.mark.parametrize(("method", "check", "seen"), OTHERS, ids=[one[0].__name__ for one in OTHERS])
def test_a_check_sees_other_breaks_too(bench: Bench, method: type[Method], check: str, seen: str) -> None:
    (run,) = (one.run for one in CHECKS if one.name == check)
    bench.restore()  # after what an earlier method may have done to the backbone
    under = Subject(method, {}, bench)
    try:
        found = run(under)
    except Exception as error:
        found = under.said(error)
    assert re.search(seen, found or "passed")


@pytest.mark.parametrize(("method", "check", "seen"), BREAKING_OFF, ids=[one[0].__name__ for one in BREAKING_OFF])
def test_a_method_that_breaks_off_or_returns_another_thing_fails_a_gate(
    bench: Bench, method: type[Method], check: str, seen: str
) -> None:
    findings = examine(method, {}, bench)
    failed = failures(findings)
    assert set(failed) == {check}, failed
    assert re.search(seen, failed[check].seen), failed[check]
    assert "not run" in {finding.outcome for finding in findings}


def test_every_check_is_broken_by_somebody() -> None:
    assert {check for _, check, _, _ in EVERY} == {check.name for check in CHECKS}


@pytest.mark.parametrize("spoils", [TouchesBackbone, LeavesHook, PatchesForward, ReplacesPart])
def test_a_backbone_that_was_spoilt_is_mended_for_the_next(bench: Bench, spoils: type[Method]) -> None:
    under = Subject(spoils, {}, bench)
    under.fit()
    assert bench.damage(under.backbone)
    bench.restore()
    assert not bench.damage(under.backbone)
    torch.testing.assert_close(Subject(Sound, {}, bench).scores.image, Subject(Sound, {}, new_bench()).scores.image)


def test_settings_are_set_back_for_the_next(bench: Bench) -> None:
    before = settings()
    for method, check, _ in ALSO_LEAVING:
        if check == "settings":
            assert Subject(method, {}, bench).scores is not None
    assert settings() == before


def test_a_thread_that_nobody_ends_does_not_keep_the_command(tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text(WAITS)
    command = [sys.executable, "-m", "adbench", "check-method", f"{tmp_path / 'waits.py'}:Waits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "the thread waiting, which is still running" in done.stdout


def test_checks_are_made_without_asserts_too(tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text(RAISES)
    command = [sys.executable, "-O", "-m", "adbench", "check-method", f"{tmp_path / 'raises.py'}:Raises"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    verdicts = dict(re.findall(r"^  (\w[\w ]*?) +(passed|failed|not run) ", done.stdout, re.M))
    assert [verdicts[name] for name in ("fit", "batch alone", "shapes")] == ["passed", "failed", "not run"]


SOUND = [DrawsWithoutEffect, DrawsGloballyWithoutEffect, Transductive, Named, Levels, Edited, RefusesOtherWords]


@pytest.mark.parametrize("method", SOUND)
def test_what_is_optional_and_sound_passes(bench: Bench, method: type[Method]) -> None:
    assert not failures(examine(method, {}, bench))


@pytest.mark.parametrize(
    ("yaml", "seen"),
    [
        ("schedules: {paper: {epoch: 50}}", r"^schedule=paper, which ends in .*unknown key 'epoch'.*mean 'epochs'"),
        ("schedules: {paper: {epochs: -1}}", r"^schedule=paper, .*method\.epochs=-1 is not possible"),
        ("schedules: {papre: {epochs: 5}}", "^a schedule 'papre' in the YAML, which no run can ask for: short, paper"),
        ("presets: {paper: {bakbone: ViT-B-16}}", r"^preset=paper, .*unknown key 'bakbone'.*mean 'backbone'"),
        ("presets: {paper: {backbone: ViT-B-61}}", r"^preset=paper, .*unknown backbone 'ViT-B-61'"),
        ("presets: {paper: {precision: 16}}", r"^preset=paper, .*precision=16 is not possible"),
        ("presets: {paper: {method.epochs: 5}}", r"^preset=paper, .*unknown key 'method\.epochs'"),
        ("presets: {mine: {shots: 1}}", "^a preset 'mine' in the YAML, which no run can ask for: none, paper"),
    ],
)
def test_every_schedule_and_preset_is_read(bench: Bench, monkeypatch, yaml: str, seen: str) -> None:
    monkeypatch.setattr(subject, "_yaml_of", lambda _: safe_load(yaml))
    failed = failures(examine(Sound, {}, bench))
    assert set(failed) == {"parameters"}
    assert re.search(seen, failed["parameters"].seen), failed
    assert failed["parameters"].look.startswith("Sound.Params")


def test_check_method_tells_all_in_one_assertion() -> None:
    with pytest.raises(AssertionError) as caught:
        check_method(Constant, epochs=1)
    text = str(caught.value)
    assert text.startswith(f"Constant fails 1 of {len(CHECKS)} checks (0 not run)\nrange: expected floating-point")
    assert "saw the same value 1 everywhere in image" in text
    check_method(Sound, epochs=1)


@pytest.mark.parametrize(
    ("right", "wrong", "seen"),
    [
        (".norm(dim=1)", ".norm(dim=gone)", r"NameError: name 'gone' is not defined \(<cell 1>:23\)"),
        (".norm(dim=1)", "", r"returned image of shape \(6, \d+\) for 6 images"),
    ],
)
def test_a_class_of_a_notebook_that_is_wrong_fails_checks(
    bench: Bench, monkeypatch, right: str, wrong: str, seen: str
) -> None:
    failed = failures(examine(defined_in_a_notebook(monkeypatch, OWN.replace(right, wrong)), {}, bench))
    assert any(re.search(seen, result.seen) for result in failed.values()), failed
    assert {result.look.partition(" ")[0] for result in failed.values()} == {"Own.score"}


def test_a_class_of_a_notebook_without_score_is_named(monkeypatch) -> None:
    half = defined_in_a_notebook(monkeypatch, OWN.replace("def score(", "def scores("))
    with pytest.raises(AdbenchError, match=r"the method Own has no score\(self, batch\).*write it\.$"):
        check_method(half)


def test_check_method_wants_a_method_and_known_parameters() -> None:
    with pytest.raises(AdbenchError, match="no subclass of adbench.Method"):
        check_method(Params)  # type: ignore[arg-type]
    with pytest.raises(AdbenchError, match="unknown method 'madclp'"):
        check_method("madclp")
    with pytest.raises(AdbenchError, match="unknown key 'epoch'.*did you mean 'epochs'"):
        check_method(Sound, epoch=1)
    with pytest.raises(AdbenchError, match="method.batch_size=0 is not possible"):
        check_method("mediclip", batch_size=0)


STAGES = """
from dataclasses import dataclass

from adbench import Capability, Method, Scores


@dataclass
class Params:
    pass


class Stages(Method[Params]):
    @classmethod
    def capability(cls, params, architecture):
        return Capability(support="none", stages=(1, 2), stochastic=False)

    def score(self, batch):
        one, two = (batch.features.stages[s] for s in (1, 2))
        return Scores(one.mean((1, 2, 3)) + two.mean((1, 2, 3)), one.mean(1))
"""

WAITS = """
import threading
from dataclasses import dataclass

from adbench import Capability, Method, Scores


@dataclass
class Params:
    pass


class Waits(Method[Params]):
    @classmethod
    def capability(cls, params, architecture):
        return Capability(support="none", blocks=(1,), stochastic=False, maps=False)

    def build(self):
        threading.Thread(target=threading.Event().wait, name="waiting").start()

    def score(self, batch):
        return Scores(batch.features.blocks[1].mean((1, 2)))
"""


def test_a_method_of_stages_is_examined_on_a_cnn_and_refused_on_a_clip(adbench, tmp_path, bench: Bench) -> None:
    (tmp_path / "stages.py").write_text(STAGES)
    method = f"{tmp_path / 'stages.py'}:Stages"
    (finding, *_) = failures(examine(method, {}, bench)).values()
    assert "the stages of a CNN, which phantom-clip does not have; backbone=NAME" in finding.seen
    cnn = ("backbone.kind=cnn", "backbone.model=test_resnet", "backbone.weights=random", "backbone.input_size=64")
    own = ("backbone.activation=own", "backbone.normalisation=imagenet", "backbone=resnet-18")
    answer = adbench("check-method", method, *cnn, *own)
    assert answer.code == 0, answer.out
    assert "backbone=resnet-18" in answer.out.splitlines()[0]


RAISES = """
from dataclasses import dataclass

from adbench import Capability, Method


@dataclass
class Params:
    pass


class Raises(Method[Params]):
    @classmethod
    def capability(cls, params, architecture):
        return Capability(support="none", blocks=(1,), stochastic=False, maps=False)

    def score(self, batch):
        raise ValueError("no score today")
"""
