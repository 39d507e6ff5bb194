"""MediCLIP: adapting CLIP for few-shot medical image anomaly detection (Zhang et al., MICCAI 2024, arXiv 2405.11315).

Trained, on normal images into which each epoch draws new synthetic anomalies: one linear adapter per level, which maps
patch tokens into the joint space, and learnable prompts, which give a text vector for each state; focal and dice losses
on the synthetic masks. Frozen: CLIP. Map: the probability of the abnormal state per pixel, from logits averaged over
the levels. Image score: the map's maximum. Where paper and code differ, the code is followed, except for `grey`
(README.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from adbench.backbone.clip import Architecture
from adbench.blocks import synthesis
from adbench.blocks.augment import luminance
from adbench.blocks.losses import dice, finite_sum, focal
from adbench.blocks.maps import patch_map, upsample
from adbench.blocks.precision import in_fp32, l2_normalize
from adbench.blocks.prompts import WINCLIP_TEMPLATES, Phrases, PromptLearner, Prompts
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
Sample = tuple[Tensor, Tensor, str, bool]  # image, mask, object name, whether the image is unchanged


@dataclass
class Params:
    """Hyper-parameters. The defaults are the authors' code except for `grey`; the README names the paper's."""

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
    ranges: synthesis.Ranges = field(default_factory=synthesis.Ranges)  # sizes and strengths of the anomalies
    temperature: float = 1.0  # paper: 0.07
    average: str = "logits"  # what is averaged over the levels; paper: maps
    prompts: Prompts = field(default_factory=lambda: Prompts(list(NORMAL), list(ABNORMAL)))
    context_length: int = 8
    positions: list[str] = field(default_factory=lambda: ["end"])
    learn_tokens: bool = True  # ablation (Table 4): false, the words in fixed templates
    templates: list[str] = field(default_factory=lambda: list(WINCLIP_TEMPLATES))  # of the words that are not learned
    adapters: bool = True  # ablation (Table 4): false, average pooling over channels


class MediCLIP(Method[Params]):
    """Adapters and learnable prompts over a frozen CLIP, which encodes changed images in every step, uncached."""

    version = "3"
    editable = ("prompts",)

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone, or from real anomalies; the whole image tower is frozen."""
        _check(params)
        return Capability(
            support="normal" if params.anomalies == "synthetic" else "both",
            blocks=architecture.checked_levels(params.levels or architecture.levels(4)[1:]),
            epochs=params.epochs if params.adapters or params.learn_tokens else 0,  # both ablations: nothing to train
            normalisation=params.normalisation,
            activation=params.activation,
            resize="bilinear",
            grey=params.grey == "both",
            text=True,
            word_vectors=True,
        )

    def build(self) -> None:
        """Create one linear adapter per level and the prompt learner, unless an ablation removes them."""
        p, shape = self.params, self.backbone.architecture
        if p.adapters:
            self.adapters = nn.ModuleList(nn.Linear(shape.width, shape.embed_dim) for _ in self.blocks)
        if p.learn_tokens:
            self.learner = PromptLearner(self.backbone, p.prompts, p.context_length, p.positions)
        self.fixed = TextEmbeddings(self.backbone, p.prompts, p.templates)
        self.text_cache: dict[Phrases, Tensor] = {}

    def prepare(self, support: Support) -> None:
        """Keep the normal images, into which each epoch draws other anomalies, or real anomalies with their masks."""
        images = support.images if self.params.grey == "none" else luminance(support.images)
        if self.params.anomalies == "real":
            self.data: Dataset[Sample] = RealAnomalies(images, _masks(support), support.object_names)
        else:
            tasks = synthesis.tasks(self.params.tasks, list(images.numpy()), self.params.blend, self.params.ranges)
            seed = self.generator("anomalies").initial_seed()
            self.data = SyntheticAnomalies(images, support.object_names, tasks, seed)
        self.images = len(images)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffle the support each epoch; `loader_workers=` processes draw the anomalies."""
        order, workers = EpochSampler(self.images, self.generator("order").initial_seed()), self.loader_workers
        return DataLoader(
            self.data, self.params.batch_size, sampler=order, num_workers=workers, persistent_workers=workers > 0,
            generator=self.generator("workers"),
        )  # fmt: skip

    def training_step(self, batch: tuple[Tensor, Tensor, Sequence[str], Tensor], _: int) -> Tensor:
        """Sum focal and dice loss of the map against the masks."""
        images, masks, names, unchanged = batch
        logit = self._map_logit(self._encode_training(images, unchanged), self._texts(names, {}))
        masks = masks.float()
        return finite_sum(focal=focal(logit, masks), dice=dice(logit.sigmoid(), masks))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate over adapters and prompts."""
        return torch.optim.Adam(self.parameters(), self.params.learning_rate, betas=(0.5, 0.999), fused=True)

    def build_memory(self, support: Support) -> None:
        """Drop text embeddings that were computed with earlier weights."""
        self.text_cache = {}

    def score(self, batch: Batch) -> Scores:
        """Return the abnormal probability per pixel at input size; the image score is its maximum."""
        maps = self._map_logit(batch.features.blocks, self._texts(batch.object_names, self.text_cache)).sigmoid()
        return Scores(maps.flatten(1).amax(1), maps)

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the abnormal probability per pixel of each level alone."""
        logits = self._logits(batch.features.blocks, self._texts(batch.object_names, self.text_cache))
        maps = [patch_map(level, self.backbone.input_size).sigmoid() for level in logits]
        return dict(zip(self.blocks, maps, strict=True))

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the mean over the patches of the last level's adapter output."""
        return self._project(len(self.blocks) - 1, batch.features.blocks[self.blocks[-1]][:, 1:]).mean(1)

    @property
    def adapted_block(self) -> int:
        """The last level."""
        return self.blocks[-1]

    def _texts(self, names: Sequence[str], cache: dict[Phrases, Tensor]) -> Tensor:
        """Return unit vectors (B, 2, embed_dim), normal then abnormal, and add to `cache` those that it lacks."""
        if not self.params.learn_tokens:
            return self.fixed(names)
        phrases = [self.learner.prompts.phrases(name) for name in names]
        for name, key in zip(names, phrases, strict=True):
            if key not in cache:
                cache[key] = self.learner(self.backbone, name)
        return torch.stack([cache[key] for key in phrases])

    def _project(self, level: int, tokens: Tensor) -> Tensor:
        """Map patches (B, patches, width) of a level, counted from 0, to unit vectors (B, patches, embed_dim)."""
        if not self.params.adapters:
            return l2_normalize(F.adaptive_avg_pool1d(tokens.float(), self.backbone.architecture.embed_dim))
        return l2_normalize(in_fp32(self.adapters[level], tokens))

    def _encode_training(self, images: Tensor, unchanged: Tensor) -> dict[int, Tensor]:
        """Return the features of uint8 images (B, 3, H, W), from the cache for those that are `unchanged` (B,).

        On a GPU all are computed there: which ones are unchanged would have to be read back.
        """
        on_cpu = images.device.type == "cpu"
        return self.encode(images, keep=unchanged if on_cpu else False, stay=not on_cpu).blocks

    def _map_logit(self, blocks: Mapping[int, Tensor], text: Tensor) -> Tensor:
        """Return logits (B, H, W), whose sigmoid is the abnormal column of the softmax over both states' cosines."""
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


class SyntheticAnomalies(Dataset[Sample]):
    """Support images with synthetic anomalies: item `epoch * n + i` is image i of n as that epoch shows it.

    An item is the image (C, H, W) and its mask (H, W), uint8, the object's name, and whether the image is unchanged.
    Each item has its own random generator, so that the number of loader workers changes nothing.
    """

    def __init__(self, images: Tensor, names: Sequence[str], tasks: Sequence[synthesis.Task], seed: int) -> None:
        self.images, self.names, self.tasks, self.seed = images, names, tasks, seed

    def __getitem__(self, index: int) -> Sample:
        epoch, row = divmod(index, len(self.images))
        g = np.random.default_rng([self.seed, epoch, row])
        original = self.images[row].numpy()
        image, mask = self.tasks[int(g.integers(len(self.tasks)))](original, g)
        return torch.from_numpy(image), torch.from_numpy(mask), self.names[row], np.array_equal(image, original)


class RealAnomalies(Dataset[Sample]):
    """Support images with their masks: item `epoch * n + i` is image i of n, the same in every epoch."""

    def __init__(self, images: Tensor, masks: Tensor, names: Sequence[str]) -> None:
        self.images, self.masks, self.names = images, masks, names

    def __getitem__(self, index: int) -> Sample:
        row = index % len(self.images)
        return self.images[row], self.masks[row], self.names[row], True


class EpochSampler(Sampler[int]):
    """All images once per epoch, in an order that depends on the epoch, which Lightning sets."""

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


def _check(p: Params) -> None:
    choices(
        p, anomalies=("synthetic", "real"), grey=("support", "both", "none"), blend=tuple(synthesis.BLENDS),
        average=("logits", "maps"),
    )  # fmt: skip
    some_of(p, tasks=synthesis.NAMES)
    positive(p, "temperature")
    p.ranges.check("method.ranges")
    if p.learn_tokens and p.templates != WINCLIP_TEMPLATES:
        raise AdbenchError(
            "method.templates has no effect on learned prompts: add method.learn_tokens=false, or leave it out."
        )
    if not p.templates or not all("{}" in template for template in p.templates):
        raise AdbenchError(
            f"method.templates=[{','.join(p.templates)}] is not possible: give at least one, each with {{}} for the "
            "word, as in method.templates=['a photo of a {}.']."
        )
