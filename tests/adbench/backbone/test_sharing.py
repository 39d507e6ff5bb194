"""Several workers ask for the same frozen features."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import torch

from adbench.backbone.contract import Backbone
from adbench.backbone.features import FrozenFeatures
from adbench.backbone.outputs import Outputs


def test_features_are_computed_by_one_of_two(random_clip: Backbone, noise: torch.Tensor, tmp_path: Path) -> None:
    calls = []

    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(random_clip, name)

        def features(self, images: torch.Tensor, *args: object) -> object:
            calls.append(len(images))
            time.sleep(0.05)
            return random_clip.features(images, *args)

    frozen = FrozenFeatures(Slow(), "w", Outputs((3,)), "32-true", tmp_path)
    frozen.sizes = (4, 8)
    threads = [threading.Thread(target=frozen, args=(noise,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [4]
