"""A key that is accepted has an effect, or a note says that it has none, or it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A support list of one image of each class."""
    (tmp_path / "list.txt").write_text("n-0: 00000_60.png\na-0: 00010_61.png\n")
    return tmp_path / "list.txt"


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ("method=winclip shots=2 schedule=paper", "winclip has one schedule: schedule=paper has no effect."),
        ("method=clip loader_workers=2", "clip has no epochs: loader_workers has no effect."),
        ("method=clip trainer.enable_checkpointing=true trainer.benchmark=true loader_workers=1",
         "clip has no epochs: trainer.benchmark, trainer.enable_checkpointing, loader_workers have no effect."),
        ("method=patchcore support=LIST shots=3", "support=LIST names its images: shots=3 has no effect."),
    ],
)  # fmt: skip
def test_a_key_without_effect_is_noted(
    adbench, tiny: Path, tmp_path: Path, listed: Path, words: str, note: str
) -> None:
    given = words.replace("LIST", str(listed)).split()
    answer = adbench("run", *given, f"data_root={tiny}", "gallery=0", f"runs={tmp_path / 'runs'}")
    assert answer.code == 0, answer.err
    assert f"note: {note.replace('LIST', str(listed))}\n" in answer.out


@pytest.mark.parametrize(
    "words",
    [
        "method=april_gan shots=2 schedule=paper method.epochs=1 loader_workers=1",
        "method=patchcore preset=paper backbone=phantom-clip input_size=112 shots=2",
        "method=patchcore support=LIST",
    ],
)
def test_a_key_with_an_effect_or_one_that_nobody_typed_is_not_noted(
    adbench, tiny: Path, tmp_path: Path, listed: Path, words: str
) -> None:
    given = words.replace("LIST", str(listed)).split()
    answer = adbench("run", *given, f"data_root={tiny}", "gallery=0", f"runs={tmp_path / 'runs'}")
    assert answer.code == 0, answer.err
    assert "no effect" not in answer.out


@pytest.mark.parametrize("words", ["deterministic=false", "compile=true", "deterministic=false compile=true"])
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_kernels_of_a_gpu_are_refused_on_a_cpu(
    adbench, tiny: Path, tmp_path: Path, monkeypatch, words: str, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    runs = tmp_path / "runs"
    answer = adbench("run", "method=clip", *words.split(), f"device={device}", f"data_root={tiny}", f"runs={runs}")
    assert answer.code == 2
    assert f"{words} is not possible on a CPU" in answer.err
    assert answer.err.count("\n") == 1
    assert not runs.exists()


WITHOUT_MAPS = """
from dataclasses import dataclass
from adbench import Capability, Method, Scores

@dataclass
class Params:
    pass

class Own(Method[Params]):
    @classmethod
    def capability(cls, params, architecture):
        return Capability("none", pooled=True, maps=False, stochastic=False)

    def score(self, batch):
        return Scores(batch.features.pooled.norm(dim=1))
"""


def test_maps_that_are_not_drawn_have_no_size(adbench, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(WITHOUT_MAPS)
    words = ["run", f"method={tmp_path / 'own.py'}:Own", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0"]
    answer = adbench(*words)
    assert answer.code == 0, answer.err
    assert "eval_size" not in answer.out
    answer = adbench(*words, "eval_size=120")
    assert "note: Own draws no maps here: eval_size is set to 240.\n" in answer.out
    assert "recorded already" in answer.out, "what changes no result is in no key"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("run method=madclip gallery=0 gallery.levels=true", "gallery=0 makes none"),
        ("run dataset=folder", "name their folder with data_root=DIR"),
        ("data check folder", "name their folder with data_root=DIR"),
        ("data describe folder", "name their folder with data_root=DIR"),
        ("support show dataset=folder", "name their folder with data_root=DIR"),
        ("support show support=LIST shots=3 data_root=TINY", "names its images: leave out shots."),
        ("support show support=LIST draw=3 shots=3 data_root=TINY", "names its images: leave out shots and draw."),
        ("support show shots=full draw=3 data_root=TINY", "takes every image, which is draw 0: leave out draw=3."),
        (
            "support show backbone=ViT-B-32 data_root=TINY",
            "backbone= is about what a method learns from: name it",
        ),
        (
            "support show method.k=3 data_root=TINY",
            "method.k= is about what a method learns from: name it",
        ),
        (
            "support show train_on=busi data_root=TINY",
            "train_on= is about what a method learns from: name it",
        ),
        ("check-method clip shots=4", "method.X=VALUE"),
        ("data check brainmri shots=4", "unknown key 'shots' here"),
        ("data check brainmri dataset=busi", "unknown key 'dataset' here"),
        ("score record image.png shots=4", "unknown key 'shots'"),
        ("leaderboard --markdown --latex", "--markdown and --latex exclude each other"),
        ("run --keys shots=4", "--keys shows every key and runs nothing"),
        ("run method=clip wandb.project=mine", "add logger=wandb"),
        ("run method=clip backbone.stand_in=false", "backbone.stand_in= can't be set"),
        ("run method=clip slurm.partition=gpu", "slurm.partition= is for executor=slurm"),
        ("run method=clip support=LIST", "clip learns from no image. Leave support= out"),
        ("run method=patchcore train_on=busi protocol=few_normal_shot", "leave out train_on=busi"),
    ],
)
def test_a_key_that_can_have_no_effect_is_refused(
    adbench, tiny: Path, tmp_path: Path, listed: Path, monkeypatch: pytest.MonkeyPatch, words: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    answer = adbench(*words.replace("LIST", str(listed)).replace("TINY", str(tiny)).split())
    assert answer.code == 2
    assert answer.err.startswith("adbench: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err
    assert sorted(tmp_path.iterdir()) == before, "nothing is written"


def test_a_support_is_shown_with_the_notes_of_a_run(adbench, tiny: Path, tmp_path: Path) -> None:
    words = ["method=patchcore", "seed=3"]
    assert "unknown key 'seed'" in adbench("support", "show", *words).err
    words = ["method=patchcore", "shots=full", f"data_root={tiny}", "--out", tmp_path / "x.png"]
    assert "note: " not in adbench("support", "show", *words).out
