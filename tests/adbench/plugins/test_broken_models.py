"""A backbone whose model's JSON file is broken costs those alone who name it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.plugins import registry
from tests.adbench.plugins.packages import install

YAML = "title: Ours\nmodel: {}.json\nweights: random\ninput_size: 32\nactivation: gelu\nnormalisation: clip\n"
MODEL = {
    "embed_dim": 24,
    "vision_cfg": {"layers": 3, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3},
}
FEW = ("whole", "torn", "gone", "resnet-18", "phantom-clip")


@pytest.fixture
def _hospital(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with three backbones, next to two shipped ones; shapes of others take long to find."""
    files = {f"our_configs/backbone/{name}.yaml": YAML.format(name) for name in ("whole", "torn", "gone")}
    files |= {"our_configs/__init__.py": "", "our_configs/backbone/whole.json": json.dumps(MODEL)}
    files["our_configs/backbone/torn.json"] = '{"embed_dim": 24, "vision'
    install(site, "hospital", {"configs": ["ours = our_configs"]}, files)
    for function in ("config_files", "shipped"):
        of_all = getattr(registry, function)

        def of_few(kind: registry.Kind, of_all: object = of_all) -> object:
            return {name: found for name, found in of_all(kind).items() if kind != "backbone" or name in FEW}

        monkeypatch.setattr(registry, function, of_few)


@pytest.mark.usefixtures("_hospital")
def test_the_table_shows_it_as_broken_and_the_others_as_they_are(adbench) -> None:
    table = adbench("list", "backbones")
    assert table.code == 0, table.err
    rows = {line.split()[1]: line for line in table.out.splitlines() if line.startswith("│")}
    assert "broken: backbone.model=torn.json" in rows["torn"]
    assert "torn.json can't be read as JSON" in rows["torn"]
    assert "gone.json is not there" in rows["gone"]
    assert "broken" not in rows["whole"] + rows["phantom-clip"]


@pytest.mark.usefixtures("_hospital")
def test_the_backbones_that_would_do_leave_it_out(adbench) -> None:
    refused = adbench("plan", "method=clip", "backbone=resnet-18", "backbone.weights=random")
    assert refused.code == 2
    assert "Backbones that do: phantom-clip, whole." in refused.err


@pytest.mark.usefixtures("_hospital")
def test_who_names_it_is_told_in_one_sentence(adbench) -> None:
    plan = adbench("plan", "method=patchcore", "backbone=torn,whole", "backbone.weights=random")
    assert plan.code == 2
    assert plan.err.startswith("adbench: backbone.model=torn.json (backbone 'torn') is not possible: ")
    assert plan.err.count("\n") == 1
    assert adbench("plan", "method=patchcore", "backbone=whole,phantom-clip", "backbone.weights=random").code == 0
