"""`adbench.DataModule`: batches of any registered dataset for anybody's Lightning code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import nn

import adbench
from adbench.cells.resolve import resolve
from adbench.config import words as config
from adbench.data.decode import read_image

SMALL: dict[str, Any] = {"input_size": 28, "eval_size": 40}


@pytest.fixture
def module(tiny: Path):
    """Make a data module of the small brainmri set and set it up."""

    def make(dataset: str = "brainmri", **keys: Any) -> adbench.DataModule:
        data = adbench.DataModule(dataset, **{"data_root": tiny, "shots": 2} | SMALL | keys)
        data.setup()
        return data

    return make


@pytest.fixture
def unmasked(tmp_path: Path) -> Path:
    """Ten normal and ten abnormal images in folders, without masks."""
    rng = np.random.default_rng(1)
    for name in ("normal", "abnormal"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(rng.integers(0, 255, (30, 30), dtype=np.uint8)).save(tmp_path / "own" / name / f"{i}.png")
    return tmp_path / "own"


def rows(loader: Any) -> dict[str, Any]:
    """Join the batches of a loader."""
    batches = list(loader)
    return {
        key: torch.cat([batch[key] for batch in batches])
        if isinstance(value, torch.Tensor)
        else [text for batch in batches for text in batch[key]]
        for key, value in batches[0].items()
    }


def test_batches_have_the_documented_shapes_and_types(module) -> None:
    data = module(shots=1, batch_size=2)
    (held,) = data.val_dataloader()
    for loader, images, side in ((data.train_dataloader(), 2, 28), (data.test_dataloader(), 10, 40), (held, 6, 40)):
        first = next(iter(loader))
        size = len(first["id"])
        assert size == 2
        assert (first["image"].dtype, first["image"].shape) == (torch.uint8, (size, 3, 28, 28))
        assert (first["label"].dtype, first["label"].shape) == (torch.int64, (size,))
        assert (first["mask"].dtype, first["mask"].shape) == (torch.uint8, (size, 1, side, side))
        assert first["dataset"] == ["brainmri"] * size
        assert first["object_name"] == ["Brain"] * size
        everything = rows(loader)
        assert len(everything["id"]) == images
        assert set(everything["mask"].unique().tolist()) == {0, 1}
        covered = everything["mask"].flatten(1).any(1)
        assert torch.equal(covered, everything["label"] == 1), "abnormal images have a lesion, normal ones none"


def test_pixels_are_those_of_the_files(module) -> None:
    data = module()
    batch = rows(data.test_dataloader())
    for item, image in zip(data.test.items, batch["image"], strict=True):
        assert np.array_equal(image.numpy().transpose(1, 2, 0), read_image(item.path, 28))
    assert batch["id"] == data.test.ids
    assert batch["label"].tolist() == data.test.labels.tolist()


def test_a_dataset_without_masks_has_batches_without_masks(module, unmasked: Path) -> None:
    data = module("folder", data_root=unmasked)
    (held,) = data.val_dataloader()
    for loader in (data.train_dataloader(), held, data.test_dataloader()):
        assert set(next(iter(loader))) == {"image", "label", "id", "dataset", "object_name"}
    assert not data.support.has_mask.any()
    assert not data.support.masks.any()


def test_classes_say_what_the_support_holds(module) -> None:
    both, normal = module(), module(classes="normal")
    assert both.support.labels.tolist() == [0, 0, 1, 1]
    assert normal.support.ids == both.support.ids[:2]
    nothing = module(classes="none")
    assert (len(nothing.support), nothing.holdouts, nothing.val_dataloader()) == (0, (), [])
    assert list(nothing.train_dataloader()) == []
    assert nothing.support.images.shape == (0, 3, 28, 28)
    assert len(rows(nothing.test_dataloader())["id"]) == 10
    assert len(module(shots=0).support) == 0


def test_the_support_is_that_of_a_run(module, tiny: Path) -> None:
    for keys in ({"shots": 2, "draw": 3}, {"shots": "full", "draw": 0}):
        (cell,) = config.parse(["method=madclip", f"data_root={tiny}", *(f"{k}={v}" for k, v in keys.items())])
        manifest = resolve(cell).manifest
        assert module(**keys).support.ids == (*manifest.normal, *manifest.abnormal)


def test_draws_are_nested_and_differ(module) -> None:
    ids = [set(module(shots=shots, draw=1).support.ids) for shots in (1, 2, 3)]
    assert ids[0] < ids[1] < ids[2]
    assert len({module(shots=2, draw=draw).support.ids for draw in range(6)}) > 1


def test_a_support_list_replaces_the_draw(module, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("n-0: 00001_64.png 00000_60.png\na-0: 00010_61.png\n")
    for shots in (2, 0):
        data = module(shots=shots, support=tmp_path / "list.txt")
        assert [name.rpartition("/")[2] for name in data.support.ids] == [
            "00001_64.png",
            "00000_60.png",
            "00010_61.png",
        ]


def test_held_out_images_share_no_patient_with_the_support(module) -> None:
    for draw in range(4):
        data = module(shots=1, draw=draw)
        patients = {item.id: item.patient for item in data.target.items}
        (held,) = data.holdouts
        assert not {patients[name] for name in held.ids} & {patients[name] for name in data.support.ids}
        assert all(name.startswith("valid/") for name in (*held.ids, *data.support.ids))
        assert all(name.startswith("test/") for name in data.test.ids)


def test_batches_are_shuffled_by_the_seed(module) -> None:
    def order(**keys: Any) -> list[list[str]]:
        loader = module(shots=6, **keys).train_dataloader()
        return [rows(loader)["id"] for _ in range(2)]

    first, second = order(seed=0)
    assert sorted(first) == sorted(second)
    assert first != second, "each epoch has an order of its own"
    assert order(seed=0) == [first, second]
    assert order(seed=1) != [first, second]


def test_keys_of_the_dataset_apply(module, tiny: Path) -> None:
    (tiny / "Brain").rename(tiny / "Kopf")
    data = module(overrides={"dataset.folders": ["Kopf"], "dataset.object_name": "head, human", "dataset.masks": False})
    batch = next(iter(data.test_dataloader()))
    assert set(batch["object_name"]) == {"head, human"}
    assert "mask" not in batch


def test_grey_and_resize_apply(module, tiny: Path) -> None:
    path = sorted((tiny / "Brain/test/good/img").iterdir())[0]
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    colour, grey = (module(grey=state).test.images[0] for state in (False, True))
    assert (colour[..., 0] != colour[..., 1]).any()
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (module(resize="bilinear").test.images[0] != colour).any()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"shot": 4}, "unknown keyword 'shot' for DataModule: did you mean 'shots'?"),
        ({"clases": "normal"}, "did you mean 'classes'?"),
        ({"method": "madclip"}, "unknown keyword 'method' for DataModule"),
        ({"overrides": {"method.epochs": 3}}, "method.epochs has no effect on a DataModule"),
        ({"overrides": {"dataset.maskz": 3}}, "did you mean 'masks'?"),
        ({"overrides": {"dataset.table": "x.csv"}}, "dataset.table has no effect on brainmri"),
        ({"dataset": "brainmry"}, "did you mean 'brainmri'?"),
        ({"dataset": "bmad"}, "one configuration is needed"),
        ({"shots": [2, 4]}, "one configuration is needed"),
        ({"shots": -1}, "shots=-1 is not possible"),
        ({"shots": "some"}, "shots=some is not possible"),
        ({"shots": 7}, "6 normal and 6 abnormal"),
        ({"draw": -1}, "draw=-1 is not possible"),
        ({"batch_size": 0}, "batch_size=0 is not possible"),
        ({"input_size": 0}, "input_size=0 is not possible"),
        ({"eval_size": -3}, "eval_size=-3 is not possible"),
        ({"classes": "abnormal"}, "choose from none, normal, both"),
        ({"resize": "nearest"}, "choose from bicubic, bilinear"),
        ({"data_root": "/nowhere"}, "data_root=/nowhere is not a folder"),
        ({"support": "/nowhere.txt"}, "support=/nowhere.txt cannot be read"),
    ],
)
def test_a_wrong_keyword_is_one_sentence(module, keys: dict[str, Any], says: str) -> None:
    with pytest.raises(adbench.AdbenchError) as error:
        module(**keys)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unreadable_image_is_an_error_of_setup(module, tiny: Path) -> None:
    path = sorted((tiny / "Brain/test/good/img").iterdir())[0]
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(adbench.AdbenchError, match="cannot be read as an image"):
        module()


def test_before_setup_there_is_nothing_to_load(tiny: Path) -> None:
    data = adbench.DataModule("brainmri", data_root=tiny)
    for loader in (data.train_dataloader, data.val_dataloader, data.test_dataloader):
        with pytest.raises(adbench.AdbenchError, match="call setup"):
            loader()


class Brightness(pl.LightningModule):
    """A logistic regression on the mean of an image, scored by adbench's metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.scores = adbench.ImageScores()
        self.seen: dict[str, list[str]] = {"train": [], "val": [], "test": []}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.float().div(255).mean((1, 2, 3))[:, None])[:, 0]

    def training_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
        self.seen["train"] += batch["id"]
        return nn.functional.binary_cross_entropy_with_logits(self(batch["image"]), batch["label"].float())

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        self.seen["val"] += batch["id"]

    def test_step(self, batch: dict[str, Any], index: int) -> None:
        self.seen["test"] += batch["id"]
        self.scores.update(self(batch["image"]), batch["label"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=10.0)


def test_a_plain_trainer_fits_and_tests(tiny: Path, tmp_path: Path) -> None:
    data, model = adbench.DataModule("brainmri", data_root=tiny, shots=1, batch_size=4, **SMALL), Brightness()
    trainer = pl.Trainer(
        max_epochs=30, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, check_val_every_n_epoch=30, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    assert len(model.seen["train"]) == 30 * 2
    assert set(model.seen["train"]) == set(data.support.ids)
    assert model.seen["val"] == data.holdouts[0].ids
    assert model.seen["test"] == data.test.ids
    assert model.scores.compute()["image_auroc"] == 1.0, "a lesion is bright"
