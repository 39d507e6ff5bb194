"""Methods, datasets and configurations that packages bring."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from adbench.backbone.weights import BackboneConfig
from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.plugins import registry
from tests.adbench.plugins.packages import DATASET, OWN, install


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
    assert re.search(r"torn +│ +│ broken: .*not readable YAML.*\[groupies\]", backbones.out)


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
