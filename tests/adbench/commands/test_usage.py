"""Help pages and usage errors, as they are printed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from adbench._version import __version__
from adbench.commands.cli import app
from adbench.commands.usage import PANELS, leaves

COMMANDS = dict(leaves(typer.main.get_command(app)))


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_version_is_one_line_and_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['adbench', '--version']\n"
        "from adbench.commands import cli\n"
        "try: cli.main()\n"
        "finally: assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"adbench {__version__}\n", "")


def test_help_lists_every_command_with_its_whole_description(adbench) -> None:
    answer = adbench("--help")
    assert answer.code == 0
    page = one_line(answer.out)
    for name, command in COMMANDS.items():
        assert f" {name} {one_line(command.help.partition(chr(10) + chr(10))[0])}" in page, name


def test_help_groups_the_commands(adbench) -> None:
    titles = re.findall(r"^(\w+):$", adbench("--help").out, re.M)
    assert titles == [*PANELS, "Options"]


def test_a_group_without_a_command_prints_its_help_page(adbench) -> None:
    answer = adbench("data")
    assert answer.code == 2
    assert "  describe " in answer.err
    assert "Usage: adbench data [OPTIONS] COMMAND ..." in answer.err


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_is_whole_and_shows_metavars_as_they_are_typed(adbench, name: str) -> None:
    answer = adbench(*name.split(), "--help")
    assert answer.code == 0
    page, command = one_line(answer.out), COMMANDS[name]
    assert page.startswith(f"Usage: adbench {name} [OPTIONS]")
    assert one_line(command.help) in page
    for param in command.params:
        assert param.help, f"{param.name} has no description"
        assert one_line(param.help).rstrip(".") in page
    assert not re.search(r"<list|<str|<path|\[\[|\{", page)


def test_options_show_their_value_and_default(adbench) -> None:
    page = one_line(adbench("data", "phantom", "--help").out)
    assert "--train N Normal images in train (default: 60)." in page
    assert "--root DIR Folder to draw into; required." in page
    assert "[KEY=VALUE]... Such as" in one_line(adbench("run", "--help").out)
    assert "--level SHARE Level of the intervals (default: 0.95)." in one_line(adbench("compare", "--help").out)
    assert "--intervals, --no-intervals 95 %" in one_line(adbench("leaderboard", "--help").out)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("lisst", "unknown command 'lisst': did you mean 'list'? Allowed: bundle, check-method, compare, "),
        (
            "data chekc",
            "unknown command 'data chekc': did you mean 'check'? Allowed: check, describe, phantom, synthesise. ",
        ),
        ("run --kees", "`adbench run` has no option '--kees': did you mean '--keys'? Allowed: --help, --keys"),
        ("run -x", "`adbench run` has no option '-x': allowed: --help, --keys"),
        ("--vers", "`adbench` has no option '--vers': did you mean '--version'?"),
        ("list", "methods|datasets|backbones|groups|executors is missing in `adbench list methods|"),
        ("score", "RECORD is missing in `adbench score RECORD IMAGES... [KEY=VALUE]...`"),
        ("score record", "IMAGES is missing in `adbench score RECORD IMAGES... [KEY=VALUE]...`"),
        ("data phantom", "--root is missing in `adbench data phantom --root DIR`"),
        ("list methods x", "`adbench list` takes no 'x' here"),
        ("new-method a b c", "`adbench new-method` takes no 'b c' here"),
        ("data phantom --root", "--root of `adbench data phantom` takes a value: --root DIR"),
        ("leaderboard --markdown=3", "--markdown of `adbench leaderboard` takes no value"),
        ("data phantom --root x --train y", "--train y is not possible: a whole number of at least 0 is needed"),
        ("compare --margin y", "--margin y is not possible: a number is needed, as in 0.5"),
        ("score a b out=1 out=2", "out is given twice, as '1' and '2'. Keep one."),
        ("data phantom --root x --test=1", "--test=1 is not possible: a whole number of at least 2 is needed"),
        ("run --keys shots=4", "--keys shows every key and runs nothing: leave out shots=4"),
        ("run shots", "'shots' is not key=value"),
        ("run --method madclip", "'--method' is written as a key here: method=madclip."),
        ("plan --cache-gb=3", "'--cache-gb' is written as a key here: cache_gb=3."),
        ("run --force method=clip", "'--force' is written as a key here: force=VALUE."),
        ("score a b --out z", "'--out' is written as a key here: out=z."),
        ("serve runs --data-root x", "'--data-root' is written as a key here: data_root=x."),
        ("data check brainmri --cache=x", "'--cache' is written as a key here: cache=x."),
        (
            "leaderboard runs method=clip",
            "method=clip: `adbench leaderboard` takes it as an option. Write --method clip.",
        ),
        ("compare markdown=true", "markdown=true: `adbench compare` takes it as an option. Write --markdown."),
        ("bundle runs out=b.zip", "out=b.zip: `adbench bundle` takes it as an option. Write --out b.zip."),
        ("data phantom root=x", "root=x: `adbench data phantom` takes it as an option. Write --root x."),
        ("data check brainmri json=true", "json=true: `adbench data check` takes it as an option. Write --json."),
    ],
)
def test_a_usage_error_is_one_sentence_in_the_voice_of_the_others(adbench, words: str, says: str) -> None:
    answer = adbench(*words.split())
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith(f"adbench: {says}")
    assert answer.err.count("\n") == 1
    assert "Usage:" not in answer.err
    assert "Try " not in answer.err


def test_what_looks_like_a_key_stays_a_file_or_the_value_of_an_option(adbench, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "method=clip").mkdir()
    assert "no record in method=clip" in adbench("leaderboard", "method=clip").err
    assert "nowhere does not exist" in adbench("leaderboard", "nowhere", "--csv", "method=x.csv").err


def test_each_command_with_keys_of_its_own_says_where_they_are(adbench) -> None:
    for name in COMMANDS:
        page = one_line(adbench(*name.split(), "--help").out)
        if "Keys, listed above." in page:
            assert " Keys: " in page.partition("Arguments:")[0], name
            assert "Such as shots=4" not in page, name


def test_ctrl_c_is_one_line_and_exit_code_130(adbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adbench.commands.run.run_words", interrupted)
    answer = adbench("run", "method=clip")
    assert answer.code == 130
    assert answer.err == "adbench: interrupted; finished records are kept, the running cell left no record.\n"


def test_ctrl_c_speaks_of_cells_only_where_there_are_some(adbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adbench.commands.phantom.draw_phantoms", interrupted)
    answer = adbench("data", "phantom", "--root", "x")
    assert (answer.code, answer.err) == (130, "adbench: interrupted.\n")


def test_ctrl_c_while_the_command_line_is_imported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-m", "adbench", "list"], env=environment, capture_output=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "adbench: interrupted.\n")


def test_a_reader_that_closes_its_pipe_leaves_no_traceback() -> None:
    command = f"{sys.executable} -m adbench list datasets | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() in ("0", "141", "1")
