"""What must not leave a machine: paths, and where asked for the names of images and patients."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from adbench.data.fingerprint import CONTENT
from adbench.data.items import CLASSES, SPLITS

OF_BACKBONE = ("weights", "text")
FILES = ("method", "support", *(f"backbone.{name}" for name in OF_BACKBONE))  # keys whose values may be paths
DATA = "DATA"  # stands for the folder of the images
PATH = re.compile(r"(?<![\w.:/…])~?(?:/[^\s/'\",;:()\[\]]+)+/?")  # an absolute path within a text; not that of a URL
# The name of an image file within a text; a mask or a table counts too.
NAMED = re.compile(
    r"[\w#().+-]+\.(?:png|jpe?g|tiff?|bmp|dcm|dicom|nii(?:\.gz)?|npy|gif|webp|csv|mha|nrrd)(?:#\d+)?(?!\w)", re.I
)
PATIENT = re.compile(r"\b(patients?|subject|case) (?!of\b|is\b|are\b|in\b)([\w.-]+)", re.I)
Change = Callable[[str], str]


def without_paths(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a record.json without the paths of the machine that made it.

    The folder of the images becomes `DATA`, runs and cache those of any machine, and every other absolute path its last
    name. What the key is made of is left as it is.
    """
    resolved = dict(content["resolved"])
    files = {*FILES, *(f"method.{name}" for name, value in content["facts"]["params"].items() if _is_content(value))}
    places: dict[str | None, str] = {value: _last(value) for value in _paths(content, files)}
    places |= {resolved.get("runs"): "runs", resolved.get("cache"): "cache", resolved.get("data_root"): DATA}
    places |= dict.fromkeys(
        [content["dataset"].get("root"), *(one.get("root") for one in content.get("seen") or ())], DATA
    )
    known = {str(place).rstrip("/"): name for place, name in places.items() if place and len(PurePath(place).parts) > 1}

    def change(text: str) -> str:
        for place in sorted(known, key=len, reverse=True):
            text = text.replace(place, known[place])
        return PATH.sub(lambda found: PurePath(found[0]).name or DATA, text)

    changed = {key: value if key == "facts" else _texts(value, change) for key, value in content.items()}
    real = resolved.get("data_root") != "phantom"
    changed["resolved"] |= {"runs": "runs", "cache": None} | ({"data_root": DATA} if real else {})
    changed["resolved"] |= {name: _last(str(resolved[name])) for name in ("support", "method") if resolved.get(name)}
    backbone = content["backbone"]
    changed["backbone"] |= {name: _last(backbone[name]) for name in OF_BACKBONE if name in backbone}
    changed["resolved"]["overrides"] = {
        section: {key: _last(value) if f"{section}.{key}" in files and isinstance(value, str) else value
                  for key, value in words.items()}
        for section, words in (changed["resolved"].get("overrides") or {}).items()
    }  # fmt: skip
    changed["given"] = [_without_folder(word, files, real) for word in changed["given"]]
    changed["dataset"] |= {"root": DATA} if "root" in content["dataset"] else {}
    if content.get("seen") is not None:
        changed["seen"] = [one | ({"root": DATA} if "root" in one else {}) for one in changed["seen"]]
    return changed


def _paths(content: Mapping[str, Any], files: Container[str]) -> Iterator[str]:
    """Yield the files and folders that a record names, as they were typed: by the keys in `files`, or from the root."""
    resolved, backbone = content["resolved"], content["backbone"]
    typed = [(f"backbone.{name}", backbone.get(name)) for name in OF_BACKBONE]
    typed += [(name, resolved.get(name)) for name in ("support", "method")]
    for section, words in (resolved.get("overrides") or {}).items():
        typed += [(f"{section}.{key}", value) for key, value in words.items()]
    for word in content["given"]:
        key, _, text = word.partition("=")
        typed += [(key, value) for value in _values(key, text)]
    for key, value in typed:
        if isinstance(value, str) and (key in files or value.startswith(("/", "~/"))) and _last(value) != value:
            yield value


def _values(key: str, text: str) -> list[str]:
    """Return the values of a word: of those that may be files, methods alone can be several in one word."""
    return text.split(",") if key == "method" else [text]


def _without_folder(word: str, files: Container[str], real: bool) -> str:
    """Return a word of the command line without the folders in it.

    >>> [_without_folder(word, FILES, True) for word in ("method=../smith/mean.py:Mean,clip", "data_root=my data")]
    ['method=mean.py:Mean,clip', 'data_root=DATA']
    """
    key, equals, value = word.partition("=")
    if key in ("runs", "cache"):
        return f"{key}={key}"
    if key == "data_root" and real:
        return f"{key}={DATA}"
    return f"{key}{equals}{','.join(map(_last, _values(key, value)))}" if key in files else word


def _is_content(value: Any) -> bool:
    """Whether a parameter is a file or folder, of which facts keep the hash."""
    return isinstance(value, str) and value.startswith(CONTENT)


def _last(path: str) -> str:
    """Return the last name of a path; a method `a/b.py:Class` is `b.py:Class`, and a file of a hub stays."""
    return path if ":" in path.partition("/")[0] else PurePath(path).name


def _texts(value: Any, change: Change) -> Any:
    """Return a value of JSON with each text changed; keys of objects stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_texts(one, change) for one in value]
    if isinstance(value, dict):
        return {key: _texts(one, change) for key, one in value.items()}
    return value


class Pseudonyms:
    """Keyed hashes in place of names: the same name has the same one in every table of a bundle.

    Without the key nobody can tell which name it was, nor try names until one fits. HMAC-SHA256 (RFC 2104), cut to 16
    hexadecimal digits.
    """

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._known: dict[str, str] = {}

    def _of(self, kind: str, text: str) -> str:
        return hmac.new(self.key, f"{kind}\t{text}".encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:16]

    def patient(self, name: str) -> str:
        """Return the pseudonym of a patient."""
        found = f"patient-{self._of('patient', name)}"
        self._known[name] = found
        return found

    def image(self, name: str) -> str:
        """Return the pseudonym of an image's id: split and class stay, as in `test/normal/image-0123456789abcdef`."""
        dataset, colon, own = name.partition(":")
        if not colon or dataset.partition("/")[0] in SPLITS:
            dataset, colon, own = "", "", name
        parts = own.split("/")
        kept = 2 if len(parts) > 2 and parts[0] in SPLITS and parts[1] in CLASSES else 0
        rest = "/".join(parts[kept:])
        hashed = f"image-{self._of('image', '/'.join(parts))}"
        self._known |= {
            name: f"{dataset}{colon}{'/'.join([*parts[:kept], hashed])}",
            own: "/".join([*parts[:kept], hashed]),
        }
        self._known |= {rest: hashed, parts[-1]: hashed}
        return self._known[name]

    def text(self, text: str) -> str:
        """Return a text in which known names, and whatever looks like the name of an image file, are hashed."""
        text = self._replaced(text)
        text = NAMED.sub(lambda found: f"image-{self._of('name', found[0])}", text)
        return PATIENT.sub(self._patient_in, text)

    def _patient_in(self, found: re.Match[str]) -> str:
        hashed = found[2] if found[2].startswith("patient-") else f"patient-{self._of('patient', found[2])}"
        return f"{found[1]} {hashed}"

    def _replaced(self, text: str) -> str:
        names = sorted((name for name in self._known if len(name) > 2 and name in text), key=len, reverse=True)
        if not names:
            return text
        pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)")
        return pattern.sub(lambda found: self._known[found[0]], text)


def anonymised(content: Mapping[str, Any], names: Pseudonyms) -> dict[str, Any]:
    """Return the content of a record.json in which images and patients are pseudonyms, in support, notes and words.

    A tracker, whose addresses name people, is left out. The names of the tables are known by then.
    """
    support = dict(content["support"])
    for kind in CLASSES:
        support[kind] = [names.image(name) for name in support[kind]]
    given = [word for word in content["given"] if not word.startswith(("wandb.", "logger="))]
    # The name of a table is no name of an image; commands.sh needs it.
    given = [word if word.startswith("dataset.table=") else names.text(word) for word in given]
    changed = {"support": support, "given": given, "notes": _texts(content["notes"], names.text)}
    return {**content, **changed, **({"tracker": None} if "tracker" in content else {})}
