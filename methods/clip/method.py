"""Zero-shot CLIP (Radford et al., ICML 2021): images compared with text about the normal and the abnormal state.

Nothing is trained and no image is learned from. The text embedding of a state is the mean over an ensemble of prompts
(WinCLIP, Jeong et al., CVPR 2023). Image score: the softmax probability of the abnormal state for the image embedding.
Map: the same probability for each patch token of the last block (MaskCLIP, Zhou et al., ECCV 2022).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from adbench.backbone.clip import Architecture
from adbench.blocks.maps import patch_map
from adbench.blocks.prompts import TEMPLATES, Prompts
from adbench.blocks.similarity import TextEmbeddings, state_logits
from adbench.blocks.validate import positive
from adbench.method import Batch, Capability, Method, Scores


@dataclass
class Params:
    """Hyper-parameters. CLIP's own training ends at `temperature` 0.01."""

    prompts: Prompts = field(default_factory=Prompts)
    templates: list[str] = field(default_factory=lambda: list(TEMPLATES))
    temperature: float = 0.01
    activation: str = "native"
    normalisation: str = "native"


class CLIPZeroShot(Method[Params]):
    """Zero-shot CLIP: no training, no support."""

    editable = ("prompts", "templates", "temperature")

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Read the patches of the last block and the image embedding; decide at probability 0.5."""
        positive(params, "temperature")
        return Capability(
            support="none",
            blocks=(architecture.depth,),
            pooled=True,
            stochastic=False,
            normalisation=params.normalisation,
            activation=params.activation,
            threshold=0.5,
            text=True,
            projection=True,
        )

    def build(self) -> None:
        """Create the text embeddings, computed once for each object name."""
        self.texts = TextEmbeddings(self.backbone, self.params.prompts, self.params.templates)

    def score(self, batch: Batch) -> Scores:
        """Return the softmax probability of the abnormal state, for the image and for every patch."""
        text = self.texts(batch.object_names)
        pooled = batch.features.pooled
        assert pooled is not None
        patches = self.backbone.project(batch.features.blocks[self.backbone.architecture.depth][:, 1:])
        image = self._probability(pooled[:, None], text)[:, 0]
        maps = patch_map(self._probability(patches, text), self.backbone.input_size)
        return Scores(image, maps)

    def _probability(self, vectors: Tensor, text: Tensor) -> Tensor:
        return state_logits(vectors, text, self.params.temperature).softmax(-1)[..., 1]
