"""MediCLIP: adapting CLIP for few-shot medical image anomaly detection (Zhang et al., MICCAI 2024, arXiv 2405.11315).

Learns from normal images alone: each epoch draws new anomalies into them. One linear adapter per level maps patches of
a frozen CLIP into the joint space, learnable prompts give a vector for each state, and a patch is as abnormal as it is
closer to the abnormal one. Where paper and code differ, the code is followed, but for `grey` (README.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from adbench.backbone.clip import Architecture
from adbench.blocks import synthesis
from adbench.blocks.losses import dice, finite, focal
from adbench.blocks.maps import patch_map, upsample
from adbench.blocks.precision import in_fp32, l2_normalize
from adbench.blocks.prompts import PromptLearner, Prompts, Words
from adbench.blocks.similarity import TextEmbeddings
from adbench.blocks.validate import choices, positive, some_of
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support

NORMAL = [
    "normal", "healthy", "negative", "unremarkable", "clear", "asymptomatic", "normal findings", "no findings",
    "in good health", "no evidence of disease",
]  # fmt: skip
ABNORMAL = [
    "abnormal", "positive", "symptomatic", "disease", "lesion", "pathological", "impaired", "evidence of disease",
    "abnormal finding", "pathological condition", "pathological abnormality",
]  # fmt: skip
Drawn = tuple[Tensor, Tensor, str, bool]


@dataclass
class Params:
    """Facets. The defaults are the authors' code but for `grey`; the README names the paper's where it differs."""

    epochs: int = 200
    batch_size: int = 8
    learning_rate: float = 1e-3
    levels: list[int] = field(default_factory=list)  # block numbers; empty: at 2/4, 3/4, 4/4 of the depth
    activation: str = "native"
    normalisation: str = "clip"
    grey: str = "none"  # none: colours stay; code: support (learn from grey images, score in colour); both: always grey
    anomalies: str = "synthetic"  # real: no synthesis, learn from abnormal images and their masks (paper, Table 5)
    tasks: list[str] = field(default_factory=lambda: ["cutpaste", "gauss", "source", "identity"])  # equally likely
    blend: str = "hard"  # how cutpaste joins; paper: poisson
    temperature: float = 1.0  # paper: 0.07
    average: str = "logits"  # what is averaged over the levels; paper: maps
    prompts: Prompts = field(default_factory=lambda: Prompts(list(NORMAL), list(ABNORMAL)))
    context_length: int = 8
    positions: list[str] = field(default_factory=lambda: ["end"])
    learn_tokens: bool = True  # ablation (Table 4): false, the words alone
    adapters: bool = True  # ablation (Table 4): false, CLIP's own final norm and projection


class MediCLIP(Method[Params]):
    """MediCLIP as a LightningModule. The trunk runs on every changed image anew; none of them enters the cache."""

    version = "2"
    editable = ("prompts",)

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone, or from real anomalies; the whole image tower is frozen."""
        _check(params)
        return Capability(
            support="normal" if params.anomalies == "synthetic" else "both",
            blocks=architecture.checked_levels(params.levels or architecture.levels(4)[1:]),
            epochs=params.epochs
            if params.adapters or params.learn_tokens
            else 0,  # the ablations leave nothing to train
            normalisation=params.normalisation,
            activation=params.activation,
            resize="bilinear",
            grey=params.grey == "both",
        )

    def build(self) -> None:
        """Create one linear adapter per level and the prompt learner, as far as the ablations leave them."""
        p, shape = self.params, self.backbone.architecture
        if p.adapters:
            self.adapters = nn.ModuleList(nn.Linear(shape.width, shape.embed_dim) for _ in self.blocks)
        if p.learn_tokens:
            self.learner = PromptLearner(self.backbone, p.prompts, p.context_length, p.positions)
        self.fixed = TextEmbeddings(self.backbone, p.prompts, ["{}."])
        self.text: dict[Words, Tensor] = {}

    def prepare(self, support: Support) -> None:
        """Keep the normal images, in which every epoch draws other anomalies; or real ones with their masks."""
        images = support.images if self.params.grey == "none" else luminance(support.images)
        if self.params.anomalies == "real":
            self.data: Dataset[Drawn] = RealAnomalies(images, _masks(support), support.object_names)
        else:
            makers = synthesis.tasks(self.params.tasks, list(images.numpy()), self.params.blend)
            self.data = Anomalies(images, support.object_names, makers, self.generator("anomalies").initial_seed())
        self.images = len(images)

    def train_dataloader(self) -> DataLoader[Drawn]:
        """Go through the support in a new order each epoch; `loader_workers=` processes draw the anomalies."""
        order, workers = EveryImage(self.images, self.generator("order").initial_seed()), self.loader_workers
        return DataLoader(
            self.data, self.params.batch_size, sampler=order, num_workers=workers, persistent_workers=workers > 0,
            generator=self.generator("workers"),
        )  # fmt: skip

    def training_step(self, batch: tuple[Tensor, Tensor, Sequence[str], Tensor], _: int) -> Tensor:
        """Focal and dice loss of the map against the synthetic mask."""
        images, masks, names, untouched = batch
        logit = self._map_logit(self._streams(images, untouched), self._texts(names, {}))
        masks = masks.float()
        return finite(focal=focal(logit, masks), dice=dice(logit.sigmoid(), masks))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate over adapters and prompts."""
        return torch.optim.Adam(self.parameters(), self.params.learning_rate, betas=(0.5, 0.999))

    def build_memory(self, support: Support) -> None:
        """Forget text vectors of earlier weights."""
        self.text = {}

    def score(self, batch: Batch) -> Scores:
        """Return the map of abnormal probability at input size; the image score is its maximum."""
        maps = self._map_logit(batch.features.blocks, self._texts(batch.object_names, self.text)).sigmoid()
        return Scores(maps.flatten(1).amax(1), maps)

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the abnormal probability that each level by itself would give."""
        logits = self._logits(batch.features.blocks, self._texts(batch.object_names, self.text))
        maps = [patch_map(level, self.backbone.input_size).sigmoid() for level in logits]
        return dict(zip(self.blocks, maps, strict=True))

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the last level behind its adapter, the mean over the patches."""
        return self._project(len(self.blocks) - 1, batch.features.blocks[self.blocks[-1]][:, 1:]).mean(1)

    @property
    def adapted_block(self) -> int:
        """The last level."""
        return self.blocks[-1]

    def _texts(self, names: Sequence[str], kept: dict[Words, Tensor]) -> Tensor:
        """Return unit vectors (B, 2, embed_dim), normal then abnormal; `kept` holds what need not be encoded again."""
        if not self.params.learn_tokens:
            return self.fixed(names)
        words = [self.learner.prompts.phrases(name) for name in names]
        for name, own in zip(names, words, strict=True):
            if own not in kept:
                kept[own] = self.learner(self.backbone, name)
        return torch.stack([kept[own] for own in words])

    def _project(self, level: int, tokens: Tensor) -> Tensor:
        """Map patches (B, patches, width) of a level, counted from 0, to unit vectors (B, patches, embed_dim)."""
        if not self.params.adapters:
            return l2_normalize(self.backbone.project(tokens))
        return l2_normalize(in_fp32(self.adapters[level], tokens))

    @torch.no_grad()
    def _streams(self, images: Tensor, untouched: Tensor) -> dict[int, Tensor]:
        """Run uint8 images (B, 3, H, W) through the trunk, but for those `untouched` (B,): these the cache knows."""
        known, new = untouched.nonzero()[:, 0], (~untouched).nonzero()[:, 0]
        parts = []
        if len(known):
            parts.append(self.encode(images[known].cpu()).to(self.device).blocks)
        if len(new):
            parts.append(self.backbone.features(images[new], self.blocks).blocks)
        order = torch.cat([known, new]).argsort()
        return {block: torch.cat([part[block] for part in parts])[order] for block in self.blocks}

    def _map_logit(self, blocks: Mapping[int, Tensor], text: Tensor) -> Tensor:
        """Return (B, H, W), whose sigmoid is the abnormal column of the softmax over both states' cosines."""
        logits, size = self._logits(blocks, text), self.backbone.input_size
        if self.params.average == "logits":
            return patch_map(logits.mean(0), size)
        both = torch.stack([-logits, logits], dim=-1).float().sigmoid().mean(0)
        normal, abnormal = upsample(both, size).log().unbind(1)
        return abnormal - normal

    def _logits(self, blocks: Mapping[int, Tensor], text: Tensor) -> Tensor:
        """Return (levels, B, patches): the abnormal column's cosine minus the normal one's."""
        # The softmax of two columns is the sigmoid of their difference, and cosines are linear in the text.
        direction = (text[:, 1] - text[:, 0]) / self.params.temperature
        return torch.stack([
            (self._project(level, blocks[block][:, 1:]) @ direction[:, :, None])[..., 0]
            for level, block in enumerate(self.blocks)
        ])  # fmt: skip


class Anomalies(Dataset[Drawn]):
    """Item `epoch * n + i` is image i as that epoch sees it: image (C, H, W) and mask (H, W), uint8, object's name,
    and whether nothing was changed.

    Nothing is kept between items and each has a generator of its own: the number of loader workers changes nothing.
    """

    def __init__(self, images: Tensor, names: Sequence[str], makers: Sequence[synthesis.Task], seed: int) -> None:
        self.images, self.names, self.makers, self.seed = images, names, makers, seed

    def __getitem__(self, index: int) -> Drawn:
        epoch, row = divmod(index, len(self.images))
        g = np.random.default_rng([self.seed, epoch, row])
        plain = self.images[row].numpy()
        image, mask = self.makers[int(g.integers(len(self.makers)))](plain, g)
        return torch.from_numpy(image), torch.from_numpy(mask), self.names[row], np.array_equal(image, plain)


class RealAnomalies(Dataset[Drawn]):
    """Item `epoch * n + i` is image i with its mask, in every epoch the same."""

    def __init__(self, images: Tensor, masks: Tensor, names: Sequence[str]) -> None:
        self.images, self.masks, self.names = images, masks, names

    def __getitem__(self, index: int) -> Drawn:
        row = index % len(self.images)
        return self.images[row], self.masks[row], self.names[row], True


class EveryImage(Sampler[int]):
    """All images once per epoch, in an order of that epoch; Lightning tells the epoch."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        return iter((self.epoch * self.count + order).tolist())

    def __len__(self) -> int:
        return self.count


def _masks(support: Support) -> Tensor:
    """Return the masks (N, H, W) of a support as uint8; every image must have one."""
    if not bool(support.has_mask.all()):
        raise AdbenchError(
            f"method.anomalies=real learns from masks, and {int((~support.has_mask).sum())} of the {len(support)} "
            f"support images have none (datasets {', '.join(sorted(set(support.datasets)))}). Train on datasets with "
            "masks, as in protocol=auxiliary train_on=mvtec."
        )
    return support.masks.to(torch.uint8)


def luminance(images: Tensor) -> Tensor:
    """Turn uint8 RGB (N, 3, H, W) into grey of three equal channels, as Pillow rounds it (ITU-R 601-2)."""
    weights = torch.tensor([19595, 38470, 7471]).view(1, 3, 1, 1)
    grey = (images.long() * weights).sum(1, keepdim=True) + 0x8000 >> 16
    return grey.to(torch.uint8).expand(-1, 3, -1, -1).contiguous()


def _check(p: Params) -> None:
    choices(
        p, anomalies=("synthetic", "real"), grey=("support", "both", "none"), blend=tuple(synthesis.BLENDS),
        average=("logits", "maps"),
    )  # fmt: skip
    some_of(p, tasks=synthesis.NAMES)
    positive(p, "temperature")
