"""Hugging Face's part of a CLIP: a text configuration and a tokenizer, both read from a local folder, never fetched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.errors import AdbenchError
from adbench.system.text import said

if TYPE_CHECKING:
    from torch import Tensor

READ = (".json", ".txt", ".model")  # the endings of what configurations and tokenizers are kept in


class Words:
    """A tokenizer of a folder, cleaning texts as open_clip's model says."""

    def __init__(self, name: str, folder: Path, text_cfg: Mapping[str, Any]) -> None:
        """Raise AdbenchError where the folder holds no tokenizer."""
        needs_transformers(name)
        from adbench.backbone.openclip import HFTokenizer

        mode = {"tokenizer_mode": text_cfg["tokenizer_mode"]} if text_cfg.get("tokenizer_mode") else {}
        try:
            self.reader: Any = HFTokenizer(
                str(folder), context_length=text_cfg.get("context_length", 77), **mode,
                **text_cfg.get("tokenizer_kwargs", {}), local_files_only=True, trust_remote_code=False,
            )  # fmt: skip
            self.reader.tokenizer.padding_side = "right"
            self.lead = self._ids("x").index(self._content("x")[0])
            self.ids(["x"])  # one without a token for padding says so here
        except Exception as error:  # of any tokenizer's class, for any files
            raise AdbenchError(
                f"{folder} holds no tokenizer that transformers can read: {said(error)}. {ask(name, folder, text_cfg)}"
            ) from error

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Return token ids (N, context), with the tokens around the words and padding, as open_clip's tokenizer."""
        found: Tensor = self.reader(list(texts))
        return found

    def length(self, text: str) -> int:
        """Return how many tokens a text takes, with those around its words."""
        return len(self._ids(text))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's words as they stand behind another word."""
        return self._content(f"x {text}")[len(self._content("x")) :]

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self.reader.tokenizer(self.reader.clean_fn(text)).input_ids
        return found

    def _content(self, text: str) -> list[int]:
        found: list[int] = self.reader.tokenizer(self.reader.clean_fn(text), add_special_tokens=False).input_ids
        return found


def needs_transformers(name: str) -> None:
    """Let open_clip find transformers; raise AdbenchError where it isn't installed."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise AdbenchError(
            f"the backbone {name} needs the package transformers, which reads its texts: "
            "pip install 'adbench-medical[hf]'"
        ) from error
    from adbench.backbone.openclip import with_transformers

    with_transformers()


def ask(name: str, folder: Path | str, text_cfg: Mapping[str, Any]) -> str:
    """Say where the text files of a backbone come from."""
    hub = text_cfg.get("hf_tokenizer_name") or text_cfg.get("hf_model_name")
    return (
        f"The text files of {name} come with: hf download {hub} --include '*.json' --include '*.txt' "
        f"--include '*.model' --local-dir {folder}"
    )


def files_of(folder: Path) -> dict[str, str]:
    """Return a hash of each file of a folder that a configuration or a tokenizer may be read from, by name."""
    found = sorted(file for file in folder.iterdir() if file.suffix in READ and file.is_file())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in found}


def text_config(name: str, folder: Path, text_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `config.json` of a folder says of the text tower.

    Raises AdbenchError where it is none that open_clip reads, or another than the backbone's `hf_config` says.
    """
    file = folder / "config.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdbenchError(
            f"{file} can't be read as a text configuration: {said(error)}. {ask(name, folder, text_cfg)}"
        ) from error
    found = found if isinstance(found, dict) else {}
    from adbench.backbone.openclip import arch_dict

    if found.get("model_type") not in arch_dict:
        raise AdbenchError(
            f"{file} has model_type={found.get('model_type')!r}, which is no text tower that open_clip reads. Possible "
            f"are {', '.join(arch_dict)}."
        )
    for key, value in text_cfg.get("hf_config", {}).items():
        if found.get(key) != value:
            raise AdbenchError(
                f"{file} is not that of {name}'s text tower: {key} is {found.get(key)!r}, and {value!r} is needed. "
                f"{ask(name, folder, text_cfg)}"
            )
    return found


def shape_of(config: Mapping[str, Any]) -> tuple[int, int, bool]:
    """Return depth and width of a text tower of Hugging Face's, and whether word vectors can be run through it."""
    from adbench.backbone.openclip import arch_dict

    kind = config.get("model_type")
    if kind not in arch_dict:
        raise AdbenchError(
            f"a text configuration of {kind!r} is none that open_clip reads. Possible are {', '.join(arch_dict)}."
        )
    keys = arch_dict[kind]["config_names"]
    try:
        layers, width = config[keys["layers"]], config[keys["width"]]
    except KeyError as error:
        raise AdbenchError(f"a text configuration of {kind} has no {error.args[0]}.") from error
    for key, value in ((keys["layers"], layers), (keys["width"], width)):
        if type(value) is not int or value < 1:
            raise AdbenchError(
                f"a text configuration of {kind} has {key}={value!r}, where a whole number above 0 is needed."
            )
    return layers, width, kind in FROM_WORDS


FROM_WORDS = ("bert", "roberta", "xlm-roberta")


def check_transformers_config(name: str, folder: Path) -> None:
    """Raise AdbenchError for a configuration that transformers refuses, or that would run code of its own."""
    needs_transformers(name)
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of any model's class, for any values
        raise AdbenchError(f"transformers can't read {folder / 'config.json'}: {said(error)}.") from error


def behind(end: Tensor, length: int) -> Tensor:
    """Return the additive mask (N, 1, 1, length) of prompts that end at `end`: no token attends to what is behind.

    >>> import torch
    >>> behind(torch.tensor([1]), 3)[0, 0, 0].isfinite().tolist()
    [True, True, True]
    >>> (behind(torch.tensor([1]), 3)[0, 0, 0] == 0).tolist()
    [True, True, False]
    """
    import torch

    after = torch.arange(length, device=end.device) > end[:, None]
    return after[:, None, None].float() * torch.finfo(torch.float32).min
