"""Groups and wildcards: the names that a value of `dataset=`, `method=` or `backbone=` stands for."""

from __future__ import annotations

import contextlib
import fnmatch
import functools

from adbench.config.layers import lacking, load_yaml
from adbench.errors import AdbenchError, PluginError, nearest
from adbench.plugins import locate, registry

# Keys whose values are names, which groups and wildcards can stand for.
NAMED: tuple[registry.Kind, ...] = ("method", "dataset", "backbone")


def groups() -> dict[str, dict[str, list[str]]]:
    """The named groups of configs/group/*.yaml: {name: {"dataset": [name, ...]}}, or of methods or backbones.

    Groups that can't be used are left out; `group` says what is wrong with one.
    """
    usable = {}
    for name in registry.config_files("group"):
        with contextlib.suppress(AdbenchError):
            usable[name] = group(name)
    return usable


@functools.cache
def group(name: str) -> dict[str, list[str]]:
    """The content of one group; a file that is no group raises with its package and path."""
    file = registry.shipped_file("group", name)
    package = next(owner for owner, path in registry.shipped("group")[name].items() if path == file)
    assert file is not None
    try:
        content = load_yaml(file)
        for text in ("title", "display_name"):
            content.pop(text, None)
        wrong = set(content) - set(NAMED)
        if wrong or not content or not all(isinstance(names, list) and names for names in content.values()):
            raise AdbenchError(
                f"{file}: {wrong.pop() if wrong else 'its content'!r} is not possible; a group holds a title, a "
                f"display_name and a list of names under {', '.join(NAMED)}."
            )
    except AdbenchError as error:
        raise AdbenchError(f"the group {name!r} of {package} cannot be used: {error}") from error
    return {kind: [str(name) for name in names] for kind, names in content.items()}


def expand(kind: registry.Kind, text: str) -> list[str]:
    """Return the names that one word stands for: those of a group, those that a wildcard matches, or the word itself.

    A wildcard (`*`, `?`) is matched against names and groups. What matches nothing raises with what there is.

    >>> expand("dataset", "bmad_masked")
    ['brainmri', 'liverct', 'resc']
    """
    known = list(registry.config_files(kind) if kind == "backbone" else registry.entries(kind))
    members = {name: content[kind] for name, content in groups().items() if kind in content}
    if ":" in text:  # `file.py:Class` names itself
        return [str(locate.ImportPath.of(text)) if kind == "method" else text]
    if text in known:
        return [text]
    if text in members:
        return members[text]
    if text in registry.config_files("group"):
        group(text)  # says what is wrong with it
    if "*" in text or "?" in text:
        matched = [name for name in known if fnmatch.fnmatchcase(name, text)]
        if kind == "method":  # what lacks its package is asked for by name only
            matched = [name for name in matched if not _is_lacking(name)]
        matched += [name for group in members if fnmatch.fnmatchcase(group, text) for name in members[group]]
        if not matched:
            raise AdbenchError(f"{kind}={text} matches nothing. Allowed: {', '.join(sorted([*known, *members]))}.")
        return list(dict.fromkeys(matched))
    near = nearest(text, [*known, *members])
    if near in members:
        raise AdbenchError(f"unknown {kind} {text!r}: did you mean the group {near!r}, {', '.join(members[near])}?")
    return [text]


def _is_lacking(method: str) -> bool:
    try:
        return lacking(method) is not None
    except PluginError:  # its own cell says what is wrong with it
        return False


def trainings(text: str) -> list[str]:
    """Return the values that one word of `train_on=` stands for: a training on each name, or with `+` one on all.

    >>> trainings("bmad_masked"), trainings("bmad_masked+busi")
    (['brainmri', 'liverct', 'resc'], ['brainmri+liverct+resc+busi'])
    """
    if text == "null":
        return [text]
    parts = [expand("dataset", part) for part in text.split("+")]
    return parts[0] if len(parts) == 1 else ["+".join(name for part in parts for name in part)]
