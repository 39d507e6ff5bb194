"""Methods that leave something to the next cell of their process, or whose scores change after many images."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from adbench import Batch, Capability, Scores, Support
from tests.adbench.conformance.broken_methods import Sound


class KeepsTheFirst(Sound):
    """Keeps patches by the name of the dataset, and no matter of which support."""

    kept: ClassVar[dict[str, Tensor]] = {}

    def prepare(self, support: Support) -> None:
        super().prepare(support)
        self.tokens = self.kept.setdefault(support.datasets[0], self.tokens)


class KeepsByNumber(Sound):
    kept: ClassVar[dict[int, Tensor]] = {}

    def prepare(self, support: Support) -> None:
        super().prepare(support)
        self.tokens = self.kept.setdefault(len(support), self.tokens)


class MeanOfAllFits(Sound):
    """The centre is the mean of all centres of the process, each once."""

    centres: ClassVar[list[Tensor]] = []

    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        if not any(torch.equal(self.centre, one) for one in self.centres):
            self.centres.append(self.centre)
        self.centre = torch.stack(self.centres).mean(0)


class OneBankForAll(Sound):
    """What was fitted last is what all score with."""

    latest: ClassVar[dict[str, Tensor]] = {}

    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        self.latest["centre"] = self.centre

    def score(self, batch: Batch) -> Scores:
        self.centre = self.latest["centre"]
        return super().score(batch)


class SeedOfItsOwn(Sound):
    """Declares random numbers, which are the same in every cell."""

    @classmethod
    def capability(cls, params: Any, architecture: Any) -> Capability:
        return Capability(support="normal", blocks=(2,), stochastic=True)

    def build_memory(self, support: Support) -> None:
        torch.manual_seed(7)
        nn.init.normal_(self.turn.weight)
        nn.init.zeros_(self.turn.bias)
        super().build_memory(support)


class SeedsItsGenerator(SeedOfItsOwn):
    def build_memory(self, support: Support) -> None:
        nn.init.normal_(self.turn.weight, generator=torch.Generator().manual_seed(7))
        nn.init.zeros_(self.turn.bias)
        Sound.build_memory(self, support)


class NothingIsRandom(SeedOfItsOwn):
    def build_memory(self, support: Support) -> None:
        nn.init.ones_(self.turn.weight)
        nn.init.zeros_(self.turn.bias)
        Sound.build_memory(self, support)


class DrawsWithoutEffect(NothingIsRandom):
    """Takes at most 1000 patches at random: sound, though there are fewer on the bench."""

    def chosen(self) -> Tensor:
        return torch.randperm(len(self.tokens), generator=self.generator("patches"))

    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        self.tokens = self.tokens[self.chosen()[:1000].sort().values]


class DrawsGloballyWithoutEffect(DrawsWithoutEffect):
    def chosen(self) -> Tensor:
        return torch.randperm(len(self.tokens))


class SetsFlags(Sound):
    def build(self) -> None:
        super().build()
        torch.backends.mha.set_fastpath_enabled(False)


class FlushesInScore(Sound):
    concurrent = False

    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        torch.set_flush_denormal(True)
        return Scores(image, maps)


class RoundsProducts(Sound):
    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        torch.set_float32_matmul_precision("medium")


class Deterministic(Sound):
    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        torch.use_deterministic_algorithms(True, warn_only=True)


class DoublePrecision(Sound):
    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        torch.set_default_dtype(torch.float64)


class TakesAllThreads(Sound):
    def prepare(self, support: Support) -> None:
        super().prepare(support)
        torch.set_num_threads(3)


class SetsVariable(Sound):
    def prepare(self, support: Support) -> None:
        super().prepare(support)
        os.environ["OWN_OPTION"] = "1"


class ReplacesFunction(Sound):
    def build(self) -> None:
        super().build()
        plain = nn.functional.normalize
        nn.functional.normalize = lambda *given, **words: plain(*given, **words)


class PatchesClass(Sound):
    def build(self) -> None:
        super().build()
        plain = nn.GELU.forward
        nn.GELU.forward = lambda self, x: 0.9 * plain(self, x)  # type: ignore[method-assign]


class PatchesForward(Sound):
    def build(self) -> None:
        super().build()
        norm = self.backbone.model.visual.ln_post
        norm.forward = type(norm).forward.__get__(norm)


class LeavesHook(Sound):
    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        self.backbone.model.visual.ln_post.register_forward_hook(lambda module, given, output: 1.01 * output)


class ReplacesPart(Sound):
    def build_memory(self, support: Support) -> None:
        super().build_memory(support)
        visual = self.backbone.model.visual
        twin = nn.LayerNorm(visual.ln_post.normalized_shape).eval().requires_grad_(False)
        twin.load_state_dict(visual.ln_post.state_dict())
        visual.ln_post = twin


class LargeBatches(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores(image / image.amax() if len(image) > 8 else image, maps)


class TiresAfterMany(Sound):
    seen = 0

    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        self.seen += len(image)
        return Scores(image * (0.5 if self.seen > 400 else 1), maps)


class LeavesThread(Sound):
    """Each of its threads waits for `released`."""

    released = threading.Event()

    def prepare(self, support: Support) -> None:
        super().prepare(support)
        threading.Thread(target=self.released.wait, name="waiting").start()


class LeavesProcess(Sound):
    """Its process waits for the end of `process`'s standard input."""

    process: ClassVar[subprocess.Popen[bytes] | None] = None

    def prepare(self, support: Support) -> None:
        super().prepare(support)
        if self.process is None:
            command = [sys.executable, "-c", "input()"]
            type(self).process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)


# class, the check that it breaks, what is seen, where the user is sent
LEAVING = [
    (KeepsTheFirst, "other fits", "the same scores after a fit on other, fewer images", r"KeepsTheFirst\.prepare"),
    (LeavesHook, "frozen backbone", r"a hook on visual\.ln_post \(forward_hooks\) in the backbone", r"Sound\.build"),
    (SeedOfItsOwn, "seeds", "from the seeds 0, 1 and 2: take random numbers from self.generator", r"\.capability"),
    (SetsFlags, "settings", r"mha\.get_fastpath_enabled\(\), which was True and is False", r"SetsFlags\.build"),
    (LeavesThread, "threads", "the thread waiting, which is still running", r"LeavesThread\.prepare"),
    (TiresAfterMany, "many images", "other scores than before", r"Sound\.score"),
    (LargeBatches, "batch size", "in batches of 33 and of 6", r"Sound\.score"),
]

# other ways: class, check, what is seen
ALSO_LEAVING = [
    (KeepsByNumber, "other fits", "the same scores after a fit on as many other images"),
    (MeanOfAllFits, "other fits", "on the first support again: something of the fits in between is kept"),
    (OneBankForAll, "other fits", "of a fitted method after others were fitted"),
    (SeedsItsGenerator, "seeds", "from the seeds 0, 1 and 2"),
    (NothingIsRandom, "seeds", "declare stochastic=False"),
    (FlushesInScore, "settings", "set_flush_denormal, which was False and is True"),
    (RoundsProducts, "settings", "float32_matmul_precision.*, which was highest and is medium"),
    (Deterministic, "settings", "deterministic_debug_mode.*, which was 0 and is 1"),
    (DoublePrecision, "settings", r"default_dtype.*, which was torch\.float32 and is torch\.float64"),
    (TakesAllThreads, "settings", r"num_threads\(\), which was 1 and is 3"),
    (SetsVariable, "settings", "the variable OWN_OPTION of the environment"),
    (ReplacesFunction, "settings", r"torch\.nn\.functional\.normalize, which is another function"),
    (PatchesClass, "settings", r"torch\.nn\.GELU\.forward, which is another function"),
    (PatchesForward, "frozen backbone", r"forward of visual\.ln_post replaced in the backbone"),
    (ReplacesPart, "frozen backbone", r"parts of visual replaced in the backbone"),
    (LeavesProcess, "threads", "the process python"),
]
