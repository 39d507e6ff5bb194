"""TGUMIAD: one model for several medical datasets, from normal images and text (paper without public code).

Trained, on normal images: a fusion module, in which patch features attend to sentences about both states of their
dataset's organ, and UniAD's transformer, which reconstructs the features from the fused ones, disturbed by noise.
Frozen: CLIP. Map: per patch the squared error and the structural dissimilarity between reconstructed and frozen
features. Image score: a weighted sum of the map's maximum, mean and top-k mean over patches. For each point that the
paper leaves open there is a hyper-parameter (README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from adbench.backbone.clip import Architecture
from adbench.blocks import denoiser, jitter
from adbench.blocks.denoiser import Attention, FeedForward, denoiser_of, initialise
from adbench.blocks.losses import finite_sum
from adbench.blocks.maps import patch_map
from adbench.blocks.precision import l2_normalize
from adbench.blocks.prompts import Prompts
from adbench.blocks.rows import Rows, names_of
from adbench.blocks.ssim import ssim_channels, ssim_space
from adbench.blocks.training import ClippedGradients, adamw_with_a_drop, require_normal, shuffled
from adbench.blocks.validate import at_least, choices, odd, positive, shares, some_of
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support

# A normal and an abnormal sentence for each object name; the first three are the paper's.
SENTENCES = {
    "Brain": (
        "This is a normal brain MRI scan. No mass, lesion, or abnormal enhancement is seen.",
        "This MRI shows a hyperintense lesion in the right frontal lobe with surrounding edema and midline shift.",
    ),
    "retinal OCT": (
        "Healthy retina with continuous and well-organized layers.",
        "Intraretinal cysts and fluid accumulation in the macular region, with disrupted retinal architecture.",
    ),
    "Liver": (
        "Homogeneous hepatic parenchyma with smooth contours and no visible lesion.",
        "Hypodense mass in segment VI showing irregular borders and capsular retraction.",
    ),
    "Chest X-ray film": (
        "Clear lungs on both sides with sharp costophrenic angles and no opacity.",
        "Patchy opacity in the right lower lung with blurred margins.",
    ),
    "histopathological image": (
        "Regular lymph node tissue with small uniform nuclei.",
        "Tumour tissue with crowded, enlarged and irregular nuclei.",
    ),
}


@dataclass
class Params:
    """Hyper-parameters. The defaults are the paper's, or UniAD's where it follows UniAD; README.md has the rest."""

    epochs: int = 100
    epoch_images: int = 0  # an epoch shows at least this many images, repeated with new noise
    batch_size: int = 8
    learning_rate: float = 2e-4
    weight_decay: float = 1e-4
    clip_norm: float = 0.1  # of the gradient; 0: no clipping
    decay_at: float = 0.8  # after this share of the epochs the rate falls to a tenth
    levels: list[int] = field(default_factory=list)  # block numbers, concatenated; empty: the last block
    activation: str = "native"
    normalisation: str = "imagenet"  # as the paper says; what CLIP was trained with: clip
    feature_norm: str = "layer"  # layer: each patch and level to mean 0, variance 1; none: as the blocks leave them
    width: int = 128
    heads: int = 8
    encoder_layers: int = 4
    decoder_layers: int = 4
    feed_forward: int = 1024
    dropout: float = 0.1
    neighbours: int = 0  # side of the masked window, odd; 0: half of the grid, which is the paper's 7 on 14 x 14
    mask: str = "blocked"  # blocked: no patch sees its window (UniAD); allowed: it sees nothing else; none
    fusion: bool = True  # false: the paper's ablation without text
    states: list[str] = field(default_factory=lambda: ["normal", "abnormal"])  # whose sentences are fused
    prompts: Prompts = field(default_factory=lambda: Prompts([], []))  # empty: SENTENCES, by object name
    text_norm: bool = True  # sentence vectors of length 1; false: as CLIP's text tower leaves them
    jitter: list[str] = field(default_factory=lambda: ["spatial", "frequency"])  # one per batch, equally likely
    jitter_scale: float = 20.0
    jitter_channels: int = 0  # at which a scale means this share of noise: UniAD has 272; 0: those of the features
    high_share: float = 0.3  # of the spatial frequencies
    target: str = "frozen"  # what is reconstructed: frozen features; fused: the fusion's output
    error_factor: float | None = None  # of ||.||^2 in score and loss; null: 1 / channels, which makes it a mean
    loss: str = "mse"  # score: the formula of the score
    score: str = "mix"  # mix: l mse + (1 - l) (1 - ssim), Eq. 7; sum: mse + l (1 - ssim), Eq. 5
    score_weight: float = 0.5  # l
    ssim: str = "space"  # over a window of patches, per channel; channels: within a patch, over its channels
    ssim_window: int = 3
    image_weights: list[float] = field(default_factory=lambda: [1 / 3, 1 / 3, 1 / 3])  # of maximum, mean, top-k mean
    learn_weights: bool = False  # true: image_weights are where a softmax over three learned numbers starts
    top_k: int = 5  # patches


class Fusion(nn.Module):
    """Cross-attention from patches to sentences, self-attention, MLP, each with a residual and a layer norm."""

    def __init__(self, width: int, text_width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(text_width, width)
        self.cross = Attention(width, heads, dropout)
        self.own = Attention(width, heads, dropout)
        self.feed_forward = FeedForward(width, 4 * width, dropout)

    def forward(self, tokens: Tensor, text: Tensor) -> Tensor:
        """Map (B, N, width) and sentence vectors (B, T, text width) to (B, N, width)."""
        tokens = self.cross(tokens, self.project(text))
        fused: Tensor = self.feed_forward(self.own(tokens, tokens))
        return fused


class TGUMIAD(ClippedGradients, Method[Params]):
    """Fusion and denoising transformer over cached features of a frozen CLIP."""

    editable = ("prompts",)

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone; both towers are frozen."""
        _check(params)
        return Capability(
            support="normal",
            blocks=architecture.checked_levels(params.levels or (architecture.depth,)),
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
            text=True,
        )

    def build(self) -> None:
        """Create projections, fusion and denoiser."""
        p, shape = self.params, self.backbone.architecture
        channels = shape.width * len(self.blocks)
        self.enter, self.leave = nn.Linear(channels, p.width), nn.Linear(p.width, channels)
        if p.fusion:
            self.fusion = Fusion(p.width, shape.embed_dim, p.heads, p.dropout)
        self.denoiser = denoiser_of(p, self.backbone.grid)
        initialise(self)
        if p.learn_weights:
            self.weight_logits = nn.Parameter(torch.tensor(p.image_weights).log())
        self.text_cache: dict[str, Tensor] = {}

    def prepare(self, support: Support) -> None:
        """Keep the frozen features of the normal images and the sentences of their objects."""
        require_normal(len(support), "tgumiad")
        features = self.encode(support.images, "encoding the support")
        self.names, objects = support.objects()
        self.data = Rows(objects, *(features.blocks[block] for block in self.blocks)).placed(
            self.device, self.features_gb
        )
        self.noise = self.generator("jitter")

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the images, and repeat them in a new order until `epoch_images` are shown."""
        p = self.params
        return shuffled(self.data, p.batch_size, p.epoch_images, self.generator("order"))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Reconstruct features from disturbed ones; the target is undisturbed."""
        objects, *streams = batch
        target, output = self._reconstruct(streams, names_of(self.names, objects))
        if self.params.loss == "score":
            terms = {"reconstruction": self._difference(target, output).mean()}
        else:
            factor = self.params.error_factor
            scale = 1.0 if factor is None else factor * target.shape[-1]
            terms = {"reconstruction": scale * F.mse_loss(output, target)}
        if self.params.learn_weights:  # of the patches as they are: the network learns from the reconstruction alone
            terms["image score"] = self._pooled(self._difference(target, output).detach()).mean()
        return finite_sum(**terms)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; the learning rate drops once, to a tenth."""
        p = self.params
        return adamw_with_a_drop(self.parameters(), p.learning_rate, p.weight_decay, p.epochs, p.decay_at)

    def score(self, batch: Batch) -> Scores:
        """Return the differences as the map; the image score weighs its maximum, mean and top-k mean over patches."""
        target, output = self._reconstruct([batch.features.blocks[block] for block in self.blocks], batch.object_names)
        patches = self._difference(target, output)
        return Scores(self._pooled(patches), patch_map(patches, self.backbone.input_size))

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the map of each level's own channels; nothing for target=fused, where levels are mixed."""
        if self.params.target == "fused":
            return {}
        pair = self._reconstruct([batch.features.blocks[block] for block in self.blocks], batch.object_names)
        levels = zip(self.blocks, *(tokens.chunk(len(self.blocks), dim=-1) for tokens in pair), strict=True)
        return {block: patch_map(self._difference(t, o), self.backbone.input_size) for block, t, o in levels}

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the mean over the patches of the fused features."""
        return self._fuse([batch.features.blocks[block] for block in self.blocks], batch.object_names)[1].mean(1)

    @property
    def adapted_block(self) -> int:
        """The last level."""
        return self.blocks[-1]

    def _fuse(self, streams: Sequence[Tensor], names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the patches (B, patches, channels), frozen and fused."""
        p = self.params
        frozen = torch.cat([normalised(tokens[:, 1:].float(), p.feature_norm) for tokens in streams], dim=-1)
        tokens = self.enter(frozen)
        return frozen, self.fusion(tokens, torch.stack([self._text(n) for n in names])) if p.fusion else tokens

    def _reconstruct(self, streams: Sequence[Tensor], names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the target and the reconstruction, fp32 (B, patches, channels) each."""
        frozen, fused = self._fuse(streams, names)
        output = self.denoiser(self._disturb(fused) if self.training and self.params.jitter else fused)
        if self.params.target == "fused":
            return fused.float(), output.float()
        return frozen, self.leave(output).float()

    def _pooled(self, patches: Tensor) -> Tensor:
        """Pool (B, patches) to image scores (B,)."""
        p = self.params
        return pooled(patches, self.weight_logits.softmax(0) if p.learn_weights else p.image_weights, p.top_k)

    def _disturb(self, tokens: Tensor) -> Tensor:
        p = self.params
        # std = scale norm / C at C channels; at others the same share of the root mean square, norm / sqrt(C)
        scale = p.jitter_scale * (tokens.shape[-1] / p.jitter_channels) ** 0.5 if p.jitter_channels else p.jitter_scale
        kind = p.jitter[int(torch.randint(len(p.jitter), (1,), generator=self.noise))]
        if kind == "spatial":
            return jitter.spatial(tokens, scale, self.noise)
        return jitter.frequency(tokens, scale, p.high_share, self.noise)

    def _difference(self, target: Tensor, output: Tensor) -> Tensor:
        """Return (B, patches): the weighted sum of squared error and 1 - SSIM."""
        p = self.params
        squares = (output - target).square()
        error = squares.mean(-1) if p.error_factor is None else p.error_factor * squares.sum(-1)
        similarity = ssim_space(output, target, p.ssim_window) if p.ssim == "space" else ssim_channels(output, target)
        weights = (1.0, p.score_weight) if p.score == "sum" else (p.score_weight, 1 - p.score_weight)
        return weights[0] * error + weights[1] * (1 - similarity)

    @torch.no_grad()
    def _text(self, name: str) -> Tensor:
        """Return vectors (T, embed_dim) of the sentences about an object, encoded once."""
        if name not in self.text_cache:
            texts = sentences(self.params.prompts, name, self.params.states)
            vectors = self.backbone.encode_text(texts)
            self.text_cache[name] = l2_normalize(vectors) if self.params.text_norm else vectors
        return self.text_cache[name]


def sentences(prompts: Prompts, object_name: str, states: Sequence[str]) -> list[str]:
    """Return the sentences about an object in some states: of `prompts`, else of SENTENCES, else a plain one.

    >>> sentences(Prompts([], ["{} with a tear"]), "knee MRI", ["normal", "abnormal"])
    ['A normal knee MRI without any finding.', 'knee MRI with a tear']
    """
    plain = (f"A normal {object_name} without any finding.", f"A {object_name} with an abnormal finding.")
    defaults = SENTENCES.get(object_name, plain)
    by_state = {
        state: [text.replace("{}", object_name) for text in texts] or [default]
        for state, texts, default in zip(
            ("normal", "abnormal"), (prompts.normal, prompts.abnormal), defaults, strict=True
        )
    }
    return [sentence for state in states for sentence in by_state[state]]


def normalised(tokens: Tensor, rule: str) -> Tensor:
    """Return tokens (..., C), for the rule `layer` each with mean 0 and variance 1."""
    return F.layer_norm(tokens, tokens.shape[-1:]) if rule == "layer" else tokens


def pooled(patches: Tensor, weights: Sequence[float] | Tensor, top_k: int = 5) -> Tensor:
    """Return (B,) from (B, N): the weighted sum of the maximum, the mean, and the mean of the `top_k` largest.

    >>> float(pooled(torch.tensor([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]]), [1.0, 10.0, 100.0]))
    441.0
    """
    top = patches.topk(min(top_k, patches.shape[1]), dim=1).values
    parts = torch.stack([top[:, 0], patches.mean(1), top.mean(1)], dim=1)
    with torch.autocast(parts.device.type, enabled=False):  # autocast would round the scores
        return parts @ (weights if isinstance(weights, Tensor) else torch.tensor(list(weights))).to(parts)


def _check(p: Params) -> None:
    denoiser.check(p)
    choices(
        p,
        feature_norm=("layer", "none"),
        target=("frozen", "fused"),
        loss=("mse", "score"),
        score=("mix", "sum"),
        ssim=("space", "channels"),
    )
    some_of(p, states=("normal", "abnormal"), **({"jitter": ("spatial", "frequency")} if p.jitter else {}))
    at_least(p, 0, "clip_norm", "epoch_images", "jitter_scale", "score_weight")
    at_least(p, 1, "top_k", most=65536)
    at_least(p, 0, "jitter_channels", most=65536)
    positive(p, "decay_at", *([] if p.error_factor is None else ["error_factor"]))
    shares(p, "decay_at", "high_share", *(["score_weight"] if p.score == "mix" else []))
    odd(p, "ssim_window")
    if len(p.image_weights) != 3:
        raise AdbenchError(
            f"method.image_weights={p.image_weights} is not possible: three numbers are needed, for maximum, mean and "
            "top-k mean, as in method.image_weights=[1,0,0]."
        )
    if p.learn_weights and min(p.image_weights) <= 0:
        raise AdbenchError(
            f"method.image_weights=[{','.join(map(str, p.image_weights))}] is not possible with "
            "method.learn_weights=true: a softmax has no weight of 0 or less. Give numbers above 0."
        )
    if p.jitter_channels and not p.jitter:
        raise AdbenchError("method.jitter_channels has no effect with method.jitter=[]: leave one of the two out.")
