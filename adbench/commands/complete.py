"""Shell completion: the words that can follow on a command line, and the scripts that let a shell ask for them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from adbench.commands.keys import DATA_KEYS, PLOT_KEYS, SCORE_KEYS, SUPPORT_KEYS, SYNTHESIS_KEYS, VERIFY_KEYS
from adbench.config.schema import ALLOWED, KEYS, NOT_AXES
from adbench.errors import AdbenchError, did_you_mean
from adbench.plugins import registry
from adbench.reproduce import keys as reproduce

LISTS = ("methods", "datasets", "backbones", "groups", "executors")
# Keys after the positional arguments of each command.
COMMAND_KEYS: dict[str, Sequence[str]] = {
    "run": KEYS, "plan": KEYS, "reproduce": reproduce.KEYS, "support show": SUPPORT_KEYS, "score": SCORE_KEYS,
    "plot features": PLOT_KEYS, "verify": VERIFY_KEYS, "serve": PLOT_KEYS, "check-method": ("backbone",),
    "data check": DATA_KEYS,
    "data describe": DATA_KEYS,
    "data synthesise": SYNTHESIS_KEYS,
}  # fmt: skip
ARGUMENTS = {  # the first
    "reproduce": "reproduce", "list": "list", "data check": "dataset", "data describe": "dataset",
    "data synthesise": "dataset", "check-method": "method",
}  # fmt: skip
SHIPPED = ("backbone", "support", "reproduce")  # kinds of names that are YAML files, without an entry point each
VALUES = {
    **ALLOWED,
    "list": LISTS,
    "maps": ("npy", "tiff"),
    "selection": ("last", "fixed:", "valid", "support_cv", "oracle"),
    **dict.fromkeys(("force", "gallery_levels", "deterministic", "compile"), ("true", "false")),
}


def candidates(root: Any, line: str) -> list[str]:
    """Return the whole words that the last word of `line` can become; none where a file or free text is expected.

    `root` is typer's command `adbench`. No space follows a word that ends in `=` or `:`.
    """
    *words, current = _split(line)
    command, path = root, []
    words = words[1:]
    while words and words[0] in getattr(command, "commands", {}):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    if current.startswith("-"):
        return _beginning(current, _options(command))
    if hasattr(command, "commands"):
        return _beginning(current, command.commands)
    name, option = " ".join(path), _options(command).get(words[-1]) if words else None
    if option is not None and not option.is_flag:
        return _values(option.name, current, "")
    given = [word for word in words if not word.startswith("-")]
    if name in ARGUMENTS and not given:
        return _beginning(current, _names(ARGUMENTS[name], groups=False))
    if name in ("score", "plot features", "serve") and not (given and current):
        return []  # a record, then images or keys
    keys = COMMAND_KEYS.get(name, ())
    key, equals, text = current.partition("=")
    if equals:
        return _values(key, text, f"{key}=") if key in keys else []
    taken = {word.partition("=")[0] for word in given}
    return _beginning(current, [f"{key}=" for key in keys if key not in taken])


def _split(line: str) -> list[str]:
    """Split a command line as a shell does; the last word is empty after a space.

    >>> _split("adbench run "), _split("adbench run method='mad")
    (['adbench', 'run', ''], ['adbench', 'run', 'method=mad'])
    """
    try:
        words = shlex.split(line)
    except ValueError:  # a quote is still open
        words = line.replace("'", "").replace('"', "").split()
    return words if words and not line[-1:].isspace() else [*words, ""]


def _options(command: Any) -> dict[str, Any]:
    options = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
    return {name: param for param in options for name in param.opts} | {"--help": _Flag()}


class _Flag:
    is_flag = True
    name = "help"


def _beginning(start: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(start)]


def _values(key: str, text: str, before: str) -> list[str]:
    """Return `before` and each value of a key that begins with `text`; in an axis such as clip,mad its last value."""
    head, separator, last = "", "", text
    if key not in NOT_AXES and (cut := re.match(r"(.*)([,+])" if key == "train_on" else r"(.*)(,)", text)):
        head, separator, last = cut[1], cut[2], text[cut.end() :]
    taken = re.split("[,+]", head)
    return [f"{before}{head}{separator}{value}" for value in _beginning(last, _names(key)) if value not in taken]


def _names(key: str, groups: bool = True) -> list[str]:
    """Return the values of a key with a fixed list of them; a broken package costs its names."""
    if key in VALUES:
        return list(VALUES[key])
    kind = {"train_on": "dataset"}.get(key, key)
    if kind not in ("method", "dataset", "backbone", "executor", "support", "reproduce"):
        return []
    try:
        kind = cast(registry.Kind, kind)
        names = [*(registry.config_files(kind) if kind in SHIPPED else registry.entries(kind))]
        files = registry.config_files("group") if groups else {}
        return names + [name for name, file in files.items() if _holds(file.read_text("utf-8"), kind)]
    except (AdbenchError, OSError, UnicodeDecodeError):
        return []


def _holds(group: str, kind: str) -> bool:
    """Whether the YAML of a group lists names of a kind; to read it as YAML would take OmegaConf, half a second."""
    return re.search(rf"^{kind}:", group, re.M) is not None


# Each script hands over the line up to the cursor and gets whole words; files are completed where there are none.
SCRIPTS = {
    "bash": r"""
_adbench() {
    local line=${COMP_LINE:0:COMP_POINT} word
    local typed=${line##*[[:space:]]}
    local before=${typed%"$2"}  # bash replaces only what follows the last = or :
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("${word#"$before"}")
        [[ $word == *[=:] ]] && compopt -o nospace 2>/dev/null
    done < <("$1" --complete "$line" 2>/dev/null)
}
complete -o default -F _adbench adbench
""",
    "zsh": r"""
#compdef adbench
_adbench() {
    local word
    local -a whole open
    for word in ${(f)"$("${words[1]}" --complete "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)"}; do
        if [[ $word == *[=:] ]]; then open+=("$word"); else whole+=("$word"); fi
    done
    if (( $#whole + $#open )); then
        (( $#whole )) && compadd -- $whole
        (( $#open )) && compadd -S '' -- $open
    else
        compset -P '*='
        _files
    fi
}
if [[ $funcstack[1] == _adbench ]]; then _adbench "$@"; else compdef _adbench adbench; fi
""",
    "fish": r"""
function __adbench_complete
    set -l words (adbench --complete (commandline -cp | string collect) 2>/dev/null)
    if set -q words[1]
        printf '%s\n' $words
    else
        set -l key (string match -r '^[^=]*=' -- (commandline -ct))
        for path in (__fish_complete_path (string replace -r '^[^=]*=' '' -- (commandline -ct)))
            echo "$key$path"
        end
    end
end
complete -c adbench -f -a '(__adbench_complete)'
""",
}


def script(shell: str) -> str:
    """Return the completion script of a shell: bash, zsh or fish, or with `auto` that of the shell that is running."""
    return SCRIPTS[_named(shell)].lstrip("\n")


def install(shell: str) -> list[Path]:
    """Write the script of a shell below the home folder, where new shells read it; return the files written."""
    shell, home = _named(shell), Path.home()
    file, start, line = {
        "bash": (home / ".bash_completions/adbench.sh", home / ".bashrc", "source ~/.bash_completions/adbench.sh"),
        "zsh": (home / ".zfunc/_adbench", home / ".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit"),
        "fish": (home / ".config/fish/completions/adbench.fish", None, ""),
    }[shell]
    written = [file]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(script(shell), encoding="utf-8")
        before = start.read_text(encoding="utf-8") if start and start.is_file() else ""
        if start and line not in before.splitlines():
            gap = "" if before.endswith("\n") or not before else "\n"
            with start.open("a", encoding="utf-8") as stream:
                stream.write(f"{gap}{line}\n")
            written.append(start)
    except (OSError, UnicodeDecodeError) as error:
        raise AdbenchError(
            f"the completion for {shell} cannot be installed: {error}. `adbench --show-completion {shell}` prints it."
        ) from error
    return written


def _named(shell: str) -> str:
    if shell == "auto":
        shell = _running_shell()
        if shell not in SCRIPTS:
            raise AdbenchError(
                f"no completion for the shell {shell or 'of this process'}: name one, as in --show-completion bash. "
                f"Allowed: {', '.join(sorted(SCRIPTS))}."
            )
    if shell not in SCRIPTS:
        raise AdbenchError(f"no completion for the shell {shell!r}: {did_you_mean(shell, SCRIPTS)}")
    return shell


def _running_shell() -> str:
    """Return the name of the shell around this process, else of the one that the user logs in with."""
    try:
        shellingham: Any = import_module("shellingham")  # it comes with typer
    except ImportError:
        return Path(os.environ.get("SHELL", "")).name
    try:
        return str(shellingham.detect_shell()[0])
    except shellingham.ShellDetectionFailure:
        return Path(os.environ.get("SHELL", "")).name
