"""Prompts: fixed prompt ensembles, and learnable contexts as in CoOp (Zhou et al., IJCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from adbench.backbone.contract import Backbone
from adbench.blocks.precision import l2_normalize
from adbench.errors import AdbenchError

Phrases = tuple[tuple[str, ...], tuple[str, ...]]  # of the normal and the abnormal state, about one object

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
# The templates of WinCLIP (Jeong et al., CVPR 2023, Table 7).
WINCLIP_TEMPLATES = [
    *(
        f"a {look}photo of {a} {{}}."
        for look in ("cropped ", "close-up ", "bright ", "dark ", "jpeg corrupted ", "blurry ", "")
        for a in ("a", "the")
    ),
    *(f"a photo of {a} {size} {{}}." for size in ("small", "large") for a in ("a", "the")),
    *(f"a photo of {a} {{}} for {end}." for end in ("visual inspection", "anomaly detection") for a in ("a", "the")),
]


@dataclass
class Prompts:
    """The phrases of both states; `{}` stands for the dataset's object name."""

    normal: list[str] = field(default_factory=lambda: list(NORMAL))
    abnormal: list[str] = field(default_factory=lambda: list(ABNORMAL))

    def phrases(self, object_name: str) -> Phrases:
        """Return the phrases (normal, abnormal) with the object's name in place of `{}`.

        >>> Prompts(["healthy {}"], ["{} with a lesion"]).phrases("liver")
        (('healthy liver',), ('liver with a lesion',))
        """
        for state, phrases in (("normal", self.normal), ("abnormal", self.abnormal)):
            if not phrases:
                raise AdbenchError(f"method.prompts.{state}=[] is not possible: give at least one phrase.")
        normal, abnormal = (
            tuple(phrase.replace("{}", object_name) for phrase in state) for state in (self.normal, self.abnormal)
        )
        return normal, abnormal


def ensemble(backbone: Backbone, prompts: Prompts, object_name: str, templates: Sequence[str] = TEMPLATES) -> Tensor:
    """Return (2, embed_dim) unit text vectors, normal then abnormal.

    Each sentence (a phrase in a template) is embedded and normalised; the mean over a state is normalised again.
    """
    if not templates:
        raise AdbenchError("method.templates=[] is not possible: give at least one template, as in ['a photo of {}.'].")
    states = []
    for phrases in prompts.phrases(object_name):
        sentences = [template.replace("{}", phrase) for phrase in phrases for template in templates]
        parts = [backbone.encode_text(sentences[i : i + 64]) for i in range(0, len(sentences), 64)]
        states.append(l2_normalize(l2_normalize(torch.cat(parts)).mean(0)))
    return torch.stack(states)


class _Frame(NamedTuple):
    """N prompts without their contexts: `words` (N, L, W), `places` (N, L, length) in {0, 1}, `end` (N,)."""

    words: Tensor
    places: Tensor
    end: Tensor


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
        self._frames: dict[Phrases, _Frame] = {}
        width = backbone.architecture.text_width
        for state, phrases in (("normal", prompts.normal), ("abnormal", prompts.abnormal)):
            context = torch.empty(len(positions), len(phrases), length, width)
            self.register_parameter(state, nn.Parameter(nn.init.normal_(context, std=std)))

    def forward(self, backbone: Backbone, object_name: str) -> Tensor:
        """Return (2, embed_dim) unit text vectors, normal then abnormal: per state the normalised plain mean."""
        return self.states(backbone.encode_embedded(*self.embedded(backbone, object_name), causal=False))

    def embedded(self, backbone: Backbone, object_name: str) -> tuple[Tensor, Tensor]:
        """Return the prompts' word vectors (N, L, text width), those of the normal state first, and their ends (N,)."""
        frame = self._frame(backbone, object_name)
        contexts = torch.cat([self.normal.flatten(0, 1), self.abnormal.flatten(0, 1)])
        # A product with zeros and ones copies each vector to its place; in fp32 it is unchanged.
        with torch.autocast(contexts.device.type, enabled=False):
            return frame.words + frame.places @ contexts, frame.end

    def states(self, text: Tensor) -> Tensor:
        """Return (2, embed_dim) unit vectors, normal then abnormal, of the prompts' embeddings (N, embed_dim)."""
        n = self.normal.shape[0] * self.normal.shape[1]
        return torch.stack([l2_normalize(state.mean(0)) for state in (text[:n], text[n:])])

    def _frame(self, backbone: Backbone, object_name: str) -> _Frame:
        """Return the fixed part of the prompts about one object, computed once for the same phrases."""
        key = self.prompts.phrases(object_name)
        if key not in self._frames:
            rows = []
            for context, phrases in zip((self.normal, self.abnormal), key, strict=True):
                if (trained := context.shape[1]) != len(phrases):
                    raise AdbenchError(
                        f"{trained} learned contexts do not fit {len(phrases)} phrases: each was trained with its "
                        f"phrase. Give exactly {trained}."
                    )
                rows += [self._place(backbone, position, phrase) for position in self.positions for phrase in phrases]
            self._frames[key] = _Frame(*(torch.stack(column) for column in zip(*rows, strict=True)))
        return self._frames[key]

    def _place(self, backbone: Backbone, position: str, phrase: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return a prompt's word vectors with zeros for the context, the context's places, and its end."""
        tokens = backbone.tokenise([" ".join(["X"] * self.length) + f" {phrase}."])[0]
        words = backbone.embed_tokens(tokens)
        n, lead = len(backbone.tokenizer.encode(phrase)), backbone.lead
        if len(set(tokens[lead : lead + self.length].tolist())) != 1:
            raise AdbenchError(
                f"{backbone.name} can't learn a context of {self.length} tokens: its tokenizer reads "
                f"{' '.join(['X'] * self.length)!r} as other than {self.length} equal ones."
            )
        first = {"end": self.length, "middle": self.length // 2, "front": 0}[position]
        # start, `first` vectors of the context, the phrase, the rest of the context, full stop, end token, padding
        slots = [*range(lead, lead + first), *range(lead + first + n, lead + n + self.length)]
        places = torch.zeros(len(tokens), self.length, device=words.device)
        places[slots, range(self.length)] = 1
        framed = torch.zeros_like(words)
        framed[:lead] = words[:lead]
        framed[lead + first : lead + first + n] = words[lead + self.length : lead + self.length + n]
        framed[lead + self.length + n :] = words[lead + self.length + n :]
        return framed, places, backbone.ends(tokens[None])[0]
