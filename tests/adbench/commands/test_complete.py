"""Shell completion: the words offered, in the real shells where they are installed, and the scripts."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer.main

from adbench.commands.cli import app
from adbench.commands.complete import SCRIPTS, candidates
from adbench.config.schema import ALLOWED, KEYS
from adbench.plugins import registry

ROOT = typer.main.get_command(app)


def offered(line: str) -> list[str]:
    return candidates(ROOT, line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("adbench da", ["data"]),
        ("adbench data ", ["phantom", "check", "describe", "synthesise"]),
        ("adbench list back", ["backbones"]),
        ("adbench run sho", ["shots="]),
        ("adbench run shots=4 s", ["support=", "seed=", "selection=", "schedule="]),
        ("adbench plan method=mad", ["method=madclip"]),
        ("adbench run method='mad", ["method=madclip"]),
        ("adbench run method=clip,patch", ["method=clip,patchcore"]),
        ("adbench run method=patchcore,patch", []),
        ("adbench run dataset=bm", ["dataset=bmad", "dataset=bmad_masked"]),
        ("adbench run backbone=ph", ["backbone=phantom-clip"]),
        ("adbench run train_on=busi+octd", ["train_on=busi+octdl"]),
        ("adbench run selection=f", ["selection=fixed:"]),
        ("adbench run force=", ["force=true", "force=false"]),
        ("adbench run executor=s", ["executor=slurm"]),
        ("adbench run data_root=", []),
        ("adbench run metho=", []),
        ("adbench run --k", ["--keys"]),
        ("adbench data check busi", ["busi"]),
        ("adbench data describe bmad", []),
        ("adbench data check busi c", ["cache="]),
        ("adbench data check busi method=", []),
        ("adbench check-method mv", ["mvfa"]),
        ("adbench support show dr", ["draw="]),
        ("adbench leaderboard --method patch", ["patchcore"]),
        ("adbench leaderboard --csv ", []),
        ("adbench score ", []),
        ("adbench score record thr", ["threshold="]),
        ("adbench score record map", ["map_threshold=", "maps="]),
        ("adbench score record maps=", ["maps=npy", "maps=tiff"]),
        ("adbench run operating=s", ["operating=support_cv"]),
        ("adbench --ver", ["--version"]),
    ],
)
def test_what_is_offered(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_every_key_is_offered_and_every_value_of_a_fixed_list() -> None:
    assert offered("adbench run ") == [f"{key}=" for key in KEYS]
    for key, values in ALLOWED.items():
        assert offered(f"adbench run {key}=") == [f"{key}={value}" for value in values]
    assert set(offered("adbench check-method ")) == set(registry.entries("method"))


def test_completion_imports_no_torch_and_no_omegaconf() -> None:
    for line in ("adbench run ", "adbench run dataset=b", "adbench data check "):
        code = (
            f"import sys; sys.argv = ['adbench', '--complete', {line!r}]\n"
            "from adbench.commands import cli\n"
            "try: cli.main()\n"
            "finally: assert not {'torch', 'pandas', 'numpy', 'omegaconf', 'rich'} & set(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout


# --- the shells


def environment(home: Path) -> dict[str, str]:
    """The environment of a shell that finds `adbench` and has no settings of its own."""
    (home / "bin").mkdir()
    (home / "bin" / "adbench").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m adbench "$@"\n')
    (home / "bin" / "adbench").chmod(0o755)
    return os.environ | {"HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "PS1": "> ", "TERM": "dumb"}


def typed(command: list[str], setup: str, keys: str, until: str, env: dict[str, str], cwd: Path) -> str:
    """Type `keys` into an interactive shell and return what it shows, at the latest after a minute."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe(command[0], command, env)
    shown = ""

    def read(marker: str) -> None:
        nonlocal shown
        end = time.monotonic() + 60
        while marker not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 4096).decode(errors="replace")

    try:
        os.write(terminal, f"{setup}; echo re''ady\n".encode())
        read("ready\r\n")
        shown = ""
        os.write(terminal, keys.encode())
        read(until)
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return shown


@pytest.mark.parametrize(
    ("keys", "until"),
    [
        ("adbench da\tchec\tbusi\tdata_r\t", "adbench data check busi data_root="),
        ("adbench run meth\tmadc\tsho\t4", "adbench run method=madclip shots=4"),
        ("adbench run method=clip,patchc\t", "adbench run method=clip,patchcore"),
        ("adbench run data_root=pic\t", "adbench run data_root=pictures/"),
    ],
)
def test_bash_completes_what_is_typed(tmp_path: Path, keys: str, until: str) -> None:
    (tmp_path / "pictures").mkdir()
    setup = "bind 'set enable-bracketed-paste off'; source <(adbench --show-completion bash)"
    command = ["bash", "--norc", "--noprofile", "-i"]
    assert until in typed(command, setup, keys, until, environment(tmp_path), tmp_path)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_what_is_typed(tmp_path: Path) -> None:
    setup = "autoload -Uz compinit; compinit -u; source <(adbench --show-completion zsh)"
    until = "adbench run method=madclip shots=4"
    keys = "adbench run meth\tmadc\tsho\t4"
    assert until in typed(["zsh", "-f", "-i"], setup, keys, until, environment(tmp_path), tmp_path)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_what_is_typed(tmp_path: Path) -> None:
    script = "adbench --show-completion fish | source; complete -C 'adbench run method=madc'"
    done = subprocess.run(["fish", "-c", script], env=environment(tmp_path), capture_output=True, text=True)
    assert done.stdout.split() == ["method=madclip"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_shell_has_a_script_that_asks_adbench(adbench, shell: str) -> None:
    answer = adbench("--show-completion", shell)
    assert answer.code == 0
    assert answer.out == SCRIPTS[shell].lstrip()
    assert "--complete" in answer.out
    assert {"bash": "complete -o default -F", "zsh": "#compdef adbench", "fish": "complete -c adbench"}[
        shell
    ] in answer.out


@pytest.mark.parametrize(
    ("shell", "files"),
    [
        ("bash", [".bash_completions/adbench.sh", ".bashrc"]),
        ("zsh", [".zfunc/_adbench", ".zshrc"]),
        ("fish", [".config/fish/completions/adbench.fish"]),
    ],
)
def test_installing_writes_below_the_home_folder_and_twice_is_as_once(
    adbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, files: list[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for start in (".bashrc", ".zshrc"):
        (tmp_path / start).write_text("alias ll='ls -l'")  # without a line break at its end
    answer = adbench("--install-completion", shell)
    assert answer.code == 0
    assert (
        answer.out
        == f"written: {', '.join(str(tmp_path / file) for file in files)}. New shells complete the words of adbench.\n"
    )
    before = {file: (tmp_path / file).read_text() for file in files}
    assert before[files[0]] == SCRIPTS[shell].lstrip()
    for start in files[1:]:
        assert before[start].startswith("alias ll='ls -l'\n")
    assert adbench("--install-completion", shell).code == 0
    assert {file: (tmp_path / file).read_text() for file in files} == before


def test_the_running_shell_is_found_and_another_one_is_one_sentence(adbench, monkeypatch, tmp_path: Path) -> None:
    done = subprocess.run(["bash", "-c", "adbench --show-completion; true"], env=environment(tmp_path),
                          capture_output=True, text=True)  # fmt: skip
    assert done.stdout == SCRIPTS["bash"].lstrip()
    answer = adbench("--show-completion", "zhs")
    assert answer.code == 2
    assert answer.err == "adbench: no completion for the shell 'zhs': did you mean 'zsh'? Allowed: bash, fish, zsh.\n"
    monkeypatch.setattr("adbench.commands.complete._running_shell", lambda: "tcsh")
    assert "no completion for the shell tcsh: name one" in adbench("--install-completion").err


def test_a_file_that_cannot_be_written_is_one_sentence(adbench, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "home").write_text("no folder")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    answer = adbench("--install-completion", "fish")
    assert answer.code == 2
    assert "`adbench --show-completion fish` prints it" in answer.err
