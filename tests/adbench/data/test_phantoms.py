"""The phantoms in the cache: drawn once, and again where they are not whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adbench.data.phantoms import drawn
from adbench.system.session import NotThereError


class Drawer:
    """Draws two files."""

    times = 0

    def phantom_version(self) -> str:
        return "1"

    def draw_phantom(self, root: Path) -> None:
        self.times += 1
        for name in ("a.png", "test/b.png"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(f"pixels of {name}")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda root: (root / "a.png").unlink(),
        lambda root: (root / "a.png").write_text("pixels of A.png"),
        lambda root: (root / "test" / "c.png").touch(),
        lambda root: shutil.rmtree(root / "test"),
    ],
)
def test_phantoms_that_are_not_whole_are_drawn_again(tmp_path: Path, capsys, spoil) -> None:
    drawer = Drawer()
    root = drawn(drawer, "x", tmp_path)  # type: ignore[arg-type]
    assert (drawn(drawer, "x", tmp_path), drawer.times) == (root, 1)  # type: ignore[arg-type]
    (root / ".DS_Store").touch()  # a file browser's
    assert (drawn(drawer, "x", tmp_path), drawer.times) == (root, 1)  # type: ignore[arg-type]
    spoil(root)
    with pytest.raises(NotThereError, match="not whole"):
        drawn(drawer, "x", tmp_path, offline=True)  # type: ignore[arg-type]
    assert drawer.times == 1
    drawn(drawer, "x", tmp_path)  # type: ignore[arg-type]
    assert drawer.times == 2
    assert sorted(path.name for path in root.rglob("*")) == ["a.png", "b.png", "test"]
    assert f"{root} is damaged" in capsys.readouterr().err


def test_drawing_leaves_nothing_of_its_temporary_folder(tmp_path: Path) -> None:
    for name in ("x", "y"):
        drawn(Drawer(), name, tmp_path)  # type: ignore[arg-type]
        drawn(Drawer(), name, tmp_path)  # type: ignore[arg-type]
    assert not [path for path in tmp_path.rglob("*") if "tmp" in path.name]


def test_half_drawn_phantoms_count_as_none(tmp_path: Path, capsys) -> None:
    class Killed(Drawer):
        def draw_phantom(self, root: Path) -> None:
            super().draw_phantom(root)
            if self.times == 1:
                raise KeyboardInterrupt

    drawer = Killed()
    with pytest.raises(KeyboardInterrupt):
        drawn(drawer, "x", tmp_path)  # type: ignore[arg-type]
    folder = tmp_path / "phantom" / "1"
    assert [path.name for path in folder.iterdir()] == [".locks"]
    (folder / "x").mkdir()  # of a version that kept no list
    assert (drawn(drawer, "x", tmp_path) / "a.png").is_file()  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""
