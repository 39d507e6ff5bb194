"""What the commands do, with what they print."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from adbench import config as configs
from adbench import provenance, registry
from adbench.errors import AdbenchError, did_you_mean

if TYPE_CHECKING:
    from adbench.data.items import DatasetConfig
    from adbench.record import Record

FIGURES = (("image AUROC", "image_auroc"), ("pixel AUROC", "pixel_auroc"), ("pixel AUPRO", "pixel_aupro"))

SCORE_KEYS = ("out", "threshold", "device", "cache", "precision", "backbone.weights")


def out() -> Console:
    """Return a console that doesn't wrap what is piped."""
    console = Console(highlight=False, soft_wrap=True)
    return console


def run_words(words: Sequence[str]) -> None:
    """Run the cells that the words name, one after the other; recorded cells are reused."""
    cells = configs.parse(words)
    console = out()
    # torch and Lightning take seconds to import: only after the words have been found good.
    from adbench.cell import resolve
    from adbench.record import find
    from adbench.run import run_cell

    # All of them before the first runs: a bad word costs no time.
    resolved = {cell.key: cell for cell in map(resolve, cells)}
    for cell in resolved.values():
        config = cell.config
        for note in cell.notes:
            console.print(f"note: {note}")
        console.print(_headline(cell.config, cell.manifest.shots, cell.protocol), style="bold")
        record = None if config.force else find(Path(config.runs), cell.key)
        if record is not None:
            console.print(f"recorded already, reused: {record.path}{_other_commit(record)} (force=true runs it again)")
        else:
            record = run_cell(cell, words)
        console.print(_figures(record.content, record.path))
        console.print(
            f"data: {record.content['data']} ({record.content['resolved']['data_root']}), "
            f"backbone: {config.backbone}, schedule: {config.schedule}; "
            f"adbench leaderboard {config.runs} shows it beside others"
        )


def _headline(config: configs.RunConfig, shots: int, protocol: str) -> str:
    data = "phantom data" if config.data_root == "phantom" else f"data {config.data_root}"
    support = f"support {config.support}" if config.support else f"draw {config.draw}"
    return (
        f"{config.method} on {config.dataset} ({data}), {protocol}, {shots} shots, {support}, seed {config.seed}, "
        f"backbone {config.backbone}, schedule {config.schedule}"
    )


def _other_commit(record: Record) -> str:
    """Say so when a record was made by another commit of adbench."""
    made, here = record.content["code"]["commit"], provenance.code()["commit"]
    return f", made by commit {str(made)[:12]}" if made != here else ""


def _figures(content: dict[str, Any], path: Path) -> str:
    """Return the small table at the end of a run; as plain lines, so that a path is never folded."""
    metrics, half = content["metrics"], content["half_widths"]
    texts = {}
    for title, name in FIGURES:
        value = metrics.get(name)
        if value is not None:
            texts[title] = f"{100 * value:.2f} %" + (f" ± {100 * half[name]:.4f}" if name in half else "")
    texts["time"] = f"{sum(content['seconds'].values()):.1f} s"
    texts["peak memory"] = f"{content['peak_memory']['host_bytes'] / 1e9:.2f} GB"
    texts["record"] = str(path)
    lines = [f"  {title:<13}{text}" for title, text in texts.items()]
    wide = [name for name, width in half.items() if width > 1e-3]
    if wide:
        lines.append(f"  warning: the half-width of {', '.join(wide)} is above 0.001: many scores share few values")
    return "\n".join(lines)


def score_words(record: Path, words: Sequence[str]) -> None:
    """Score images with a record; `words` mixes files and key=value."""
    keys: dict[str, str] = {}
    files = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and not Path(word).exists():
            if key not in SCORE_KEYS and not key.startswith("method."):
                raise AdbenchError(f"unknown key {key!r}: {did_you_mean(key, [*SCORE_KEYS, 'method.prompts'])}")
            keys[key] = value
        else:
            files.append(word)
    threshold = None
    if "threshold" in keys:
        try:
            threshold = float(keys["threshold"])
        except ValueError:
            raise AdbenchError(f"threshold={keys['threshold']} is not a number.") from None
    from adbench.apply import default_folder, find_images, load, score_files

    paths = find_images(files)
    overrides = {
        key.removeprefix("method."): configs.value(text) for key, text in keys.items() if key.startswith("method.")
    }
    machine = {key: keys.get(key) for key in ("device", "cache", "precision")}
    configs.parse([f"{key}={text}" for key, text in machine.items() if text is not None])  # checks the words
    fitted = load(record, overrides, **machine, weights=keys.get("backbone.weights"))
    folder = Path(keys["out"]) if "out" in keys else default_folder()
    table = score_files(fitted, paths, folder, threshold)
    console = out()
    if threshold is None:
        console.print("no threshold= given: no decision and no mask overlays, scores and heatmaps only")
    console.print(f"{len(table)} images scored by {record}: {folder}/scores.csv, pictures beside it")


def listing(what: str) -> Iterator[str]:
    """Yield a line per registered method, dataset or backbone."""
    kinds: dict[str, registry.Kind] = {"methods": "method", "datasets": "dataset", "backbones": "backbone"}
    if what not in kinds:
        raise AdbenchError(f"cannot list {what!r}: {did_you_mean(what, kinds)}")
    kind = kinds[what]
    files = registry.config_files(kind)
    titles = {name: str(configs.load_yaml(file).get("title", "")) for name, file in files.items()}
    if kind == "backbone":
        yield from (f"{name:<16}{title}" for name, title in titles.items())
    else:
        for name, entry in registry.entries(kind).items():
            yield f"{name:<16}{titles.get(name, '')}  [{entry.package}]"


def show_leaderboard(runs: Sequence[Path], csv: Path | None, markdown: bool) -> None:
    """Print the leaderboard of some folders of records, and write it as CSV where asked."""
    from adbench import leaderboard
    from adbench.files import write_atomically

    long = leaderboard.table(leaderboard.collect(runs))
    if csv is not None:
        write_atomically(csv, leaderboard.to_csv(long).encode())
    if markdown:
        print(leaderboard.to_markdown(long))
        return
    for title, header, rows in leaderboard.parts(long, leaderboard.HEADLINE):
        table = Table(title=title, title_justify="left", header_style="bold")
        for name in header:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*row)
        Console(highlight=False).print(table)
    if csv is not None:
        print(f"written: {csv}")


def _draw(name: str, facts: DatasetConfig, root: Path, counts: dict[str, int]) -> None:
    registry.find("dataset", name).load()(name, facts).draw_phantom(root, counts)


def draw_phantoms(root: Path, dataset: str, counts: dict[str, int]) -> None:
    """Draw the phantoms of one dataset or of all that have some below `root`."""
    from adbench.data.items import DatasetConfig
    from adbench.files import unwritable
    from adbench.progress import track

    names = list(registry.entries("dataset")) if dataset == "all" else [registry.find("dataset", dataset).name]
    config = configs.parse([])[0]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(min(len(names), os.cpu_count() or 1), get_context("spawn")) as executor:
            facts = [configs.section_config(DatasetConfig, "dataset", name, config) for name in names]
            drawn = executor.map(_draw, names, facts, [root] * len(names), [counts] * len(names))
            for _ in track(drawn, "drawing phantoms", len(names)):
                pass
    except OSError as error:
        raise unwritable(root, error) from error
    out().print(f"drawn below {root}: {', '.join(names)}. Read them with data_root={root}")
