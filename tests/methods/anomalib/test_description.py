"""What adbench knows of anomalib's models without the package: their table, networks, cells and rows."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adbench.cells.cell import Cell
from adbench.cells.resolve import resolve
from adbench.config import layers
from adbench.config.groups import expand
from adbench.config.words import parse
from adbench.errors import AdbenchError
from adbench.methods.anomalib import Anomalib
from adbench.methods.anomalib.models import models, runnable
from adbench.plugins import registry

IN_PAPERS = ("Cflow", "ReverseDistillation", "Draem", "Patchcore", "Padim", "Stfpm", "Fastflow", "Supersimplenet")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are resolved as where the package is installed: resolving imports nothing of it."""
    monkeypatch.setattr(layers, "lacking", lambda method: None)


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "anomalib" else find(name, *more)
    )


def cell(root: Path, *words: str) -> Cell:
    shots = [] if any(word.startswith("shots=") for word in words) else ["shots=2"]
    (config,) = parse(["method=anomalib", f"data_root={root}", *shots, *words])
    return resolve(config)


def test_every_model_has_a_title_a_paper_and_either_a_way_to_run_or_a_reason() -> None:
    assert len(models()) == 33
    assert set(IN_PAPERS) <= {name for name, row in models().items() if not row.why_not}
    for name, row in models().items():
        assert row.title, name
        assert row.paper, name
        if row.why_not:
            assert row.why_not.endswith("."), name
            assert not row.network, name
        if row.network:
            from timm.models import get_pretrained_cfg

            assert row.licence == get_pretrained_cfg(row.network).license, name


def test_the_page_of_the_models_shows_every_row() -> None:
    text = (Path(__file__).parents[3] / "docs" / "anomalib.md").read_text(encoding="utf-8")
    for name, row in models().items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        wanted = [row.why_not] if row.why_not else [f"| {row.input_size} |", f"| {row.least_support} |"]
        assert all(part in line for part in [row.title, row.paper, *wanted]), name


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("Cflwo", "method.model=Cflwo is no image model of anomalib: did you mean 'Cflow'?"),
        ("Csflow", "method.model=Csflow can't run here: Its network's weights are a pickle"),
        ("WinClip", "method=winclip is adbench's"),
    ],
)
def test_a_model_that_cannot_run_says_why(model: str, said: str) -> None:
    with pytest.raises(AdbenchError) as error:
        runnable(model)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("params", "weights", "said"),
    [
        ({"model": "Stfpm"}, "random", "Stfpm always takes the pretrained weights of resnet18"),
        ({"model": "Stfpm"}, "r18.safetensors", "from the Hugging Face cache, which HF_HOME names"),
        ({"model": "Ganomaly"}, "random", "anomalib's Ganomaly is trained from scratch"),
        ({"model": "Padim", "args": {"backbone": "resnet19"}}, None, "timm has no network 'resnet19'"),
        ({"model": "Draem"}, None, "method.textures is missing: anomalib's Draem pastes pictures"),
        ({"model": "Draem", "textures": "nowhere"}, None, "method.textures=nowhere is not a folder"),
        ({"model": "Padim", "textures": "."}, None, "method.textures= has no effect: anomalib's Padim pastes no"),
    ],
)
def test_weights_and_textures_that_a_model_does_not_take_are_refused(
    params: dict[str, Any], weights: str | None, said: str
) -> None:
    with pytest.raises(AdbenchError) as error:
        Anomalib.own_backbone(Anomalib.Params(**params), weights)
    assert said in str(error.value)


def test_the_network_is_described_by_timm_s_name_and_tag() -> None:
    own = Anomalib.own_backbone(Anomalib.Params(model="Patchcore"), None)
    assert (own.kind, own.model, own.weights, own.licence) == ("own", "wide_resnet50_2", "racm_in1k", "apache-2.0")
    own = Anomalib.own_backbone(Anomalib.Params(model="Supersimplenet"), None)
    assert (own.model, own.weights, own.licence) == ("wide_resnet50_2", "tv_in1k", "bsd-3-clause")
    own = Anomalib.own_backbone(Anomalib.Params(model="Padim", args={"backbone": "resnet34.a1_in1k"}), "a2_in1k")
    assert (own.model, own.weights, own.input_size) == ("resnet34", "a2_in1k", 256)
    assert Anomalib.own_backbone(Anomalib.Params(model="Ganomaly"), None).weights == "none"


def test_textures_enter_the_key_by_their_content_wherever_they_are(installed: None, tiny: Path, tmp_path: Path) -> None:
    def keyed(place: str, colour: str, name: str = "a.png") -> str:
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), colour).save(folder / name)
        found = cell(tiny, "method.model=Draem", f"method.textures={folder}")
        assert str(folder) not in json.dumps(found.facts)
        return found.key

    red = keyed("here", "red")
    assert keyed("there", "red") == red
    assert keyed("there", "blue") != red
    assert keyed("elsewhere", "red", "b.png") != red


@pytest.mark.parametrize(("model", "argument"), [("Draem", "dtd_dir"), ("Glass", "anomaly_source_path")])
def test_a_folder_of_textures_is_not_named_past_the_key(model: str, argument: str, tmp_path: Path) -> None:
    params = Anomalib.Params(model=model, args={argument: str(tmp_path)}, textures=str(tmp_path))
    with pytest.raises(AdbenchError, match=f"anomalib's {model} pastes is named by method.textures=FOLDER"):
        Anomalib.own_backbone(params, None)


def test_a_cell_has_the_network_in_its_key_and_no_clip(installed: None, tiny: Path) -> None:
    padim = cell(tiny, "backbone.weights=random")
    assert (padim.facts["backbone"], padim.facts["kind"], padim.backbone_name) == ("own", "own", "resnet18")
    assert padim.facts["weights"].startswith("random-")
    assert padim.input_size == 256
    assert cell(tiny, "backbone.weights=random", "input_size=64").input_size == 64
    assert any(
        note.startswith("warning: resnet18, the network of anomalib, has random weights") for note in padim.notes
    )
    other = cell(tiny, "backbone.weights=random", "method.args={backbone: resnet34}")
    assert other.facts["model"] != padim.facts["model"]
    assert cell(tiny, "backbone.weights=random", "backbone=own").key == padim.key
    noted = cell(tiny, "backbone.weights=random", "backbone=dinov2-s")
    assert noted.key == padim.key
    assert "anomalib brings its own network: backbone=dinov2-s has no effect." in noted.notes
    scratch = cell(tiny, "method.model=Ganomaly")
    assert (scratch.facts["weights"], scratch.backbone_name) == ("none", "from scratch")
    assert not any("random weights" in note for note in scratch.notes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shots=1"], "anomalib needs at least 2 images to learn from, and here is 1. Use shots=2 or more."),
        (["method.model=Dfkde", "shots=3"], "at least 17 images to learn from, and here are 3"),
        (["trainer.devices=2"], "trainer.devices=2 is not possible: anomalib builds and trains a network of its own"),
        (["backbone.seed=1"], "backbone.seed= has no effect: anomalib brings its own network"),
        (["backbone.weights=nowhere.safetensors"], "backbone.weights=nowhere.safetensors is not a file"),
    ],
)
def test_what_a_cell_cannot_be_is_said(installed: None, tiny: Path, words: list[str], said: str) -> None:
    weights = [] if any("weights" in word for word in words) else ["backbone.weights=random"]
    with pytest.raises(AdbenchError) as error:
        cell(tiny, *weights, *words)
    assert said in str(error.value)


def test_other_methods_need_a_backbone(tiny: Path) -> None:
    with pytest.raises(AdbenchError, match=r"patchcore needs a backbone, which own \(kind own\) does not have"):
        resolve(parse(["method=patchcore", "backbone=own", f"data_root={tiny}", "shots=2"])[0])


def test_without_the_package_there_is_one_sentence_and_wildcards_pass_over_it(missing: None, adbench) -> None:
    for command in (["run", "method=anomalib"], ["check-method", "anomalib"]):
        answer = adbench(*command)
        assert answer.code == 2
        assert "the method anomalib needs the package anomalib, which is not installed" in answer.err
        assert "pip install 'adbench-medical[anomalib]'" in answer.err
    assert "anomalib" not in expand("method", "*")
    assert expand("method", "anomalib") == ["anomalib"]
    assert set(expand("method", "*")) == set(registry.entries("method")) - {"anomalib"}
