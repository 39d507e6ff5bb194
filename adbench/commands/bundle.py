"""The command `adbench bundle`: the records of a paper as one archive that others can verify."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from adbench.board import leaderboard
from adbench.bundles.read import opened
from adbench.commands.leaderboard import PROCESSES
from adbench.config.schema import cache_folder
from adbench.errors import AdbenchError, RecordError
from adbench.records.hashes import names_in
from adbench.system.files import write_output
from adbench.system.text import counted

SECRET = "bundle.key"  # the file of the cache with the secret of pseudonyms


def write_bundle(
    runs: Sequence[Path], out: Path, *, anonymise: bool, pictures: bool, key: Path | None,
    method: str | None, dataset: str | None,
) -> None:  # fmt: skip
    """Write the records of some folders as one archive.

    Raises AdbenchError for options that exclude each other, and RecordError where a record can't be read or doesn't
    agree with itself: nothing is written then.
    """
    if anonymise and pictures:
        raise AdbenchError(
            "--anonymise and --pictures exclude each other: the pictures name and show images. Keep one."
        )
    if key is not None and not anonymise:
        raise AdbenchError(f"--key {key} has no effect without --anonymise. Leave it out.")
    if out.is_file() and out.stat().st_size and not zipfile.is_zipfile(out):
        raise AdbenchError(f"--out {out} is a file already, and no bundle: it would be overwritten. Give another name.")
    with opened(runs) as bundles:
        collected, left_out = leaderboard.collect(bundles.folders, PROCESSES)
        if left_out or bundles.problems:
            raise RecordError(" ".join(["nothing is bundled:", *left_out, *bundles.problems]))
        records = leaderboard.choose(collected, method, dataset)
        if pictures and any((one.content.get("bundled") or {}).get("pictures") is False for one in records):
            raise AdbenchError("--pictures is not possible: these records come from a bundle without pictures.")
        from adbench.bundles.write import INSTEAD, bundle, pseudonyms

        names = None
        if anonymise:
            secret = key or cache_folder() / SECRET
            names = pseudonyms(secret, [record.key for record in records])
        data = bundle(records, pictures, names)
        read = (record.path / name for record in records for name in names_in(record.path))
        write_output(out, data, INSTEAD, [*read, *(path for path in runs if path.is_file())])
    what = "with pictures of the data sets" if pictures else "without pictures"
    print(f"{counted(len(records), 'record')} in {out}, {len(data) / 1e6:.1f} MB, {what}")
    if anonymise:
        print(f"names of images and patients are keyed hashes; {secret} holds the key: keep it to yourself")
    print(f"others check it with: adbench verify {out.name}")
