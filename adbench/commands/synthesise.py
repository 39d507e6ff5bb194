"""`adbench data synthesise`: normal images of a support and the synthetic anomalies that are drawn into them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.text import Text

from adbench.blocks import synthesis
from adbench.blocks.augment import luminance
from adbench.cells.datamodule import load_support
from adbench.cells.protocols import training_sets
from adbench.cells.resolve import check_config
from adbench.commands import contact
from adbench.commands.console import noted, plain_console, table_console
from adbench.commands.data_check import allow, files_of
from adbench.commands.keys import SYNTHESIS_KEYS
from adbench.commands.show import save
from adbench.config.words import parse
from adbench.data.decode import ImageFormat
from adbench.data.indexed import open_dataset
from adbench.errors import AdbenchError
from adbench.system.files import check_png
from adbench.system.session import Session
from adbench.system.text import counted


def synthesise(name: str, words: Sequence[str], out: Path | None) -> None:
    """Draw every task of MediCLIP's into the normal images of a support, with its mask, on a contact sheet."""
    check_png(out)
    allow(words, SYNTHESIS_KEYS, ("dataset.", "method.", "backbone."))
    cells = parse(["method=mediclip", f"dataset={name}", *words])
    if len(cells) > 1:
        raise AdbenchError(f"one support is drawn into at a time; {' '.join(words)} names {len(cells)}.")
    session = Session()
    checked = check_config(cells[0], session)
    config, capability, params = checked.config, checked.method.capability, checked.method.params
    drawn = _drawn_tasks(params)
    for note in checked.notes:
        plain_console().print(noted(note))
    target = open_dataset(name, config, session)
    sets = training_sets(config, capability, checked.protocol, target, session)
    size = config.input_size or checked.backbone.input_size
    support = load_support(sets, ImageFormat(size, capability.resize, capability.grey, size), config.cache_dir)
    if not len(support):
        raise AdbenchError("shots=0 has no normal image to draw into; give shots=1 or more.")
    images = list((support.images if params.grey == "none" else luminance(support.images)).numpy())
    tasks = synthesis.tasks(drawn, images, params.blend, params.ranges)
    shown = images[: contact.ACROSS]
    captions = [identity.rpartition("/")[2] for identity in support.ids]
    bands = [contact.Band(f"normal: {len(shown)} of {len(images)}", [*zip(map(_tile, shown), captions, strict=False)])]
    console = table_console()
    for number, (title, task) in enumerate(zip(drawn, tasks, strict=True)):
        pairs = [task(image, np.random.default_rng([config.seed, number, row])) for row, image in enumerate(shown)]
        shares = [float(mask.mean()) for _, mask in pairs]
        bands.append(contact.Band(title, [(_tile(image), "") for image, _ in pairs]))
        masks = [
            (_tile(np.repeat(255 * mask[None].astype(np.uint8), 3, axis=0)), f"{100 * share:.1f} % of the pixels")
            for (_, mask), share in zip(pairs, shares, strict=True)
        ]
        bands.append(contact.Band(f"{title}: masks", masks))
        console.print(Text(f"{title:<10}masks of {100 * min(shares):.1f} to {100 * max(shares):.1f} % of the pixels"))
    manifest = sets[0].manifest
    source = manifest.source.replace(":", " ")
    title = f"synthetic anomalies: {name}, {source}, {counted(len(images), 'normal image')}, seed {config.seed}"
    out = out or Path(f"anomalies-{name}.png")
    read = [file for part in sets for file in files_of(part.dataset.root, part.dataset.items, part.dataset.config)]
    save(contact.sheet(title, bands), out, [*read, *([Path(config.support)] if config.support else [])])
    console.print(f"drawn: {out}")


def _drawn_tasks(params: Any) -> list[str]:
    """Return the tasks that change an image; AdbenchError where there is none."""
    if params.anomalies != "synthetic":
        raise AdbenchError(
            f"method.anomalies={params.anomalies} draws no anomaly: leave it out, or give method.anomalies=synthetic."
        )
    drawn = [task for task in synthesis.NAMES if task in params.tasks and task != "identity"]
    if not drawn:
        raise AdbenchError(
            "method.tasks=[identity] changes no image: name some of cutpaste, gauss, source, as in "
            "method.tasks=[gauss]."
        )
    return drawn


def _tile(image: np.ndarray[Any, np.dtype[np.uint8]]) -> Image.Image:
    """Return a square image, uint8 (3, H, H), as large as a tile; pixels stay sharp."""
    picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, 2)))
    return picture.resize((contact.TILE, contact.TILE), Image.Resampling.NEAREST)
