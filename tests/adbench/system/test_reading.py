"""Text files that a user names: no device, no pipe, nothing endless."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adbench.config.layers import load_yaml
from adbench.errors import AdbenchError
from adbench.system.reading import read_text


def test_a_regular_file_is_read_with_its_lines_ends_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("a;b\r\nü;2\r".encode("utf-8-sig"))
    assert read_text(tmp_path / "a.csv", "utf-8-sig") == "a;b\nü;2\n"


def test_devices_pipes_folders_and_large_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="it is no regular file"):
            read_text(path)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="it has 1099511627776 bytes, and at most"):
        read_text(tmp_path / "large")


@pytest.mark.parametrize("name", ["/dev/zero", "pipe"])
def test_lists_tables_and_yaml_without_an_end_are_one_sentence(adbench, tiny: Path, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / name
    answer = adbench("run", "method=clip_finetune", f"data_root={tiny}", f"support={path}", f"runs={tmp_path / 'runs'}")
    assert answer.code == 2
    assert "regular file" in answer.err
    answer = adbench("run", "method=clip", "dataset=folder", f"data_root={tiny}", f"dataset.table={path}")
    assert answer.code == 3
    assert "Traceback" not in answer.err
    with pytest.raises(AdbenchError, match="is not readable YAML: it is no regular file"):
        load_yaml(path)
