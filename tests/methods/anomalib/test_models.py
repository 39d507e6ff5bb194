"""anomalib's models with random weights, where the package is installed: `make test-anomalib`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save, save_file
from torch import Tensor

from adbench import load
from adbench.backbone.build import build
from adbench.backbone.weights import weights_file
from adbench.blocks.maps import gaussian_blur
from adbench.blocks.memory_bank import farthest_first, nearest
from adbench.blocks.pyramid import mean_pooled, patch_vectors
from adbench.config.schema import OWN
from adbench.data.fingerprint import CONTENT
from adbench.errors import AdbenchError
from adbench.method import Batch, Method, Support
from adbench.methods.anomalib import Anomalib
from adbench.records.record import read_all

pytest.importorskip("anomalib", reason="the extra `anomalib` is not installed: make test-anomalib")
pytestmark = pytest.mark.slow

SIZE = 64
RESNET = {"backbone": "resnet18"}
QUICK: dict[str, dict[str, Any]] = {
    "Padim": RESNET,
    "Patchcore": RESNET,
    "Cflow": RESNET | {"coupling_blocks": 2, "fiber_batch_size": 4},
    "ReverseDistillation": RESNET,
    "Fastflow": RESNET | {"flow_steps": 2},
    "Stfpm": RESNET,
    "Supersimplenet": {"backbone": "resnet18.tv_in1k"},
    "Draem": {},
    "Glass": RESNET,
    "Patchflow": RESNET,
    "Rad": {"backbone": "vit_small_patch16_dinov3"},
}
FETCHED = {"Stfpm": "resnet18", "Supersimplenet": "resnet18.tv_in1k", "Glass": "resnet18"}  # from the hub alone


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(0, 256, (4, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def support_of(images: Tensor) -> Support:
    n, none = len(images), torch.zeros(len(images), *images.shape[2:], dtype=torch.bool)
    return Support(images, torch.zeros(n, dtype=torch.long), none, none.any((1, 2)), ("i",) * n, ("d",) * n, ("o",) * n)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """An empty Hugging Face cache without network, into which a network's random weights can be put, as `HF_HOME`."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(network: str) -> Path:
        import timm

        config = timm.models.get_pretrained_cfg(network)
        folder = tmp_path / "hub" / f"models--{config.hf_hub_id.replace('/', '--')}"
        (folder / "snapshots" / "0").mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("0")
        with torch.random.fork_rng():
            state = timm.create_model(network.partition(".")[0]).state_dict()
        save_file(state, folder / "snapshots/0/model.safetensors")
        return folder / "snapshots/0/model.safetensors"

    return put


@pytest.fixture
def new(tmp_path: Path, hub: Callable[[str], Path]) -> Callable[..., Method[Any]]:
    """Build a model: with random weights where it can, else with a network's from the cache."""

    def made(model: str, seed: int = 0, weights: str | None = "random", recorded: bool = False) -> Method[Any]:
        textures = tmp_path / "textures" if model in ("Draem", "Glass") else None
        if textures is not None and not textures.exists():
            from PIL import Image

            textures.mkdir()
            noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(noise).save(textures / "a.png")
        if model in FETCHED or model == "Draem":
            weights = None
        if model in FETCHED and not (tmp_path / "hub").exists():
            hub(FETCHED[model])
        params = Anomalib.Params(
            model=model, args=QUICK[model], epochs=1, batch_size=2, textures=str(textures) if textures else None
        )
        size = 256 if model == "Supersimplenet" else SIZE
        backbone = build(OWN, Anomalib.own_backbone(params, weights), size)
        if textures and recorded:  # a record has the hash of the pictures' content, and not the pictures
            params = replace(params, textures=f"{CONTENT}0")
        return Anomalib.create(params, backbone, seed)

    return made


def scored(method: Method[Any], images: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        found = method.eval().score(Batch.of(method, images, "d", "o"))
    assert found.maps is not None
    return found.image, found.maps


@pytest.mark.parametrize("model", sorted(QUICK))
def test_a_model_is_fitted_scored_and_rebuilt_to_the_bit(new, images: Tensor, model: str) -> None:
    if model == "Supersimplenet":  # its noise needs a large map of features
        images = torch.nn.functional.interpolate(images, size=(256, 256))
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    method = new(model)
    method.prepare(support_of(images))
    score, maps = scored(method, images)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()  # noqa: NPY002
    assert score.shape == (4,)
    assert maps.ndim == 3
    assert torch.isfinite(score).all()
    assert torch.isfinite(maps).all()
    again = new(model)
    again.prepare(support_of(images))
    torch.manual_seed(1)
    assert all(torch.equal(a, b) for a, b in zip(scored(again, images), (score, maps), strict=True)), "another fit"
    other = new(model, seed=9, recorded=True)
    state = {name: value.contiguous().clone() for name, value in method.state_dict().items()}
    other.load_fitted(from_bytes(save(state)))
    assert all(torch.equal(a, b) for a, b in zip(scored(other, images), (score, maps), strict=True)), "from the record"
    alone = torch.cat([scored(method, image)[0] for image in images.split(1)])
    assert torch.equal(alone, score)


def test_a_record_holds_no_tensor_of_the_weights_file(new, images: Tensor, hub) -> None:
    method = new("Stfpm")
    method.prepare(support_of(images))
    saved = method.state_dict()
    assert not [name for name in saved if "teacher" in name and saved[name].ndim >= 2]
    assert [name for name in saved if "student" in name and saved[name].ndim >= 2]


def test_a_file_of_weights_is_read_into_the_network(new, images: Tensor, hub, tmp_path: Path) -> None:
    file = hub("resnet18")
    scores = []
    for weights in (str(file), None):  # None: timm reads the same file from the cache
        method = new("Padim", weights=weights)
        assert weights_file(method.backbone.config, OWN) == file
        method.prepare(support_of(images))
        state = method.state_dict()
        assert not [name for name in state if "feature_extractor" in name and state[name].ndim == 4]
        scores.append(scored(method, images)[0])
    assert torch.equal(*scores)
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "half.safetensors")
    with pytest.raises(AdbenchError, match=r"half.safetensors does not hold .*, which the network of anomalib's Padim"):
        new("Padim", weights=str(tmp_path / "half.safetensors"))


def test_an_argument_that_a_constructor_does_not_take_is_said() -> None:
    params = Anomalib.Params(model="Padim", args={"colour": 1})
    backbone = build(OWN, Anomalib.own_backbone(params, "random"), SIZE)
    with pytest.raises(
        AdbenchError, match=r"anomalib's Padim can't be built with method.args=\{'colour': 1\}: .*colour"
    ):
        Anomalib.create(params, backbone)


def test_timm_is_left_as_it_was(new) -> None:
    import timm.models.vision_transformer as vit

    before = vit.resample_abs_pos_embed
    new("Padim")
    assert vit.resample_abs_pos_embed is before
    assert not hasattr(before, "_anomalib_no_antialias")


def test_images_are_resized_as_in_training(new, images: Tensor) -> None:
    method = new("Padim")
    large = torch.rand(1, 3, 8 * SIZE, 8 * SIZE)
    transform = method.inner.pre_processor.transform
    assert float((transform(large) - method.inner.pre_processor(large)).abs().max()) > 0.1, "the trap is still there"
    assert float(transform(large).std()) < float(method.inner.pre_processor(large).std())


def test_padim_passes_the_conformance_kit(adbench) -> None:
    answer = adbench("check-method", "anomalib", "method.model=Padim", "backbone.weights=random")
    assert answer.code == 0, answer.out + answer.err


def test_a_cell_is_run_kept_and_read_back(adbench, tmp_path: Path, tiny: Path) -> None:
    words = ["method=anomalib", "backbone.weights=random", "shots=2", f"input_size={SIZE}", "gallery=0"]
    answer = adbench("run", *words, f"data_root={tiny}", f"runs={tmp_path / 'runs'}")
    assert answer.code == 0, answer.err
    assert "resnet18, the network of anomalib, has random weights" in answer.out
    assert "backbone resnet18" in answer.out
    (record,) = read_all(tmp_path / "runs")
    table = record.predictions()
    (picture,) = tiny.rglob(f"test/**/img/{Path(table['image'][0]).name}")
    again = load(record).score(picture)
    assert float(again.image[0]) == pytest.approx(float(table["score"][0]), rel=1e-6)
    board = adbench("leaderboard", tmp_path / "runs")
    assert "resnet18" in board.out
    assert adbench("verify", tmp_path / "runs").code == 0


def test_our_patchcore_is_anomalib_s_on_the_same_features(images: Tensor) -> None:
    from anomalib.models.components.sampling import KCenterGreedy
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    torch.manual_seed(0)
    theirs = PatchcoreModel(layers=["layer2", "layer3"], backbone="resnet18", pre_trained=False).eval()
    pictures = images.float() / 255

    def patches(some: Tensor) -> Tensor:
        with torch.no_grad():
            levels = [mean_pooled(level, 3, zeros=True) for level in theirs.feature_extractor(some).values()]
        return patch_vectors(levels, "bilinear", level_norm=False)

    support = patches(pictures).flatten(0, 1)
    projection = torch.randn(support.shape[1], 16)

    class Projected:
        """Their sampler's projection, by the same matrix."""

        def fit(self, points: Tensor) -> None: ...

        def transform(self, points: Tensor) -> Tensor:
            return points @ projection

    sampler = KCenterGreedy(support, 0.1)
    sampler.model = Projected()
    torch.manual_seed(3)
    first = int(torch.randint(high=len(support), size=(1,)))
    torch.manual_seed(3)
    taken = sampler.select_coreset_idxs()
    ours = farthest_first(support @ projection, len(taken), first)
    assert ours.tolist() == taken

    theirs.memory_bank = support[ours]
    queries = pictures.flip(3).contiguous()
    with torch.no_grad():
        found = theirs(queries).anomaly_map[:, 0]
    distance, _ = nearest(patches(queries).flatten(0, 1), support[ours])
    side = SIZE // 8
    grid = distance.view(len(queries), 1, side, side)
    nearest_pixels = torch.nn.functional.interpolate(grid, size=(SIZE, SIZE))[:, 0]  # as they upsample
    torch.testing.assert_close(gaussian_blur(nearest_pixels, 4.0), found, atol=1e-4, rtol=1e-4)


def test_a_folder_without_pictures_is_no_source_of_textures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to paste")
    params = Anomalib.Params(model="Draem", textures=str(tmp_path))
    with pytest.raises(AdbenchError, match="names a folder without pictures, which anomalib's Draem pastes"):
        Anomalib.create(params, build(OWN, Anomalib.own_backbone(params, None), SIZE))


def test_other_weights_named_for_a_record_of_a_model_that_fetches_are_refused(new) -> None:
    method = new("Stfpm")
    method.backbone.config.weights = "r18.safetensors"
    with pytest.raises(AdbenchError, match="Stfpm always takes the pretrained weights of resnet18"):
        Anomalib.create(method.params, method.backbone)


def test_what_a_model_says_of_too_few_images_is_passed_on_in_a_sentence(images: Tensor) -> None:
    params = Anomalib.Params(model="Cflow", args=RESNET, epochs=1, batch_size=2)  # 64 fibres a batch: there are 8
    method = Anomalib.create(params, build(OWN, Anomalib.own_backbone(params, "random"), SIZE))
    with pytest.raises(AdbenchError, match="anomalib's Cflow can't be fitted to these images: .*fibers"):
        method.prepare(support_of(images))
