"""A backbone of a package: the one that docs/backbones.md prints, with a smaller model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from adbench.backbone.config import BackboneConfig
from adbench.config import layers
from tests.adbench.plugins.packages import files_printed, pip_install

PAGE = Path(__file__).parents[3] / "docs" / "backbones.md"


def test_the_backbone_of_the_page_is_installed_and_found_as_printed(
    adbench, site: Path, tiny: Path, tmp_path: Path
) -> None:
    section = PAGE.read_text().partition("\n## A backbone of your own\n")[2].partition("\n## ")[0]
    for line in ("model: vit_large_patch16_224", "levels: [12, 16, 20, 24]", "weights: our_vit.safetensors"):
        assert line in section
    section = section.replace("vit_large_patch16", "vit_tiny_patch16").replace("[12, 16, 20, 24]", "[6, 8, 10, 12]")
    assert len(files_printed(section)) == 2
    for name in re.findall(r"(?<=touch )(.*)", section)[0].split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, init_values=1e-5)
    folder = tmp_path / "hospital" / "hospital" / "configs" / "backbone"
    folder.mkdir()
    save_file(model.state_dict(), folder / "our_vit.safetensors")
    pip_install(section, tmp_path, site)

    assert layers.section(BackboneConfig, "backbone", "our-vit").levels == (6, 8, 10, 12)
    (line,) = (line for line in adbench("list", "backbones").out.splitlines() if " our-vit " in line)
    assert re.search(r"ViT-L/16 of our hospital .* here +│$", line)
    words = ["shots=1", "gallery=0", f"data_root={tiny}", f"runs={tmp_path / 'runs'}"]
    answer = adbench("run", "method=patchcore", "backbone=our-vit", *words)
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("word", ["./x.yaml", "x.yaml", "configs/x"])
def test_a_backbone_given_as_a_file_is_told_how_yaml_comes_in(adbench, word: str) -> None:
    answer = adbench("run", "method=patchcore", f"backbone={word}")
    assert answer.code == 2
    assert f"backbone={word} is not possible: a backbone is named" in answer.err
    assert "in the group adbench.configs: see docs/backbones.md, A backbone of your own" in answer.err
    assert "## A backbone of your own" in PAGE.read_text()
