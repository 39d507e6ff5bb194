"""What a command of a bundle needs besides adbench: the source and the files that it names, by their hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adbench.data.fingerprint import CONTENT
from adbench.system.text import printable

OF_FILE = "file:"  # stands before the hash of a method's source in facts


def needs(content: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing that the command of a record names and that may have changed since, with its hash.

    These are the source of a method that adbench does not bring, files or folders of its parameters, a list of support
    images, a table of images, a weights file and a folder of text files. `content`: that of the record.json.
    """
    return [printable(line) for line in (*_source(content), *_parameters(content), *_others(content))]


def _source(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield which source of its method a record was made with; hashes of sources are 16 digits of a SHA-256."""
    name, facts = content["resolved"]["method"], content["facts"]
    source = facts.get("source")
    if source is None:
        return
    if source.startswith(OF_FILE):
        yield f"method={name}: a file whose SHA-256 starts with {source.removeprefix(OF_FILE)}"
        return
    kept = content["code"].get("method_source")
    of_file = f", of a file whose SHA-256 starts with {kept}" if kept else ""
    yield f"method={name}: version {facts['method_version']} of {source.replace(':', ' ', 1)}{of_file}"


def _parameters(content: Mapping[str, Any]) -> Iterator[str]:
    typed = _words(content, "method")
    for key, value in content["facts"]["params"].items():
        if isinstance(value, str) and value.startswith(CONTENT):
            named = f"={typed[key]}" if key in typed else ", a file of the method's own"
            yield f"method.{key}{named}: the content with the SHA-256 {value.removeprefix(CONTENT)}"


def _others(content: Mapping[str, Any]) -> Iterator[str]:
    facts, resolved = content["facts"], content["resolved"]
    if resolved.get("support"):
        yield f"support={resolved['support']}: a list of the images with the hash {facts['support']}"
    if table := _words(content, "dataset").get("table"):
        yield f"dataset.table={table}: a table of the images with the hash {facts['data']}"
    backbone = _words(content, "backbone")
    if weights := backbone.get("weights"):
        yield f"backbone.weights={weights}: weights with the hash {facts['weights']}"
    if text := backbone.get("text"):
        yield f"backbone.text={text}: the text files of a model with the hash {facts['model']}"


def _words(content: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (content["resolved"].get("overrides") or {}).get(section) or {}
    return found
