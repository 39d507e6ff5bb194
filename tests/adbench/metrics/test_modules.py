import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from adbench.errors import AdbenchError
from adbench.metrics import Histogram, ImageScores, PixelHistogram, exact_pixel, image_metrics
from adbench.metrics.modules import _pack, _unpack

RANKS = 2
LIMITS = {"max_distinct": 50, "bins": 256}


def maps(images=5, seed=0):
    rng = np.random.default_rng(seed)
    masks = rng.random((images, 12, 12)) < 0.2
    return torch.from_numpy((rng.normal(size=masks.shape) + masks).astype(np.float32)), torch.from_numpy(masks)


def assert_close(found, expected):
    # region weights are sums whose order depends on the batches
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_pixel_histogram_computes_resets_and_clones():
    scores, masks = maps()
    metric = PixelHistogram()
    for i in range(5):
        metric.update(scores[i], masks[i])
    figures = metric.compute()
    for name, value in exact_pixel(scores, masks).items():
        assert float(figures[name]) == pytest.approx(value, abs=1e-9)
        assert float(figures[f"{name}_half_width"]) == 0
    copy = metric.clone()
    metric.reset()
    assert metric.histogram.n_negative == 0
    with pytest.raises(AdbenchError), pytest.warns(UserWarning, match="before"):
        metric.compute()
    assert copy.compute() == figures


def test_forward_gives_the_batch_and_keeps_the_whole():
    scores, masks = maps()
    metric = PixelHistogram(**LIMITS)
    metric.update(scores[:2], masks[:2])
    alone = PixelHistogram(**LIMITS)
    alone.update(scores[2:], masks[2:])
    whole = PixelHistogram(**LIMITS)
    whole.update(scores, masks)
    assert metric(scores[2:], masks[2:]) == alone.compute()
    assert_close(metric.compute(), whole.compute())
    assert metric.update_count == 2


def test_merge_state():
    scores, masks = maps()
    first, second, whole = (PixelHistogram(**LIMITS) for _ in range(3))
    first.update(scores[:2], masks[:2])
    first.compute()
    second.update(scores[2:], masks[2:])
    whole.update(scores, masks)
    first.merge_state(second)
    assert_close(first.compute(), whole.compute())
    with pytest.raises(ValueError, match="dict"):
        first.merge_state({})

    images = [ImageScores(0.5) for _ in range(3)]
    images[0].update(scores[:2, 0, 0], masks[:2, 0, 0])
    images[1].update(scores[2:, 0, 0], torch.tensor([0, 1, 1]))
    images[2].update(scores[:, 0, 0], torch.cat([masks[:2, 0, 0], torch.tensor([False, True, True])]))
    images[0].merge_state(images[1])
    assert images[0].compute() == images[2].compute()


@pytest.mark.parametrize("threshold", [None, 0.25])
def test_image_scores(threshold):
    scores, labels = torch.tensor([0.1, 0.2, 0.3, 70.0], dtype=torch.bfloat16), torch.tensor([0, 1, 0, 1])
    metric = ImageScores(threshold)
    metric.update(scores[:1], labels[:1])
    assert metric(scores[1:], labels[1:])["image_auroc"] == 0.5
    expected = {k: v for k, v in image_metrics(scores, labels, threshold).items() if v is not None}
    assert {k: float(v) for k, v in metric.compute().items()} == expected
    assert ("image_accuracy" in expected) == (threshold is not None)
    metric.reset()
    metric.update(scores, 1 - labels)
    assert metric.compute()["image_auroc"] == 0.25
    with pytest.raises(AdbenchError, match=r"\(2,\) and labels \(1,\)"):
        metric.update(scores[:2], labels[:1])


def share(child, folder):
    """One rank: its uneven part of the images, the figures of all of them, then its own part again."""
    rank = child + 1  # the test itself is rank 0
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS, timeout=timedelta(seconds=120)
    )
    scores, masks = maps()
    part = slice(0, 4) if rank == 0 else slice(4, 5)
    pixel, image = PixelHistogram(**LIMITS), ImageScores(0.0)
    lonely = PixelHistogram(), ImageScores()  # rank 1 sees nothing
    pixel.update(scores[part], masks[part])
    image.update(scores[part, 0, 0].double(), torch.tensor([0, 1, 0, 1, 1])[part])
    if rank == 0:
        lonely[0].update(scores, masks)
        lonely[1].update(scores[:, 0, 0].double(), torch.tensor([0, 1, 0, 1, 1]))
    found = {"pixel": pixel.compute(), "image": image.compute(), "lonely": [m.compute() for m in lonely]}
    found["own"] = pixel.histogram.n_negative
    pixel.update(scores[part], masks[part])  # still counts after the exchange
    found["twice"] = pixel.compute()
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_with_uneven_parts(tmp_path):
    other = mp.spawn(share, args=(str(tmp_path),), nprocs=RANKS - 1, join=False)
    share(-1, str(tmp_path))
    other.join()
    scores, masks = maps()
    whole, exact, images = PixelHistogram(**LIMITS), PixelHistogram(), ImageScores(0.0)
    whole.update(scores, masks)
    exact.update(scores, masks)
    images.update(scores[:, 0, 0], torch.tensor([0, 1, 0, 1, 1]))
    twice = whole.clone()
    twice.update(scores, masks)
    for rank in range(RANKS):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for seen, expected in [
            (found["pixel"], whole.compute()),
            (found["image"], images.compute()),
            (found["lonely"][0], exact.compute()),
            (found["twice"], twice.compute()),
        ]:
            assert_close(seen, expected)
        assert float(found["lonely"][1]["image_auroc"]) == float(images.compute()["image_auroc"])
        part = masks[:4] if rank == 0 else masks[4:]
        assert found["own"] == int((~part).sum())


def test_window_larger_than_a_batch_travels():
    # a dense window on one side and a short table on the other
    scores, masks = maps()
    dense, short = Histogram(**LIMITS), Histogram(**LIMITS)
    dense.update(scores, masks)
    short.update(scores[:1, :2, :2], masks[:1, :2, :2])
    back = [Histogram.from_arrays(a, **LIMITS) for a in _unpack(torch.cat([_pack(h) for h in (dense, short)]))]
    for one, other in zip(back, (dense, short), strict=True):
        a, b = one.to_arrays(), other.to_arrays()
        assert all(np.array_equal(a[name], b[name]) for name in b)


def test_figures_alone_do_not_import_torch():
    code = "import sys, adbench.metrics; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
