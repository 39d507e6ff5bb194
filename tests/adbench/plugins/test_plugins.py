"""Anyone's method: as an installed package, as a file, as a module; and what is said when one is broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adbench.backbone.weights import BackboneConfig
from adbench.commands import new_method as scaffold
from adbench.config import groups, layers
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.plugins import locate, registry

PAGE = Path(__file__).parents[3] / "docs" / "your-own-method.md"
OWN = """
from __future__ import annotations
from dataclasses import dataclass
from adbench import Batch, Capability, Method, Scores


@dataclass
class Params:
    scale: float = 1.0


class Own(Method):
    Params = Params

    @classmethod
    def capability(cls, params, architecture):
        return Capability("none", pooled=True, maps=False)

    def prepare(self, support):
        pass

    def score(self, batch):
        return Scores(batch.features.pooled.norm(dim=1) * self.params.scale)
"""
DATASET = "title: Scans\nobject_name: scan\n"


def install(folder: Path, package: str, points: dict[str, list[str]], files: dict[str, str] | None = None) -> None:
    """Write what pip leaves of a package: modules, data and metadata."""
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    groups = [f"[adbench.{group}]\n" + "\n".join(lines) for group, lines in points.items()]
    (info / "entry_points.txt").write_text("\n".join(groups) + "\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on Python's path, and a registry that looks again."""
    folder = tmp_path / "site"
    folder.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(folder))
    registry.entries.cache_clear()
    registry._shipped.cache_clear()
    groups.group.cache_clear()
    yield folder
    registry.entries.cache_clear()
    registry._shipped.cache_clear()
    groups.group.cache_clear()
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A method in a file of the current folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return file


def only(runs: Path) -> tuple[Path, dict]:
    (path,) = (path for path in runs.iterdir() if (path / "record.json").is_file())
    return path, json.loads((path / "record.json").read_text())


# --- a file


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
    assert adbench("score", path, image, "out=scores").code == 0

    own.rename(own.with_name("moved.py"))
    answer = adbench("score", path, image, "out=scores")
    assert answer.code == 4
    assert "was made by Own" in answer.err
    assert f"{own} is not there" in answer.err
    assert adbench("score", path, image, "out=scores", "method=moved.py:Own").code == 0
    own.with_name("moved.py").write_text(OWN + "# edited\n")
    answer = adbench("score", path, image, "out=scores", "method=moved.py:Own")
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
        ("own.py:Owen", "own.py:Owen cannot be imported: AttributeError"),
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


# --- a module


def test_a_method_in_a_module_is_named_by_its_class(site: Path, tiny: Path) -> None:
    from adbench.cells.resolve import resolve

    (site / "loose_module.py").write_text(OWN)
    (run,) = config.parse(["method=loose_module:Own", f"data_root={tiny}"])
    cell = resolve(run)
    assert cell.facts["method"] == "Own"
    assert cell.facts["source"].startswith("file:")


# --- packages


def test_a_registered_method_has_its_package_as_source_and_a_built_in_one_has_none(site: Path, tiny: Path) -> None:
    from adbench.cells.resolve import resolve

    yaml = "title: A stranger\nparams: {scale: 7}\npresets: {paper: {batch_size: 3}}\n"
    files = {"strange/__init__.py": "", "strange/sub/__init__.py": "", "strange/sub/method.py": OWN}
    files["strange/adbench_configs/method/odd.yaml"] = yaml
    install(site, "stranger", {"methods": ["odd = strange.sub.method:Own"]}, files)
    (run,) = config.parse(["method=odd", "preset=paper", f"data_root={tiny}"])
    cell = resolve(run)
    assert (cell.facts["method"], cell.facts["source"]) == ("odd", "package:stranger")
    assert (cell.params.scale, cell.config.batch_size) == (7, 3)
    assert "source" not in resolve(config.parse(["method=clip", f"data_root={tiny}"])[0]).facts


def test_records_of_a_package_that_was_edited_are_reused_and_told(adbench, site: Path, tiny: Path, tmp_path) -> None:
    install(site, "adbench-editable", {"methods": ["edited = editable:Own"]}, {"editable.py": OWN})
    words = ["method=edited", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0"]

    def edit(text: str) -> None:
        (site / "editable.py").write_text(text)
        sys.modules.pop("editable", None)

    told = r"note: {} made by other source of adbench-editable .*raise the method's `version`, or force=true"
    one, many = told.format("1 recorded cell was"), told.format("2 recorded cells were")
    assert adbench("run", *words, "seed=0,1").code == 0
    before = {path.name for path in (tmp_path / "runs").iterdir()}
    for command in ("run", "plan"):
        assert "other source" not in adbench(command, *words, "seed=0,1").out
    edit(OWN.replace("norm(dim=1)", "mean(dim=1)"))
    assert re.search(one, adbench("run", *words, "seed=0").out)
    for command in ("run", "plan"):
        answer = adbench(command, *words, "seed=0,1,2" if command == "plan" else "seed=0,1")
        assert re.search(many, answer.out), answer.out
        assert "2 recorded already" in answer.out
    assert {path.name for path in (tmp_path / "runs").iterdir()} == before
    assert adbench("run", *words, "seed=0", "force=true").code == 0
    assert "other source" not in adbench("run", *words, "seed=0").out
    edit(OWN.replace("norm(dim=1)", "mean(dim=1)").replace("    Params = ", "    version = 2\n    Params = "))
    assert "to run" in adbench("plan", *words, "seed=0").out


def test_source_that_cannot_be_read_is_compared_with_nothing(site: Path) -> None:
    install(site, "compiled", {"methods": ["hidden = compiled:Own"]}, {"compiled.py": OWN})
    entry = registry.find("method", "hidden")
    loaded = entry.load()
    (site / "compiled.py").unlink()
    assert entry.source_hash(loaded) is None
    assert registry.find("method", "clip").source_hash(registry.find("method", "clip").load()) is None


def test_a_broken_package_is_listed_and_takes_nothing_down(adbench, site: Path) -> None:
    files = {"hurt.py": "import no_such_module\n", "fine.py": OWN, "bad.py": OWN}
    files |= {"adbench_configs/method/odd.yaml": "title: [\n", "exits.py": "raise SystemError('on\\nmany\\nlines')\n"}
    files["quits.py"] = "import sys\nsys.exit('needs a licence')\n"
    install(site, "hurtful", {"methods": ["wound = hurt:Hurt", "many = exits:Out", "quit = quits:Out"]}, files)
    install(site, "finely", {"methods": ["sound = fine:Own"]})
    install(site, "baddish", {"methods": ["odd = bad:Own"]})
    answer = adbench("list", "methods")
    assert answer.code == 0, answer.err
    lines = {line.split()[0]: line for line in answer.out.splitlines()}
    assert "broken: ModuleNotFoundError: No module named 'no_such_module'" in lines["wound"]
    assert lines["wound"].endswith("[hurtful]")
    assert "broken: SystemError: on" in lines["many"]
    assert "broken: SystemExit: needs a licence" in lines["quit"]
    assert "broken: " in lines["odd"]
    assert "broken" not in lines["sound"]
    assert "MadCLIP" in lines["madclip"]
    answer = adbench("run", "method=wound")
    assert answer.code == 2
    assert "hurtful" in answer.err
    assert "no_such_module" in answer.err


def test_configurations_that_cannot_be_imported_cost_their_own_package_only(adbench, site: Path) -> None:
    points = {"methods": ["sour = curd:Own"], "configs": ["sour = curd_configs"]}
    install(site, "milk", points, {"curd.py": OWN, "curd_configs/__init__.py": "1 / 0\n"})
    assert layers.method_config("clip")["title"]
    with pytest.raises(AdbenchError, match=r"'sour' cannot be used: milk brings it.*curd_configs.*ZeroDivisionError"):
        layers.method_config("sour")
    assert "broken: " in next(line for line in adbench("list", "methods").out.splitlines() if line.startswith("sour"))


def test_configurations_that_exit_cost_their_own_package_only(site: Path) -> None:
    install(site, "exiting", {"configs": ["out = out_configs"]}, {"out_configs/__init__.py": "raise SystemExit(3)\n"})
    assert layers.method_config("clip")["title"]
    assert "SystemExit: 3" in registry._shipped()[1]["exiting"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("title: [\n", "not readable YAML"),
        ("datasets: [busi]\n", "'datasets' is not possible"),
        ("title: Mine\n", "'its content' is not possible"),
        ("dataset: busi\n", "'its content' is not possible"),
        ("- busi\n", "holds a "),
    ],
)
def test_a_broken_group_is_listed_and_costs_those_who_name_it(adbench, site: Path, content: str, why: str) -> None:
    files = {"mine_configs/__init__.py": "", "mine_configs/group/mine.yaml": content}
    files["mine_configs/backbone/torn.yaml"] = "title: [\n"
    install(site, "groupies", {"configs": ["mine = mine_configs"]}, files)
    assert [run.dataset for run in config.parse(["dataset=bmad_masked"])] == ["brainmri", "liverct", "resc"]
    for word in ("dataset=mine", "method=mine"):
        with pytest.raises(AdbenchError, match=f"the group 'mine' of groupies cannot be used: .*mine.yaml.*{why}"):
            config.parse([word])
    answer = adbench("list", "groups")
    (line,) = [line for line in answer.out.splitlines() if line.startswith("mine ")]
    assert re.search(f"broken: .*groupies.*{site}/mine_configs/group/mine.yaml.*{why}", line), line
    assert any(line.startswith("bmad ") for line in answer.out.splitlines())
    backbones = adbench("list", "backbones")
    assert re.search(r"torn +broken: .*not readable YAML.*\[groupies\]", backbones.out)


def test_two_packages_with_one_configuration_are_both_named(site: Path) -> None:
    for package in ("north", "south"):
        names = ("method/clash", "backbone/clash", "group/clash", "backbone/phantom-clip", "method/clip")
        files = {f"{package}_configs/{name}.yaml": "title: Clash\n" for name in names}
        files[f"{package}_configs/__init__.py"] = ""
        install(site, package, {"configs": [f"{package} = {package}_configs"]}, files)
    install(site, "third", {"methods": ["clash = third:Own"]}, {"third.py": OWN})
    two = r"two packages ship {}/clash\.yaml: (north|south) .* and (north|south) .*Rename one"
    with pytest.raises(AdbenchError, match=two.format("method")):
        layers.method_config("clash")
    with pytest.raises(AdbenchError, match=two.format("backbone")):
        layers.section(BackboneConfig, "backbone", "clash")
    with pytest.raises(AdbenchError, match=two.format("group")):
        config.parse(["dataset=clash"])
    assert layers.method_config("clip")["title"] != "Clash", "what adbench ships is its own"
    assert layers.section(BackboneConfig, "backbone", "phantom-clip").title != "Clash"


def test_two_configurations_of_one_method_are_refused(site: Path) -> None:
    files = {"twice.py": OWN, "twice_configs/__init__.py": "", "twice_configs/method/dual.yaml": "params: {}\n"}
    files["adbench_configs/method/dual.yaml"] = "params: {scale: 2}\n"
    install(site, "twice", {"methods": ["dual = twice:Own"], "configs": ["twice = twice_configs"]}, files)
    with pytest.raises(AdbenchError, match=r"'dual' has two configurations: .*twice_configs.* and .*adbench_configs"):
        layers.method_config("dual")


def test_a_strangers_dataset_brings_its_facts_beside_its_module(site: Path) -> None:
    from adbench.data.items import DatasetConfig

    files = {"scans.py": "class Scans: pass\n", "adbench_configs/dataset/scans.yaml": DATASET}
    install(site, "scanner", {"datasets": ["scans = scans:Scans", "bare = scans:Scans"]}, files)
    (run,) = config.parse(["dataset=scans", "dataset.support_split=train"])
    facts = layers.section(DatasetConfig, "dataset", "scans", run.words("dataset"))
    assert (facts.title, facts.object_name, facts.support_split) == ("Scans", "scan", "train")
    with pytest.raises(AdbenchError, match=r"'bare' of scanner ships no configuration.*title and object_name"):
        layers.section(DatasetConfig, "dataset", "bare", run.words("dataset"))


@pytest.fixture
def wreck(site: Path) -> Path:
    """A package whose every part is broken in its own way."""
    files = {
        "wreck/__init__.py": "raise SystemExit('no licence')\n",
        "wreck_configs/__init__.py": "",
        "wreck_configs/run.yaml": "method: [\n",
        "wreck_configs/method/wreck.yaml": "- no mapping\n",
        "wreck_configs/method/clip.yaml": "title: [\n",
        "wreck_configs/dataset/wreck.yaml": "title: [\n",
        "wreck_configs/dataset/brainmri.yaml": "title: [\n",
        "wreck_configs/backbone/wreck.yaml": "title: [\n",
        "wreck_configs/backbone/phantom-clip.yaml": "title: [\n",
        "wreck_configs/group/wreck.yaml": "dataset: 3\n",
        "wreck_configs/executor/wreck.yaml": "title: [\n",
        "wreck_configs/executor/local.yaml": "title: [\n",
    }
    points = {
        "methods": ["wreck = wreck:Method", "twice = wreck:A", "strange = not an entry point"],
        "datasets": ["wreck = wreck.data:Set", "twice = wreck:A"],
        "executors": ["wreck = wreck:Executor", "twice = wreck:A"],
        "configs": ["wreck = wreck_configs", "gone = wreck_no_such_module", "strange = :"],
    }
    install(site, "wreckage", points, files)
    install(site, "second", {group: ["twice = second:B"] for group in ("methods", "datasets", "executors")})
    (site / "nameless-1.0.dist-info").mkdir()
    (site / "nameless-1.0.dist-info" / "entry_points.txt").write_text("[adbench.methods]\nnameless = wreck:Method\n")
    return site


def test_a_broken_package_stops_no_command_that_does_not_need_it(adbench, wreck: Path, tiny: Path, tmp_path) -> None:
    config.defaults.cache_clear()
    layers.executor_sections.cache_clear()
    data, out = f"data_root={tiny}", ["--out", tmp_path / "x.png"]
    runs = f"runs={tmp_path / 'runs'}"
    few = ["--train", 0, "--valid", 2, "--test", 2]
    commands = [
        ["--help"], ["--version"], ["version"], ["run", "--keys"], ["--complete", "adbench run method="],
        ["plan", "method=clip,patchcore", "shots=2", data, runs], ["run", "method=clip", data, runs, "gallery=1"],
        ["leaderboard", tmp_path / "runs", "--html", tmp_path / "pages"], ["new-method", "nearest", "--into", tmp_path],
        ["data", "check", "brainmri", data], ["data", "describe", "brainmri", data, *out],
        ["support", "show", "shots=2", data, *out], ["support", "show", "method=patchcore", "shots=2", data, *out],
        ["data", "phantom", "--root", tmp_path / "drawn", "--dataset", "busi", *few],
    ]  # fmt: skip
    said = {}
    for words in commands:
        answer = adbench(*words)
        assert answer.code == 0, (words, answer.err)
        assert "Traceback" not in answer.err
        said[" ".join(map(str, words[:2]))] = answer
    assert "method=clip\n" in said["--complete adbench run method="].out
    (record,) = (path for path in (tmp_path / "runs").iterdir() if (path / "record.json").is_file())
    assert adbench("score", record, next(tiny.rglob("*.png")), f"out={tmp_path / 'scores'}").code == 0
    for kind, mine in (("methods", "clip"), ("datasets", "brainmri"), ("backbones", "phantom-clip"), ("groups", "bmad"),
                       ("executors", "local")):  # fmt: skip
        answer = adbench("list", kind)
        assert answer.code == 0, answer.err
        lines = {line.split()[0]: line for line in answer.out.splitlines()}
        assert "broken: " in lines["wreck"], kind
        assert "broken: " not in lines[mine], kind
        if kind in ("methods", "datasets", "executors"):
            assert "broken: two packages register" in lines["twice"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("run method=wreck", "wreckage"),
        ("run method=twice", "two packages register the method 'twice'"),
        ("run method=strange", "wreckage"),
        ("run method=nameless", "an unnamed package"),
        ("run dataset=wreck", "wreck"),
        ("run dataset=twice", "two packages register the dataset 'twice'"),
        ("run executor=wreck", "wreckage"),
        ("run executor=twice", "two packages register the executor 'twice'"),
        ("run backbone=wreck", "not readable YAML"),
        ("check-method wreck", "wreckage"),
        ("data check wreck", "wreck"),
    ],
)
def test_who_names_a_broken_package_gets_one_sentence(adbench, wreck: Path, words: str, says: str) -> None:
    answer = adbench(*words.split())
    assert answer.code == 2
    assert answer.err.startswith("adbench: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err


def test_all_phantoms_are_those_of_packages_that_are_not_broken(wreck: Path, capsys) -> None:
    from adbench.commands.phantom import usable

    assert set(usable()) == {name for name, entry in registry.entries("dataset").items() if not entry.foreign}
    notes = capsys.readouterr().err
    assert "note: wreck is left out: " in notes
    assert "note: twice is left out: two packages register the dataset 'twice'" in notes


def test_a_broken_package_does_not_stop_the_documentation(wreck: Path) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("docs_build", PAGE.parent / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    page = build.reference()
    assert "### patchcore" in page
    assert "### wreck" not in page


# --- the skeleton


@pytest.mark.parametrize("name", ["9lives", "Nearest", "two__bars", "class", "a-b", "../up", "", "clip"])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AdbenchError, match="adbench-medical registers" if name == "clip" else "cannot be the name"):
        scaffold.new_method(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spelling", ["padim", "Pa DiM", "", "Batch", "F", "None", "Pa-DiM", "../Up"])
def test_a_class_that_cannot_be_is_refused(tmp_path: Path, spelling: str) -> None:
    with pytest.raises(AdbenchError, match=f"--class {re.escape(spelling)} cannot be the class of a method"):
        scaffold.new_method("padim", tmp_path, spelling)
    assert list(tmp_path.iterdir()) == []


def test_a_class_may_have_a_papers_spelling(adbench, tmp_path: Path) -> None:
    answer = adbench("new-method", "padim", "--into", tmp_path, "--class", "PaDiM")
    assert answer.code == 0, answer.err
    assert "class PaDiM(Method[Params]):" in (tmp_path / "padim" / "adbench_padim" / "method.py").read_text()
    assert 'padim = "adbench_padim:PaDiM"' in (tmp_path / "padim" / "pyproject.toml").read_text()
    for path in tmp_path.rglob("*.py"):
        compile(path.read_text(), path, "exec")
        assert "Padim" not in path.read_text()


def test_what_is_about_the_example_is_marked_as_such(tmp_path: Path) -> None:
    """Whoever changes `score` finds no other text that has become wrong."""
    for path in scaffold.new_method("nearest_patch2", tmp_path).rglob("*"):
        if path.suffix in (".md", ".yaml", ".toml") or path.name == "__init__.py":
            assert not re.search("distance|neighbour|nearest (?!_)|bank", path.read_text()), path
    test = (tmp_path / "nearest_patch2" / "tests" / "test_nearest_patch2.py").read_text()
    assert "Replace this test together with `score`" in test.partition("support patch")[0]


def test_a_folder_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "nearest").mkdir()
    with pytest.raises(AdbenchError, match="exists already"):
        scaffold.new_method("nearest", tmp_path)
    assert list(tmp_path.rglob("*")) == [tmp_path / "nearest"]


def test_a_skeleton_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(AdbenchError, match="No space left"):
        scaffold.new_method("nearest", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_skeleton_is_linted_code_without_leftovers(tmp_path: Path) -> None:
    folder = scaffold.new_method("nearest_patch2", tmp_path)
    for path in folder.rglob("*"):
        text = str(path.relative_to(tmp_path)) + (path.read_text() if path.is_file() else "")
        assert "my_method" not in text.replace("your-own", "")
        assert "MyMethod" not in text
    code = (folder / "adbench_nearest_patch2" / "method.py").read_text()
    assert "class NearestPatch2(Method[Params]):" in code
    assert 50 <= len(code.splitlines()) <= 75
    settings = Path(__file__).parents[3] / "pyproject.toml"
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--config", str(settings), "--no-cache", folder.name]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        wrong = [line for line in done.stdout.splitlines() if re.match(r"[A-Z]+\d+ ", line) and "D103" not in line]
        assert not wrong, done.stdout
        assert words == ["check"] or done.returncode == 0, done.stdout


# One process for all commands: importing torch takes longer than any of them.
DRIVER = """
import shlex, sys
from adbench.commands import cli
for line in sys.stdin:
    sys.argv = shlex.split(line)
    print("###", line, end="", flush=True)
    try:
        cli.main()
    except SystemExit as stop:
        if stop.code:
            raise
import pytest
print("### pytest")
words = ["-q", "-p", "no:cacheprovider", "--rootdir", "nearest", "-c", "nearest/pyproject.toml", "nearest"]
sys.exit(pytest.main(words))
"""


def test_the_tutorial_leads_from_an_empty_folder_to_the_leaderboard(
    adbench, tmp_path: Path, tiny: Path, monkeypatch
) -> None:
    lines = "".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)).splitlines()
    done_here = ["adbench new-method nearest", "pip install --no-build-isolation --no-deps --editable ./nearest"]
    assert [line for line in lines if line in done_here] == done_here
    empty, site = tmp_path / "empty", tmp_path / "site"
    empty.mkdir()
    saved = re.findall(r"```python\n(# (\w+\.py)\n.*?)```", PAGE.read_text(), re.S)
    assert [name for _, name in saved] == ["mean.py", "probe.py"]
    for code, name in saved:
        (empty / name).write_text(code)
    monkeypatch.chdir(empty)
    assert adbench("new-method", "nearest").code == 0
    # Into a folder of its own: the environment of the tests stays as it is.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check"]
    pip += ["--no-build-isolation", "--no-deps", "--target", str(site), "./nearest"]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "importable" not in done.stderr, "setuptools misses a folder in `packages`"

    typed = [line + (f" data_root={tiny} gallery=0" if " run " in line else "") for line in lines]
    typed = [line for line in typed if line not in done_here]
    env = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-c", DRIVER]
    done = subprocess.run(command, input="\n".join(typed) + "\n", capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    said = {part.partition("\n")[0]: part for part in done.stdout.split("### ")[1:]}
    assert [*said] == [*typed, "pytest"]
    (line,) = (line for line in said["adbench list methods"].splitlines() if line.startswith("nearest "))
    assert line.split()[1] == "nearest", "the title of the YAML is in the package"
    assert line.endswith("[adbench-nearest]")
    for name in ("nearest", "mean.py:Mean", "probe.py:Probe"):
        assert re.search(r"(\d+) of \1 checks passed", said[f"adbench check-method {name}"]), name
    assert re.search(r"│ Mean +│ .*\n.*│ Mean +│ ", said["adbench leaderboard"])
    assert re.search(r"│ nearest +│.*│ \d", said["adbench leaderboard runs"])
    assert "2 passed" in said["pytest"]
    by_file, by_module = (said[line] for line in typed[-2:])
    assert "reused" not in by_file
    assert "recorded already, reused" in by_module, "the same source is the same cell"
    found = [json.loads(path.read_text()) for path in (empty / "runs").glob("*/record.json")]
    made = {content["facts"]["method"]: content for content in found}
    assert made["nearest"]["facts"]["source"] == "package:adbench-nearest"
    assert made["nearest"]["packages"]["adbench-nearest"] == "0.1.0"
    assert made["Nearest"]["facts"]["source"].startswith("file:")


def test_check_method_prints_a_table_and_fails_with_one(adbench, own: Path) -> None:
    own.write_text(OWN.replace(".norm(dim=1)", ".norm()").replace("* self.params.scale", "* self.params.scale * [1]"))
    answer = adbench("check-method", "own.py:Own")
    assert answer.code == 1
    assert re.search(r"batch alone +failed", answer.out)
    assert re.search(r"memory +not run", answer.out)
    assert re.search(
        r"expected +scores from images.*\n +seen +\w+Error.*own\.py:\d+.*\n +look at +Own\.score", answer.out
    )
    assert adbench("check-method", "own.py:Own", "shots=4").code == 2
    assert "method.X=VALUE" in adbench("check-method", "own.py:Own", "shots=4").err
    assert "did you mean 'clip'" in adbench("check-method", "clipp").err
