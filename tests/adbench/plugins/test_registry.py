from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adbench.errors import AdbenchError
from adbench.plugins import registry


def install(folder: Path, package: str, entry: str, code: str = "") -> None:
    """Write what pip leaves of a package: a module and its metadata."""
    (folder / f"{package}.py").write_text(code)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[adbench.methods]\n{entry}\n")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.entries.cache_clear()
    yield
    registry.entries.cache_clear()


def test_the_built_in_names_come_from_entry_points() -> None:
    assert {"madclip", "clip", "patchcore"} <= set(registry.entries("method"))
    assert {"brainmri", "liverct", "resc", "oct17", "chestxray", "his"} <= set(registry.entries("dataset"))


def test_a_strangers_method_is_found_and_loaded(tmp_path: Path) -> None:
    install(tmp_path, "stranger", "strange = stranger:Strange", "class Strange: pass")
    entry = registry.find("method", "strange")
    assert entry.package == "stranger"
    assert entry.load().__name__ == "Strange"


def test_two_packages_with_one_name_are_both_named(tmp_path: Path) -> None:
    install(tmp_path, "one", "clash = one:A")
    install(tmp_path, "two", "clash = two:B")
    for ask in (lambda: registry.find("method", "clash"), registry.entries("method")["clash"].load):
        with pytest.raises(AdbenchError, match=r"'clash': (one|two) .* and (one|two) .*Uninstall one of them"):
            ask()
    assert registry.find("method", "clip").package == "adbench-medical"


def test_a_broken_plug_in_says_where_it_is(tmp_path: Path) -> None:
    install(tmp_path, "broken", "hurt = broken:Hurt", "import no_such_module")
    assert "hurt" in registry.entries("method")
    with pytest.raises(AdbenchError, match="broken:Hurt.*no_such_module"):
        registry.find("method", "hurt").load()


def test_every_dataset_and_method_has_a_configuration() -> None:
    for kind in ("method", "dataset"):
        assert set(registry.entries(kind)) == set(registry.config_files(kind))


def test_listing_imports_no_torch() -> None:
    import subprocess

    code = (
        "import sys; from adbench.commands import listing; "
        "print(len(list(listing.listing('methods')))); "
        "assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_package_called_like_its_module_is_registered(tmp_path: Path) -> None:
    install(tmp_path, "alike", "like = alike:Like", "class Like: pass")
    entry = registry.find("method", "like")
    assert (entry.package, entry.target) == ("alike", "alike:Like")
    assert entry.registered
    assert entry.source(entry.load()) == "package:alike"
    assert not registry.find("method", "alike:Like").registered
