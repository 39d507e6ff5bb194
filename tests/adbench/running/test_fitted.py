"""A fitted method in Python: bounded batches, streams over folders and generators, and threads that share it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import adbench as ad
from adbench.errors import DataError
from adbench.method import Scores
from adbench.running.fitted import Pixels


@pytest.fixture(scope="module")
def fitted(applied: ad.Record) -> ad.Fitted:
    return ad.load(applied)


def arrays(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + n, 30, 3), dtype=np.uint8) for n in range(count)]


def test_a_batch_of_images_is_decoded_at_a_time(fitted: ad.Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    held, whole = [], Pixels.__getitem__
    monkeypatch.setattr(Pixels, "__getitem__", lambda self, rows: held.append(rows) or whole(self, rows))
    scores = fitted.score(arrays(5))
    assert [(rows.start, rows.stop) for rows in held] == [(0, 2), (2, 4), (4, 6)]
    assert scores.image.shape == (5,)
    assert scores.maps.shape == (5, 112, 112)


def test_a_folder_streams_with_the_scores_of_one_call(fitted: ad.Fitted, small: Path) -> None:
    folder = small / "test"
    paths = sorted(folder.rglob("img/*.png"))
    with pytest.warns(UserWarning, match=r"Left out in .*: 2 masks"):
        found = list(fitted.stream(folder))
    with pytest.warns(UserWarning, match=r"Left out in .*: 2 masks"):
        whole = fitted.score(folder)
    assert [one.image for one in found] == paths
    assert [one.score for one in found] == whole.image.tolist()
    assert all(np.array_equal(one.map, map_) for one, map_ in zip(found, whole.maps.numpy(), strict=True))
    (empty := small.parent / "empty").mkdir(exist_ok=True)
    with pytest.raises(DataError, match=r"empty holds no image"):
        next(fitted.stream(empty))


def test_masks_in_a_folder_are_left_out_with_a_warning(fitted: ad.Fitted, small: Path) -> None:
    place = small / "test" / "Ungood"
    with pytest.warns(UserWarning, match=r"Left out in .*: 2 masks, such as anomaly_mask/"):
        scores = fitted.score(place)
    assert torch.equal(scores.image, fitted.score(place / "img").image)


def test_a_generator_is_read_no_further_than_a_batch(fitted: ad.Fitted) -> None:
    read: list[int] = []

    def endless() -> Iterator[np.ndarray]:
        while True:
            read.append(len(read))
            yield arrays(1)[0]

    stream = fitted.stream(endless())
    assert np.isfinite(next(stream).score)
    assert len(read) == 2
    next(stream), next(stream)
    assert len(read) == 4


def test_an_image_that_cannot_be_read_ends_the_stream_or_is_left_out(fitted: ad.Fitted, tmp_path: Path) -> None:
    for name in ("a.png", "c.png", "d.png"):
        Image.fromarray(arrays(1)[0]).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"b\.png cannot be read as an image"):
        list(fitted.stream(tmp_path))
    left: list[DataError] = []
    found = list(fitted.stream(tmp_path, left.append))
    assert [one.image.name for one in found] == ["a.png", "c.png", "d.png"]
    assert len(left) == 1
    assert "b.png" in str(left[0])


def test_threads_share_a_method_and_get_equal_bits(fitted: ad.Fitted) -> None:
    images = arrays(6)
    alone = [fitted.score(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            for one, other in zip(alone, pool.map(fitted.score, images), strict=True):
                assert torch.equal(one.image, other.image)
                assert torch.equal(one.maps, other.maps)
        streams = list(pool.map(lambda _: [one.score for one in fitted.stream(images)], range(3)))
    assert streams[0] == streams[1] == streams[2] == fitted.score(images).image.tolist()


class Ranks:
    """Observes images, and scores each by how many of those are darker: state that threads could mix up."""

    def __init__(self, method: object) -> None:
        self.backbone, self.seen, self.busy, self.shown = method.backbone, None, threading.Lock(), 0

    def eval(self) -> None:
        pass

    def observe(self, images: np.ndarray) -> None:
        self.seen, self.shown = sorted(images[:].mean((1, 2, 3)).tolist()), self.shown + 1

    def score(self, array: np.ndarray) -> Scores:
        assert self.busy.acquire(blocking=False), "two threads score at once"
        try:
            return Scores(torch.tensor([float(sum(s < one for s in self.seen)) for one in array.mean((1, 2, 3))]))
        finally:
            self.busy.release()


def test_a_transductive_method_sees_each_callers_images(fitted: ad.Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks(fitted.method)
    monkeypatch.setattr("adbench.running.fitted.show_test_images", lambda method, images, *how: method.observe(images))
    monkeypatch.setattr(
        "adbench.running.fitted.score_images", lambda method, array, *how: iter([(0, method.score(array))])
    )
    compared = dataclasses.replace(
        fitted, method=ranks, capability=dataclasses.replace(fitted.capability, transductive=True, maps=False)
    )
    few, many = (
        [np.full((8, 8), 20 * n, np.uint8) for n in range(3)],
        [np.full((8, 8), 9 * n, np.uint8) for n in range(5)],
    )
    assert compared.score(few).image.tolist() == [0, 1, 2]
    assert ranks.shown == 1, "one showing for all batches of a call"
    one, other = compared.stream(few), compared.stream(many)
    mixed = [next(which).score for which in (one, other, one, other, other, one, other, other)]
    assert mixed == [0, 0, 1, 1, 2, 2, 3, 4]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda images: compared.score(images).image.tolist(), [few, many] * 8))
    assert found == [[0, 1, 2], [0, 1, 2, 3, 4]] * 8
