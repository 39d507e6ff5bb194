"""Methods named by where they are: a file or a module."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.plugins import locate, registry
from tests.adbench.plugins.packages import OWN, defined_in_a_notebook, only


def test_a_method_in_a_file_runs_is_recorded_and_scores(adbench, own: Path, tiny: Path) -> None:
    answer = adbench("run", "method=./own.py:Own", "method.scale=2", f"data_root={tiny}", "gallery=0")
    assert answer.code == 0, answer.err
    path, content = only(Path("runs"))
    assert content["facts"]["method"] == "Own"
    assert re.fullmatch(r"file:[0-9a-f]{16}", content["facts"]["source"])
    assert content["resolved"]["method"] == f"{own}:Own"
    assert str(own) not in json.dumps(content["facts"]), "a path is no part of a cell"
    assert b"own.py" not in (path / "method.safetensors").read_bytes()
    assert "Own" in adbench("leaderboard", "runs", "--markdown").out
    image = next(tiny.rglob("*.png"))
    answer = adbench("score", path, image, "out=scores")
    assert answer.code == 4
    assert "was made by Own" in answer.err
    assert "what a record names is never run" in answer.err
    assert adbench("score", path, image, "out=scores", "method=own.py:Own").code == 0

    own.rename(own.with_name("moved.py"))
    answer = adbench("score", path, image, "out=others", "method=own.py:Own")
    assert answer.code == 2
    assert "own.py is not there" in answer.err
    assert adbench("score", path, image, "out=moved", "method=moved.py:Own").code == 0
    own.with_name("moved.py").write_text(OWN + "# edited\n")
    answer = adbench("score", path, image, "out=edited", "method=moved.py:Own")
    assert answer.code == 4
    assert "Bring that source back" in answer.err


def test_a_method_in_a_file_is_shown_by_the_name_of_its_class(adbench, own: Path, tiny: Path) -> None:
    own.with_name("other.py").write_text(OWN.replace("class Own", "class Other"))
    words = [f"data_root={tiny}", "gallery=0"]
    answer = adbench("run", "method=own.py:Own", *words)
    assert re.search(r"^Own on brainmri \(", answer.out, re.M)
    assert str(own) not in answer.out
    answer = adbench("run", "method=own.py:Own,other.py:Other", *words)
    assert re.search(r"^  Own +brainmri ", answer.out, re.M)
    assert re.search(r"^  Other +brainmri ", answer.out, re.M)
    assert ".py" not in answer.out + answer.err
    (own.parent / "sub").mkdir()
    (own.parent / "sub" / "same.py").write_text(OWN.replace("norm(dim=1)", "mean(dim=1)"))
    answer = adbench("plan", "method=own.py:Own,sub/same.py:Own", *words)
    assert re.search(rf"^  {own}:Own ", answer.out, re.M), "two of one name need their files"


def test_an_edited_file_is_another_cell_and_another_place_is_not(own: Path, tiny: Path) -> None:
    from adbench.cells.resolve import resolve

    def key(word: str) -> str:
        (run,) = config.parse([f"method={word}", f"data_root={tiny}"])
        return resolve(run).key

    first = key("own.py:Own")
    (own.parent / "elsewhere").mkdir()
    (own.parent / "elsewhere" / "same.py").write_text(OWN)
    assert key("elsewhere/same.py:Own") == first
    own.write_text(OWN.replace("norm(dim=1)", "mean(dim=1)"))
    assert key("own.py:Own") != first


def test_a_file_is_imported_once_for_each_content(own: Path) -> None:
    one, two = locate.import_file(str(own)), locate.import_file(str(own))
    assert one is two
    own.write_text(OWN + "more = 1\n")
    assert locate.import_file(str(own)).more == 1
    assert not hasattr(one, "more")


def test_yaml_beside_a_file_sets_parameters(own: Path) -> None:
    folder = own.parent / "adbench_configs" / "method"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("params: {scale: 3}\nschedules: {paper: {scale: 4}}\n")
    Params = registry.find("method", "own.py:Own").load().Params
    for words, scale in (([], 3), (["schedule=paper"], 4), (["method.scale=5"], 5)):
        (run,) = config.parse(["method=own.py:Own", *words])
        assert layers.method_params(Params, run.method, run.schedule, run.words("method")).scale == scale
    (folder / "own.yaml").write_text("parms: {}\n")
    (run,) = config.parse(["method=own.py:Own"])
    with pytest.raises(AdbenchError, match=r"own\.yaml: unknown key 'parms'"):
        layers.method_params(Params, run.method, run.schedule, run.words("method"))


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("gone.py:Own", "gone.py is not there"),
        ("own.py:", "names no class"),
        ("own-method:Own", "names no class"),
        ("own.py:Owen", "own.py:Owen is not possible: own.py has no Owen; it has Params, Own"),
        ("no_such_package.module:Own", "No module named 'no_such_package'"),
        ("broken.py:Own", "SyntaxError"),
        ("own.py:Params", "no subclass of adbench.Method"),
    ],
)
def test_what_is_wrong_with_a_place_is_one_sentence(adbench, own: Path, tiny: Path, word: str, says: str) -> None:
    own.with_name("broken.py").write_text("class Own(\n")
    answer = adbench("run", f"method={word}", f"data_root={tiny}")
    assert answer.code == 2
    assert says in answer.err
    assert "Traceback" not in answer.err
    assert not Path("runs").exists()


def test_a_dataset_comes_by_an_entry_point_only() -> None:
    with pytest.raises(AdbenchError, match=r"entry point in the group adbench\.datasets"):
        config.parse(["dataset=./mine.py:Mine"])


def test_a_method_in_a_module_is_named_by_its_class(site: Path, tiny: Path) -> None:
    from adbench.cells.resolve import resolve

    (site / "loose_module.py").write_text(OWN)
    (run,) = config.parse(["method=loose_module:Own", f"data_root={tiny}"])
    cell = resolve(run)
    assert cell.facts["method"] == "Own"
    assert cell.facts["source"].startswith("file:")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("own.py:Owm", r"own\.py has no Owm; it has Params, Own"),
        ("own.py", r"method=own\.py names no class\. Write method=FILE\.py:Class"),
        ("half.py:Half", r"the method Half has no score\(self, batch\), which returns Scores\(image, maps\); write it"),
    ],
)
def test_what_a_beginner_writes_wrong_is_named(adbench, own: Path, word: str, says: str) -> None:
    own.with_name("half.py").write_text(OWN.replace("class Own", "class Half").replace("def score(", "def scores("))
    for command in (("check-method", word), ("run", f"method={word}")):
        answer = adbench(*command)
        assert answer.code in (1, 2)
        assert re.search(says, answer.err + answer.out), answer.err + answer.out
        assert "Traceback" not in answer.err


def test_a_method_of_a_notebook_is_to_be_written_into_a_file(adbench, tiny: Path, tmp_path: Path, monkeypatch) -> None:
    defined_in_a_notebook(monkeypatch, OWN)
    answer = adbench("run", "method=__main__:Own", f"data_root={tiny}", f"runs={tmp_path / 'runs'}")
    assert answer.code == 2
    assert "Own is defined in a notebook or at Python's prompt" in answer.err
    assert "a notebook's cell does that begins with %%writefile own.py, and give method=own.py:Own." in answer.err
    assert "entry point" not in answer.err


def test_a_file_that_imports_its_neighbour_is_told_where_python_looks(
    adbench, own: Path, tiny: Path, monkeypatch
) -> None:
    own.with_name("own_neighbour.py").write_text("ONE = 1\n")
    own.write_text(
        OWN.replace("import Batch", "import Batch\nfrom own_neighbour import ONE\nfrom adbench import Batch")
    )
    words = ["method=own.py:Own", f"data_root={tiny}", "gallery=0"]
    answer = adbench("run", *words)
    assert answer.code == 2
    assert answer.err.strip().endswith(
        "No module named 'own_neighbour'. own_neighbour lies next to own.py, and Python looks for modules on its path "
        f"alone: set PYTHONPATH={own.parent}, or make a package of both: adbench new-method NAME"
    )
    assert str(own.parent) not in sys.path
    monkeypatch.syspath_prepend(own.parent)  # as PYTHONPATH does
    monkeypatch.delitem(sys.modules, "own_neighbour", raising=False)
    assert adbench("run", *words).code == 0


@pytest.mark.parametrize(
    ("files", "word", "says"),
    [
        (
            {"own.py": "from .near import one\n", "near.py": ""},
            "own.py:Own",
            "write `import x` in place of `from . import x` and set PYTHONPATH={}, or make a package: adbench new-",
        ),
        (
            {"a/__init__.py": "", "a/b/__init__.py": "", "a/b/own.py": "from .near import one\n"},
            "a/b/own.py:Own",
            "this one belongs to the package a: set PYTHONPATH={}, and give method=a.b.own:Own",
        ),
        ({"own_place.py": ""}, "own_place:Own", "It is a file of the current folder: method=own_place.py:Own"),
        (
            {"own_place/here.py": ""},
            "own_place.here:Own",
            "own_place lies in the current folder, and Python looks on its path alone: set PYTHONPATH={}",
        ),
        ({"own.py": "import own_gone\n"}, "own.py:Own", "No module named 'own_gone'. Fix it."),
        ({"own.py": "import json.own_gone\n"}, "own.py:Own", "No module named 'json.own_gone'. Fix it."),
    ],
)
def test_what_cannot_be_imported_is_told_what_to_do(
    adbench, tmp_path: Path, monkeypatch, files: dict[str, str], word: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])  # as the command `adbench` has it
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    answer = adbench("run", f"method={word}")
    assert answer.code == 2
    assert says.format(tmp_path) in answer.err
