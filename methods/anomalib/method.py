"""Any image model of anomalib (Akcay et al., ICIP 2022, arXiv 2202.08341) as one cell.

The model is built with its own network and preprocessing, trained on the normal support by a trainer of its own, and
asked for its raw scores and maps, one image at a time: no normalisation, threshold or metric of anomalib's is involved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adbench.backbone.config import Architecture, BackboneConfig
from adbench.backbone.own import OwnBackbone
from adbench.backbone.tensors import read_safetensors
from adbench.errors import RecordError
from adbench.method import Batch, Capability, Method, Scores, Support

from .models import Model, runnable
from .network import check_weights, default_tag, describe, names_a_tag


@dataclass
class Params:
    """What is run, and how long; `args` are anomalib's own arguments."""

    model: str = "Padim"  # the class in anomalib.models.image
    args: dict[str, Any] = field(default_factory=dict)  # of its constructor, as in {backbone: resnet18}
    epochs: int | None = 10  # of models that train; null: as many as models.yaml says
    batch_size: int = 8  # of the nested trainer
    textures: str | None = None  # folder of pictures that Draem and Glass paste; the authors take DTD


class Anomalib(Method[Params]):
    """One of anomalib's image models."""

    concurrent = False  # anomalib's models collect features by hooks
    inner: Any
    files = ("textures",)

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone, on a network of the model's own."""
        row = runnable(params.model)
        return Capability(
            support="normal", maps=row.maps, own_backbone=True, least_support=row.least_support, class_token=False
        )

    @classmethod
    def own_backbone(cls, params: Params, weights: str | None) -> BackboneConfig:
        """Describe the model's network: a name of timm's, and its tag, a file, or `random`."""
        return describe(params.model, runnable(params.model), params.args, params.textures, weights)

    def build(self) -> None:
        """Build anomalib's module, its random numbers drawn from the cell's seed."""
        from . import inner

        assert isinstance(self.backbone, OwnBackbone)
        network, row, file = self.backbone.config, self._row, self.backbone.weights_path
        args, fetches = dict(self.params.args), names_a_tag(network.weights)
        if row.network:
            check_weights(self.params.model, row, network.model, network.weights)
        if fetches and row.argument and network.weights != default_tag(network.model):  # plain names have more defaults
            args[row.argument] = f"{network.model}.{network.weights}"
        size = self.backbone.input_size
        with inner.apart(self._seed("build")), inner.pictures(self.params.textures) as pasted:
            if row.textures:
                args[row.textures] = pasted
            self.inner = inner.build(self.params.model, row, args, size, None if fetches else file, fetches)
        if row.textures and not inner.was_fitted_with(self.params.textures):
            inner.sort_pictures(self.inner, self.params.model)
        self._frozen_tensors = self._of_file(file)

    def prepare(self, support: Support) -> None:
        """Train the module, or let it collect the features of the support."""
        from . import inner, trainer

        epochs = self._row.epochs if self.params.epochs is None else self.params.epochs
        with inner.apart(self._seed("fit")):
            data = trainer.SupportModule(support.images, self.params.batch_size, self.generator("batches"))
            trainer.fit(self.inner, data, self.backbone.device, epochs)

    @torch.no_grad()
    def score(self, batch: Batch) -> Scores:
        """Return the model's raw scores and maps; each image is alone, so that none depends on its company."""
        from . import inner

        device = self.backbone.device.type
        with inner.apart(self._seed("score")), torch.autocast(device, enabled=False):  # as it was trained
            outputs = [self._outputs(image) for image in batch.images.split(1)]
        maps = torch.stack([found for _, found in outputs if found is not None]) if self.declared.maps else None
        return Scores(torch.stack([score for score, _ in outputs]), maps)

    def _outputs(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the score () and the map (h, w) of one image; models differ in the shapes of both.

        The transform is the training's: `inner(image)` would resize without antialiasing.
        """
        found = self.inner.model(self.inner.pre_processor.transform(image.float() / 255))
        score = found.pred_score.reshape(()).float()
        if not self.declared.maps:
            return score, None
        return score, found.anomaly_map.reshape(found.anomaly_map.shape[-2:]).float()

    @property
    def _row(self) -> Model:
        return runnable(self.params.model)

    def _seed(self, purpose: str) -> int:
        return self.generator(f"anomalib {purpose}").initial_seed()

    def _of_file(self, file: Path | None) -> dict[str, str]:
        """Return the hashes, by name, of the module's tensors that are in the weights file."""
        if file is None:
            return {}
        known = {_hash(value) for value in read_safetensors(file).values()}
        return {name: found for name, value in super().state_dict().items() if (found := _hash(value)) in known}

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return what a record needs: all tensors but those of the weights file that the fit has left as they were."""
        state = super().state_dict(*args, **kwargs)
        for name, found in getattr(self, "_frozen_tensors", {}).items():
            if name in state and _hash(state[name]) == found:
                del state[name]
        return state

    def load_fitted(self, state: Mapping[str, Tensor]) -> None:
        """Take the saved state; what it lacks is in the weights file, from which the module was built."""
        whole = {name: value.detach().clone() for name, value in super().state_dict().items()}
        if odd := sorted((set(state) - set(whole)) | (set(whole) - set(state) - set(self._frozen_tensors))):
            raise RecordError(f"the saved parameters do not belong to {self.params.model}: {odd[0]} is in one only.")
        self._frozen_tensors, kept = {}, self._frozen_tensors
        try:
            super().load_fitted(whole | dict(state))
        finally:
            self._frozen_tensors = kept
        self.inner.eval()


def _hash(tensor: Tensor) -> str:
    content = tensor.detach().cpu().contiguous()
    head = f"{content.dtype} {tuple(content.shape)}".encode()
    return hashlib.blake2b(head + content.reshape(-1).view(torch.uint8).numpy().tobytes(), digest_size=16).hexdigest()
