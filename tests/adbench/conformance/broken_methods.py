"""Methods that break one rule of the contract each, and a sound one to derive them from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adbench import Batch, Capability, Method, Scores, Support
from adbench.errors import AdbenchError


@dataclass
class Params:
    epochs: int = 2


class Sound(Method[Any]):
    """Distance to the mean normal patch, after a learnt rotation: it keeps every rule, and trains."""

    Params = Params
    params: Any

    @classmethod
    def capability(cls, params: Any, architecture: Any) -> Capability:
        return Capability(support="normal", blocks=(2,), epochs=params.epochs)

    def build(self) -> None:
        width = self.backbone.architecture.width
        self.turn = nn.Linear(width, 8)
        self.register_buffer("centre", torch.zeros(8))

    def prepare(self, support: Support) -> None:
        self.tokens = self.encode(support.images.float() / 255).blocks[2][:, 1:].flatten(0, 1)

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.tokens, 64, shuffle=True, generator=self.generator("shuffle"))

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return self.turn(batch).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.turn.parameters(), 1e-3)

    def build_memory(self, support: Support) -> None:
        with torch.no_grad():
            self.centre = self.turn(self.tokens).mean(0)

    def score(self, batch: Batch) -> Scores:
        away = (self.turn(batch.features.blocks[2][:, 1:]) - self.centre).norm(dim=-1)
        return self.told(away.amax(1), away.unflatten(1, (self.backbone.grid, self.backbone.grid)), batch)

    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        """What a broken one below says instead."""
        return Scores(image, maps)


class Transductive(Sound):
    """Measures scores by the largest of all images: sound, as it says so and asks for them beforehand."""

    @classmethod
    def capability(cls, params: Any, architecture: Any) -> Capability:
        return Capability(support="normal", blocks=(2,), transductive=True)

    def build(self) -> None:
        super().build()
        self.register_buffer("largest", torch.ones(()))

    def observe_test_images(self, batches: Any) -> None:
        self.largest = torch.ones(())
        self.largest = torch.stack([self.score(batch).image.amax() for batch in batches]).amax()

    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores(image / self.largest, maps)


class GathersNothing(Sound):
    @classmethod
    def capability(cls, params: Any, architecture: Any) -> Capability:
        return Capability(support="normal", blocks=(2,), transductive=True)


@dataclass
class Unset:
    epochs: int


class WithoutDefaults(Sound):
    Params = Unset


class DeepBlocks(Sound):
    @classmethod
    def capability(cls, params: Any, architecture: Any) -> Capability:
        return Capability(support="normal", blocks=(2, architecture.depth + 1))


class EagerConstructor(Sound):
    def __init__(self, params: Any, backbone: Any, seed: int = 0) -> None:
        super().__init__(params, backbone, seed)
        self.early = nn.Linear(2, 2)


class HalfAnEpoch(Sound):
    @classmethod
    def capability(cls, params: Any, architecture: Any) -> Capability:
        return Capability(support="normal", blocks=(2,), epochs=0.5)  # type: ignore[arg-type]


class SaysNothingIsRandom(Sound):
    @classmethod
    def capability(cls, params: Any, architecture: Any) -> Capability:
        return Capability(support="normal", blocks=(2,), epochs=params.epochs, stochastic=False)


class DrawsFromWhatIsLeft(Sound):
    """Its random numbers come from a generator that outlives the method and is seeded by nobody."""

    numbers = torch.Generator().manual_seed(0)

    def build(self) -> None:
        super().build()
        with torch.no_grad():
            self.turn.weight += torch.rand(self.turn.weight.shape, generator=self.numbers)


class NeedsAbnormal(Sound):
    def prepare(self, support: Support) -> None:
        super().prepare(support)
        self.worst = support.images[support.labels == 1][0]


class NoFit(Sound):
    def prepare(self, support: Support) -> None:
        raise RuntimeError("no fit")


class PeeksAtLabels(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Any) -> Scores:
        return Scores(image + batch.labels, maps)


class WrongShape(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores(image[:, None], maps)


class MapsUndeclared(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores(image)


class DividesByZero(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        contrast = batch.images.flatten(1).float().std(1)
        return Scores(image + contrast / contrast, maps)  # 0 / 0 for a black image


class Constant(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores(torch.ones_like(image), maps)


class WholeNumbers(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores((1000 * image).long(), maps)


class Unseeded(Sound):
    def build(self) -> None:
        super().build()
        entropy = int(np.random.SeedSequence().generate_state(1)[0])
        nn.init.normal_(self.turn.weight, generator=torch.Generator().manual_seed(entropy))


class DropoutInScore(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores(nn.functional.dropout(image, 0.5, training=True), maps)


class StirredByLooking(Sound):
    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return super().training_step(batch, index) * (1 + self.looks)

    looks = 0

    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        self.looks += self.trainer.training if self._trainer is not None else 0
        return Scores(image, maps)


class BatchNormalised(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        low, high = image.min(), image.max()
        return Scores(image if len(image) == 1 else (image - low) / (high - low), maps)


class RunningRange(Sound):
    brightest = 0.0

    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        self.brightest = max(self.brightest, float(batch.images.float().flatten(1).mean(1).max()))
        return Scores(image / self.brightest, maps)


class WritesIntoBatch(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        batch.images.clamp_(10, 200)
        return Scores(image, maps)


class WritesIntoSupport(Sound):
    def prepare(self, support: Support) -> None:
        support.images.clamp_(10, 200)
        super().prepare(support)


class ForgetsCentre(Sound):
    def build(self) -> None:
        self.turn = nn.Linear(self.backbone.architecture.width, 8)
        self.centre = torch.zeros(8)


class TouchesBackbone(Sound):
    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        with torch.no_grad():
            self.backbone.model.visual.ln_post.bias += 0.01


class WakesBackbone(Sound):
    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        self.backbone.model.requires_grad_(True)


class SavesBackbone(Sound):
    def build(self) -> None:
        super().build()
        self.register_buffer("words", self.backbone.model.token_embedding.weight.detach())


class NeedsManyShots(Sound):
    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        spread = self.tokens.unflatten(0, (len(support), -1)).var(0, correction=0).sum()
        self.centre = self.centre + 0 * spread / (len(support) - 1)  # one image: 0 / 0


class MasksForAll(Sound):
    def prepare(self, support: Support) -> None:
        super().prepare(support)
        if support.has_mask.any():
            self.area = support.masks[support.has_mask][support.labels == 0].sum()


class NeedsMasks(Sound):
    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        self.centre = self.centre + 0 * (1 / support.has_mask.sum())


class Named(Sound):
    """Learns another rotation for another object."""

    def told_name(self, support: Support, i: int) -> str:
        return support.object_names[i]

    def prepare(self, support: Support) -> None:
        super().prepare(support)
        names = [self.told_name(support, i) for i in range(len(support))]
        weights = torch.tensor([1 + len(name) / 10 for name in names])
        self.tokens = (self.tokens.unflatten(0, (len(support), -1)) * weights[:, None, None]).flatten(0, 1)


class FirstNameForAll(Named):
    def told_name(self, support: Support, i: int) -> str:
        return support.object_names[0]


class OneDatasetOnly(Sound):
    def prepare(self, support: Support) -> None:
        (self.dataset,) = set(support.datasets)
        super().prepare(support)


class ReadsWhileScoring(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        with open(Path(__file__).parents[3] / "README.md") as file:
            return Scores(image + len(file.read(1)), maps)


class KeepsFolder(Sound):
    def prepare(self, support: Support) -> None:
        super().prepare(support)
        self.notes = {"where": [Path(__file__).parent]}


class Hoards(Sound):
    def build(self) -> None:
        super().build()
        self.seen: list[Tensor] = []

    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        self.seen.append(image)
        return Scores(image, maps)


class Levels(Sound):
    """Shows the map of its only level, and features behind the rotation."""

    def level_maps(self, batch: Batch) -> Any:
        return {2: self.score(batch).maps}

    def adapted_features(self, batch: Batch) -> Any:
        return self.turn(batch.features.blocks[2][:, 1:]).mean(1)


class LevelsAsList(Levels):
    def level_maps(self, batch: Batch) -> Any:
        return [self.score(batch).maps]


class LevelBeyond(Levels):
    def level_maps(self, batch: Batch) -> Any:
        return {99: self.score(batch).maps}


class LevelOfAll(Levels):
    def level_maps(self, batch: Batch) -> Any:
        return {2: self.score(batch).maps.mean(0)}


class LevelOfZeros(Levels):
    def level_maps(self, batch: Batch) -> Any:
        maps = self.score(batch).maps
        return {2: maps / (0 * maps)}


class AdaptsPatches(Levels):
    def adapted_features(self, batch: Batch) -> Any:
        return self.turn(batch.features.blocks[2])


class AdaptsNothing(Levels):
    def adapted_features(self, batch: Batch) -> Any:
        return torch.zeros(len(batch.images), 8)


class AdaptsToZero(Levels):
    def adapted_features(self, batch: Batch) -> Any:
        return self.turn(batch.features.blocks[2][:, 0]) / 0


@dataclass
class Worded(Params):
    prompts: dict[str, list[str]] = field(default_factory=lambda: {"normal": ["healthy {}"]})
    kind: str = "mean"
    share: float = 0.5


class Edited(Sound):
    """Moves its score by the words' length and a share."""

    Params = Worded
    editable = ("prompts.normal", "share", "kind", "epochs")

    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        assert self.params.kind == "mean", "a choice is no text"
        return Scores(image + self.params.share * len(self.params.prompts["normal"][0]), maps)


class RefusesOtherWords(Edited):
    def build(self) -> None:
        if self.params.prompts["normal"] != ["healthy {}"]:
            raise AdbenchError("method.prompts.normal: these words are not possible.")
        super().build()


class NamesNoSuchFile(Sound):
    files = ("table",)


class SavesItsWords(Edited):
    editable = ("prompts",)

    def build(self) -> None:
        super().build()
        self.register_buffer("length", torch.zeros(()))

    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        self.length = torch.tensor(float(len(self.params.prompts["normal"][0])))

    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores(image + self.length, maps)


class WidthOfItsWords(Edited):
    def build(self) -> None:
        super().build()
        self.register_buffer(f"length_{len(self.params.prompts['normal'][0])}", torch.zeros(()))


class DividesByAShare(Edited):
    editable = ("share",)

    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores(image, maps / (self.params.share != 0.25))  # 0 / 0, or more than there is


class Grows(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        self.past = torch.cat([getattr(self, "past", image), image])
        return Scores(image, maps)


# class, the check that it breaks, what is seen, where the user is sent
BROKEN = [
    (WithoutDefaults, "parameters", "epochs", r"WithoutDefaults\.Params"),
    (DeepBlocks, "capability", r"blocks=\[2, 13\], where blocks 1 to 12", r"DeepBlocks\.capability \(.*:\d+\)"),
    (EagerConstructor, "constructor", r"creates early\.weight", r"EagerConstructor\.__init__"),
    (HalfAnEpoch, "capability", r"epochs=0\.5 is not possible", r"HalfAnEpoch\.capability \(.*:\d+\)"),
    (SaysNothingIsRandom, "seeds", "declare stochastic=True", r"SaysNothingIsRandom\.capability"),
    (DrawsFromWhatIsLeft, "determinism", "other scores after a second fit", ""),
    (NeedsAbnormal, "fit", "but without abnormal .* IndexError", r"NeedsAbnormal\.prepare"),
    (NoFit, "fit", r"^RuntimeError: no fit \(broken_methods\.py:\d+\)$", r"NoFit\.prepare"),
    (GathersNothing, "fit", "transductive=True and has no `observe_test_images`", r"Sound\.prepare"),
    (PeeksAtLabels, "batch alone", "'Batch' object has no attribute 'labels'", r"Sound\.score"),
    (WrongShape, "shapes", r"image of shape \(6, 1\) for 6 images", r"Sound\.score"),
    (MapsUndeclared, "shapes", "no maps though its capability declares maps=True", r"Sound\.score"),
    (DividesByZero, "finite", "scores of 2 of 6 odd images not finite", r"Sound\.score"),
    (Constant, "range", "the same value 1 everywhere in image", r"Sound\.score"),
    (WholeNumbers, "shapes", r"image of type torch\.int64", r"Sound\.score"),
    (Unseeded, "determinism", "after a second fit", r"Method\.generator"),
    (DropoutInScore, "determinism", "scored again: something random", r"Sound\.score"),
    (StirredByLooking, "scored in mid-fit", "where selection rules look", r"Sound\.build_memory"),
    (BatchNormalised, "batch size", "in batches of 1 and of 6", r"Sound\.score"),
    (RunningRange, "other images", "after other images were scored", r"Sound\.score"),
    (WritesIntoBatch, "inputs", "a batch that `score` has written into", r"Sound\.score"),
    (WritesIntoSupport, "inputs", "a support that the fit has written into", r"WritesIntoSupport\.prepare"),
    (ForgetsCentre, "save and load", "must be a parameter or buffer", r"ForgetsCentre\.build"),
    (TouchesBackbone, "frozen backbone", r"visual\.ln_post\.bias of the backbone changed", r"Sound\.build"),
    (WakesBackbone, "frozen backbone", "of the backbone asked for a gradient", r"Sound\.training_step"),
    (SavesBackbone, "frozen backbone", r"words .* is token_embedding\.weight", r"SavesBackbone\.build"),
    (NeedsManyShots, "one shot", "not finite", r"NeedsManyShots\.build_memory"),
    (MasksForAll, "no masks", r"masks of every second image: IndexError: .*\.py:\d+", r"MasksForAll\.prepare"),
    (FirstNameForAll, "two datasets", "an object that counts for the first image only", r"Named\.prepare"),
    (ReadsWhileScoring, "files", r"`score` opening .*README\.md", r"Sound\.score"),
    (KeepsFolder, "files", r"keeping the path '.*' as self\.notes\['where'\]\[0\]", r"KeepsFolder\.prepare"),
    (Hoards, "memory", "3 more tensors", r"Sound\.score"),
    (Grows, "memory", "0 more tensors", r"Sound\.score"),
    (LevelOfZeros, "level maps", "values at block 2 that are not finite", r"LevelOfZeros\.level_maps"),
    (AdaptsPatches, "adapted", r"a tensor of shape \(6, 65, 8\) for 6 images", r"AdaptsPatches\.adapted_features"),
    (SavesItsWords, "editable", "prompts changed, and the scores stay the same bits", r"SavesItsWords\.build_memory"),
]  # fmt: skip


# other ways to break a check: class, check, what is seen
ALSO_BROKEN = [
    (NamesNoSuchFile, "parameters", "files names 'table', which Params does not have"),
    (NeedsMasks, "no masks", "without any mask: scores that are not finite"),
    (OneDatasetOnly, "two datasets", r"ValueError: too many values .*\.py:\d+"),
    (LevelBeyond, "level maps", r"\[99\], where .* from 0 to 12"),
    (LevelOfAll, "level maps", r"shape \(8, 8\) at block 2 for 6 images"),
    (LevelsAsList, "level maps", "list, where a dictionary"),
    (AdaptsNothing, "adapted", "the same vector for every image"),
    (AdaptsToZero, "adapted", "not finite"),
    (WidthOfItsWords, "editable", r"prompts\.normal changed: .*do not belong to WidthOfItsWords"),
    (DividesByAShare, "editable", "share changed: scores that are not finite"),
]


# what breaks more than one
TOO: dict[type[Method], set[str]] = {
    DrawsFromWhatIsLeft: {"scored in mid-fit", "other fits"},
    Unseeded: {"scored in mid-fit", "other fits"},
    DropoutInScore: {
        "scored in mid-fit",
        "batch size",
        "other images",
        "save and load",
        "other fits",
        "many images",
    },
    BatchNormalised: {"other images"},
    RunningRange: {"other fits"},
}
