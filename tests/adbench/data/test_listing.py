"""What a folder holds: hidden files, links, pipes and names."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from adbench.data import listing
from adbench.data.listing import is_hidden, left_out, list_images, subfolders
from adbench.errors import DataError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(root: Path, deep: bool = True) -> list[str]:
    return [path.relative_to(root).as_posix() for path in list_images(root, deep).images]


def test_images_are_sorted_by_path_and_others_are_listed(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("b/2.png", "b-c.png", "a.JPG", "b/x.gif", "read.me", "b/10.tif")))
    assert names(tmp_path) == ["a.JPG", "b/10.tif", "b/2.png", "b-c.png"]
    assert list_images(tmp_path, deep=True).images == sorted(list_images(tmp_path, deep=True).images)
    assert names(tmp_path, deep=False) == ["a.JPG", "b-c.png"]
    assert left_out(list_images(tmp_path, True)) == ["2 files without a known ending: .gif (1), .me (1)"]


@pytest.mark.parametrize("folder", [".ipynb_checkpoints", "@eaDir", "__MACOSX", ".git", "lost+found"])
def test_what_systems_leave_behind_is_no_data(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / "a.png", tmp_path / "p1" / folder / "deep" / "b.png", tmp_path / "p1" / "c.png")
    touch(*(tmp_path / "p1" / name for name in ("._c.png", "Thumbs.db", "desktop.ini", ".DS_Store", "DICOMDIR")))
    found = list_images(tmp_path, deep=True)
    assert names(tmp_path) == ["a.png", "p1/c.png"]
    assert (found.hidden_files, found.hidden_folders, found.others) == (5, 1, [])
    assert left_out(found) == ["5 hidden files", "1 hidden folder"]
    (tmp_path / folder).mkdir()
    assert subfolders(tmp_path) == [tmp_path / "p1"]


def test_a_folder_below_a_hidden_one_is_read(tmp_path: Path) -> None:
    touch(tmp_path / ".data" / "@eaDir" / "set" / "p1" / "a.png")
    assert names(tmp_path / ".data" / "@eaDir" / "set") == ["p1/a.png"]
    assert names(tmp_path / ".data") == []


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "store" / "b.png", tmp_path / "store" / "deep" / "c.png", tmp_path / "disk" / "scan")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "batch").symlink_to(tmp_path / "store")
    (tmp_path / "set" / "a.png").symlink_to("../disk/scan")
    assert names(tmp_path / "set") == ["a.png", "batch/b.png", "batch/deep/c.png"]
    assert subfolders(tmp_path / "set") == [tmp_path / "set" / "batch"]


def test_a_folder_that_two_links_lead_to_is_read_once_under_its_own_name(tmp_path: Path) -> None:
    touch(tmp_path / "set" / "deep" / "p1" / "a.png", tmp_path / "other" / "b.png")
    (tmp_path / "set" / "alias").symlink_to("deep/p1")
    (tmp_path / "set" / "one").symlink_to("../other")
    (tmp_path / "set" / "two").symlink_to("../other")
    assert names(tmp_path / "set") == ["deep/p1/a.png", "one/b.png"]
    repeated = list_images(tmp_path / "set", deep=True).repeated
    assert repeated == [tmp_path / "set" / "alias", tmp_path / "set" / "two"]


def test_a_circle_of_links_ends_and_reads_nothing_of_the_folders_above(tmp_path: Path) -> None:
    touch(tmp_path / "set" / "normal" / "a.png", tmp_path / "set" / "abnormal" / "b.png", tmp_path / "c.png")
    (tmp_path / "set" / "normal" / "up").symlink_to("..")
    (tmp_path / "set" / "normal" / "top").symlink_to(tmp_path)
    (tmp_path / "set" / "normal" / "self").symlink_to(".")
    (tmp_path / "link").symlink_to("set")
    for root in (tmp_path / "set" / "normal", tmp_path / "link" / "normal"):
        assert names(root) == ["a.png"]
        assert len(list_images(root, deep=True).repeated) == 3


def test_relative_roots_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "p1" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert list_images(Path(), deep=True).images == [Path("p1/a.png")]
    assert listing.below(Path("p1/a.png"), Path()) == "p1/a.png"
    assert listing.below(Path("/p1/a.png"), Path("/")) == "p1/a.png"


def test_broken_links_that_may_be_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").symlink_to("gone.txt")
    assert names(tmp_path) == []
    for name in ("a.png", "batch2"):
        (tmp_path / name).symlink_to("../gone")
        with pytest.raises(
            DataError, match=rf"{name} is a link to \.\./gone, which does not exist\. Restore or remove"
        ):
            list_images(tmp_path, deep=True)
        (tmp_path / name).unlink()
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(DataError, match=r"loop\.png cannot be read: .*symbolic links"):
        list_images(tmp_path)
    (tmp_path / "loop.png").unlink()
    (tmp_path / "scratch").symlink_to("gone")
    with pytest.raises(DataError, match="scratch is a link to gone"):
        subfolders(tmp_path)


def test_pipes_and_sockets_are_named_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png is a pipe, not a file\. Remove it"):
        list_images(tmp_path)
    with pytest.raises(DataError, match=r"a\.png is a pipe, not a file with an image"):
        listing.check_file(tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "IM0001")
    with pytest.raises(DataError, match="IM0001 is a pipe"):
        list_images(tmp_path, deep=True)
    (tmp_path / "IM0001").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "b.dcm"))
        with pytest.raises(DataError, match=r"b\.dcm is a socket"):
            list_images(tmp_path)
    with pytest.raises(DataError, match="null is a device"):
        listing.check_file(Path("/dev/null"))


def test_a_folder_with_the_name_of_an_image_is_searched_or_named(tmp_path: Path) -> None:
    touch(tmp_path / "scan.dcm" / "1.png")
    assert names(tmp_path) == ["scan.dcm/1.png"]
    (tmp_path / "x.png").mkdir()
    with pytest.raises(DataError, match=r"x\.png has the name of an image, but is a folder without images"):
        list_images(tmp_path, deep=True)


def test_files_without_an_ending_are_read_where_they_are_dicom(tmp_path: Path) -> None:
    header = bytes(128) + b"DICM"
    for name in ("IM000001", "1.2.840.113619.2", "p1/00001"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(header)
    (tmp_path / "LICENSE").write_text("free")
    (tmp_path / "a.gif").write_bytes(header)
    assert names(tmp_path) == ["1.2.840.113619.2", "IM000001", "p1/00001"]
    assert left_out(list_images(tmp_path)) == ["2 files without a known ending: none (1), .gif (1)"]


def test_a_link_that_was_copied_as_text_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "store" / "a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "about").write_text("see ../elsewhere")
    assert names(tmp_path / "set") == []
    (tmp_path / "set" / "batch2").write_text("../store")
    with pytest.raises(DataError, match=r"batch2 is a link to \.\./store that was copied as text"):
        list_images(tmp_path / "set", deep=True)


def test_unreadable_folders_and_odd_names_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "locked" / "a.png")
    genuine = os.scandir

    def scandir(path: str):
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return genuine(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match="locked cannot be read: Permission denied"):
        list_images(tmp_path, deep=True)
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        listing.is_folder(tmp_path / ("x" * 300))
    touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xe9.png")))
    with pytest.raises(DataError, match=r"n\\xe9\.png has a name that is not UTF-8\. Rename it"):
        list_images(tmp_path)


def test_subfolders_can_be_left_out_by_name(tmp_path: Path) -> None:
    touch(tmp_path / "p1" / "Preview" / "a.png", tmp_path / "p1" / "a.png")
    found = list_images(tmp_path, deep=True, skip={"preview"})
    assert (found.images, found.skipped) == ([tmp_path / "p1" / "a.png"], [tmp_path / "p1" / "Preview"])


def test_hidden_names() -> None:
    assert not [name for name in ("scan.png", "eaDir", "MACOSX", "thumbs", "a.db") if is_hidden(name)]


@pytest.mark.parametrize(
    "name",
    [
        "@Recycle", "@Recently-Snapshot", "@eaDir", "@tmp", "#recycle", "#Snapshot", "~snapshot", ".snapshot", ".zfs",
        "RECYCLER", "$Recycle.Bin", "System Volume Information", "Network Trash Folder", "Temporary Items",
        "LOST+FOUND", "__MACOSX", ".Trash-1000", "DfsrPrivate",
    ],
)  # fmt: skip
def test_trash_and_snapshots_of_systems_hold_no_images(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "a.png", tmp_path / name / "a.png", tmp_path / "p1" / name.upper() / "b.png")
    listing = list_images(tmp_path, deep=True)
    assert listing.images == [tmp_path / "a.png"]
    assert listing.hidden_folders == 2
    assert subfolders(tmp_path) == [tmp_path / "p1"]
