"""Text sides: fixed prompt ensembles and learnable contexts in the manner of CoOp (Zhou et al., IJCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adbench.backbone import Backbone
from adbench.errors import AdbenchError

# The state phrases and templates of MVFA (Huang et al., CVPR 2024), after WinCLIP's; `{}` is the object.
NORMAL = [
    "{}", "flawless {}", "perfect {}", "unblemished {}", "{} without flaw", "{} without defect", "{} without damage",
]  # fmt: skip
ABNORMAL = ["damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage"]
_LOOKS = [
    "bad", "low resolution", "cropped", "bright", "dark", "close-up", "black and white", "jpeg corrupted", "blurry",
    "good",
]  # fmt: skip
TEMPLATES = [
    *(f"a photo of {a} {{}}." for a in ("a", "the", "my", "one")),
    *(f"a photo of {a} {size} {{}}." for size in ("large", "small", "cool") for a in ("a", "the")),
    *(f"a {look} photo of {a} {{}}." for look in _LOOKS for a in ("a", "the")),
    *(f"there is {a} {{}} in the scene." for a in ("a", "the")),
    *(f"this is {a} {{}} in the scene." for a in ("a", "the", "one")),
]


@dataclass
class Prompts:
    """The phrases of both states; `{}` stands for the dataset's object name."""

    normal: list[str] = field(default_factory=lambda: list(NORMAL))
    abnormal: list[str] = field(default_factory=lambda: list(ABNORMAL))

    def phrases(self, object_name: str) -> tuple[list[str], list[str]]:
        """Return the phrases of (normal, abnormal) with the object's name put in.

        >>> Prompts(["healthy {}"], ["{} with a lesion"]).phrases("liver")
        (['healthy liver'], ['liver with a lesion'])
        """
        for state, words in (("normal", self.normal), ("abnormal", self.abnormal)):
            if not words:
                raise AdbenchError(f"method.prompts.{state}=[] is not possible: give at least one phrase.")
        normal, abnormal = (
            [phrase.replace("{}", object_name) for phrase in words] for words in (self.normal, self.abnormal)
        )
        return normal, abnormal


def ensemble(backbone: Backbone, prompts: Prompts, object_name: str, templates: Sequence[str] = TEMPLATES) -> Tensor:
    """Return (2, embed_dim) unit text vectors, normal then abnormal.

    Each sentence (phrase in template) is embedded and normalised, the mean of a state is normalised again.
    """
    states = []
    for phrases in prompts.phrases(object_name):
        sentences = [template.replace("{}", phrase) for phrase in phrases for template in templates]
        parts = [backbone.encode_text(sentences[i : i + 64]) for i in range(0, len(sentences), 64)]
        states.append(F.normalize(F.normalize(torch.cat(parts), dim=-1).mean(0), dim=-1))
    return torch.stack(states)


class PromptLearner(nn.Module):
    """Learnable context vectors around fixed phrases, one context per phrase and position.

    A prompt is start, `context` and phrase in the order that its position says (`end`: phrase last, `front`: phrase
    first, `middle`: phrase between the halves), full stop, end token. As in the authors' code of MediCLIP and MadCLIP
    the text tower runs without its causal mask, over the full context length.
    """

    normal: Tensor
    abnormal: Tensor

    def __init__(
        self,
        backbone: Backbone,
        prompts: Prompts,
        length: int = 8,
        positions: Sequence[str] = ("end",),
        std: float = 0.02,
    ) -> None:
        super().__init__()
        unknown = set(positions) - {"end", "front", "middle"}
        if unknown or not positions:
            raise AdbenchError(f"prompt positions {list(positions)} are not possible: choose from end, front, middle.")
        self.prompts = prompts
        self.length = length
        self.positions = tuple(positions)
        width = backbone.architecture.text_width
        for state, phrases in (("normal", prompts.normal), ("abnormal", prompts.abnormal)):
            context = torch.empty(len(positions), len(phrases), length, width)
            self.register_parameter(state, nn.Parameter(nn.init.normal_(context, std=std)))

    def forward(self, backbone: Backbone, object_name: str) -> Tensor:
        """Return (2, embed_dim) unit text vectors, normal then abnormal: per state the normalised plain mean."""
        states = []
        for context, phrases in zip((self.normal, self.abnormal), self.prompts.phrases(object_name), strict=True):
            if context.shape[1] != len(phrases):
                raise AdbenchError(
                    f"{context.shape[1]} learned contexts do not fit {len(phrases)} phrases: each context was trained "
                    f"with its phrase. Give exactly {context.shape[1]}."
                )
            embedded, end = zip(
                *(self._assemble(backbone, p, context[i], phrases) for i, p in enumerate(self.positions)), strict=True
            )
            text = backbone.encode_embedded(torch.cat(embedded), torch.cat(end), causal=False)
            states.append(F.normalize(text.mean(0), dim=-1))
        return torch.stack(states)

    def _assemble(
        self, backbone: Backbone, position: str, context: Tensor, phrases: list[str]
    ) -> tuple[Tensor, Tensor]:
        tokens = backbone.tokenise([" ".join(["X"] * self.length) + f" {phrase}." for phrase in phrases])
        words = backbone.embed_tokens(tokens)
        rows = []
        for row, own, phrase in zip(words, context.to(words.dtype), phrases, strict=True):
            n = len(backbone.tokenizer.encode(phrase))
            start, rest = row[:1], row[1 + self.length :]
            phrase_words, tail = rest[:n], rest[n:]
            half = self.length // 2
            order = {
                "end": [start, own, phrase_words, tail],
                "front": [start, phrase_words, own, tail],
                "middle": [start, own[:half], phrase_words, own[half:], tail],
            }[position]
            rows.append(torch.cat(order))
        return torch.stack(rows), tokens.argmax(dim=1)
