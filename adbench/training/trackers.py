"""Trackers (`logger=`): curves, figures and pictures of a run as CSV, in TensorBoard or at Weights & Biases.

They wrap Lightning's loggers. wandb and tensorboard are imported only where asked for. A tracker that fails costs no
cell its record: one sentence says so.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from adbench.config.trackers import wandb_config
from adbench.records.record import LOGS
from adbench.system.lightning import pl
from adbench.system.ranks import rank
from adbench.training.ddp import ShardedDataModule

if TYPE_CHECKING:
    from adbench.cells.cell import Cell
    from adbench.config.schema import RunConfig

LEFT_TO_UPLOAD = 300.0  # seconds after a run; a run not uploaded by then stays in its folder
# What became of a tracker: `offline` and `late` (not up in time) wait in their folder for `wandb sync`.
State = Literal["complete", "offline", "late", "broken"]


@contextlib.contextmanager
def tracking(cell: Cell, folder: Path) -> Iterator[Tracker | None]:
    """Yield the tracker that `logger=` names, if any, and close it; a run that fails is marked as such."""
    if cell.config.logger == "none" or rank():
        yield None
        return
    tracker = Tracker(cell, folder)
    try:
        yield tracker
    except BaseException:
        tracker.close("failed")
        raise
    tracker.close("success")


class Tracker(Logger):
    """A Lightning logger that hands on to another one, until that fails."""

    def __init__(self, cell: Cell, folder: Path) -> None:
        super().__init__()
        self.kind = cell.config.logger
        self.files = ""
        self.state: State = "complete"
        self.notes: list[str] = []
        self.step = 0
        self.inner: Logger | None = None
        self.settings = {"cell": cell.key, "facts": cell.facts, "resolved": cell.config.as_dict()}
        with self._unhurt():
            self.inner = self._open(cell, folder)
            self.inner.log_hyperparams(self.settings)

    def _open(self, cell: Cell, folder: Path) -> Logger:
        if self.kind == "wandb":
            run, note = start_wandb(cell)
            self.say(note)
            self.state = "offline" if run.offline else "complete"
            self.files = "" if run.settings.mode == "disabled" else str(Path(run.dir).parent)
            return WandbLogger(experiment=run)
        if self.kind == "tensorboard":
            self.files = "tensorboard"
            return TensorBoardLogger(folder, name=self.files, version="", default_hp_metric=False)
        self.files = "curves"
        return CSVLogger(folder, name=self.files, version="")

    def say(self, note: str) -> None:
        """Tell the user, and the record."""
        self.notes.append(note)
        print(f"adbench: {note}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def _unhurt(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever a tracker raises, the cell goes on
            self.inner, self.state = None, "broken"
            why = " ".join(str(error).split())[:300]
            self.say(f"logger={self.kind} failed and is left out from here ({type(error).__name__}: {why}).")

    @property
    def name(self) -> str:
        """What `logger=` names."""
        return self.kind

    @property
    def version(self) -> str:
        """Empty: a record has one."""
        return ""

    @property
    def experiment(self) -> Any:
        """What the inner logger writes with, for methods that log more than numbers; none once that has failed."""
        return getattr(self.inner, "experiment", None)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers at a step."""
        self.step = max(self.step, step or 0)
        if self.inner is not None:
            with self._unhurt():
                self.inner.log_metrics(dict(metrics), self.step if step is None else step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Take what a method saves as hyper-parameters."""
        if self.inner is not None:
            with self._unhurt():
                self.inner.log_hyperparams(params)

    def save(self) -> None:
        """Flush buffers to disk."""
        if self.inner is not None:
            with self._unhurt():
                self.inner.save()

    def finalize(self, status: str) -> None:
        """Lightning says so after the fit; figures and pictures are still to come."""
        self.save()

    def finish(self, content: Mapping[str, Any], gallery: Path) -> dict[str, Any]:
        """Log the figures of a record and its pictures, close, and return what the record keeps of the tracker."""
        figures = {f"test/{name}": value for name, value in content["metrics"].items() if value is not None}
        figures |= {f"seconds/{name}": value for name, value in content["seconds"].items()}
        figures["images_per_second"] = content["images_per_second"]
        figures["scored_epoch"] = content["selection"]["epoch"]
        if self.inner is not None:
            with self._unhurt():
                if isinstance(self.inner, TensorBoardLogger):  # its table of settings and figures takes both at once
                    self.inner.log_hyperparams(self.settings, figures, self.step)
                else:
                    self.inner.log_metrics(figures, self.step)
                self._show(sorted(gallery.glob("*.png")))
        self.close("success")
        return {"logger": self.kind, "files": self.files, "state": self.state, "notes": self.notes}

    def _show(self, pictures: list[Path]) -> None:
        if isinstance(self.inner, WandbLogger):
            overview = [picture for picture in pictures if picture.stem == "overview"]  # of another size
            for name, shown in (("overview", overview), ("gallery", [p for p in pictures if p not in overview])):
                if shown:
                    captions = [picture.stem for picture in shown]
                    self.inner.log_image(name, [str(picture) for picture in shown], self.step, caption=captions)
        elif isinstance(self.inner, TensorBoardLogger):
            for picture in pictures:
                with Image.open(picture) as image:
                    pixels = np.asarray(image.convert("RGB"))
                self.inner.experiment.add_image(f"gallery/{picture.stem}", pixels, self.step, dataformats="HWC")

    def close(self, status: str) -> None:
        """End the run at the tracker; once is enough."""
        inner, self.inner = self.inner, None
        if inner is not None:
            with self._unhurt():
                inner.finalize(status)
                if isinstance(inner, WandbLogger):
                    self._upload(inner.experiment, status)

    def _upload(self, run: Any, status: str) -> None:
        try:
            run.finish(exit_code=0 if status == "success" else 1)
        except TimeoutError:
            self.state = "late"
            self.say(
                f"wandb: the upload was not done {LEFT_TO_UPLOAD:g} seconds after the run and was given up; the run is "
                f"kept in {self.files}; {_sync_late([self.files])} uploads it."
            )


def start_wandb(cell: Cell) -> tuple[Any, str]:
    """Start a wandb run and return it with a note on it; without a key or the server it is offline."""
    import wandb

    config, asked = cell.config, wandb_config(cell.config.words("wandb"))
    folder = Path(config.runs) / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    mode = asked.mode or os.environ.get("WANDB_MODE", "online").replace("dryrun", "offline")

    def begin(mode: str) -> Any:
        return wandb.init(
            project=asked.project, entity=asked.entity, tags=asked.tags, mode=mode, dir=str(folder),  # type: ignore[arg-type]
            name=f"{config.method_name} {config.dataset_name} {cell.key[:8]}", reinit="create_new",
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, save_code=False,
                finish_timeout=LEFT_TO_UPLOAD, finish_timeout_raises=True,
            ),
        )  # fmt: skip

    if mode == "disabled":
        return begin(mode), "WANDB_MODE=disabled: wandb keeps nothing of this run."
    why = "wandb is offline, as asked"
    if mode == "online":
        try:
            if wandb.login(prompt=False, verify=True):
                run = begin(mode)
                return run, f"wandb: {run.url}"
            why = "wandb has no API key here"
        except Exception as error:  # no network, a proxy, a wrong key: many types
            why = f"wandb can't be reached ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
    run = begin("offline")
    where = Path(run.dir).parent
    return run, f"{why}: the run is kept in {where}; `wandb sync {shlex.quote(str(where))}` uploads it."


def _sync_late(folders: Iterable[str]) -> str:
    # A run that began online is passed over without the option, even where its folder is named.
    return f"`wandb sync --include-online {' '.join(map(shlex.quote, folders))}`"


def summary(tracked: Sequence[Mapping[str, Any]]) -> str:
    """Return one line on where a sweep's tracker files are; `tracked` is the `tracker` entry of at least one record.

    >>> summary([{"logger": "csv", "files": "curves", "state": "complete", "notes": []}] * 2)
    'logger=csv: 2 cells tracked; <cell>/curves'
    """
    kind = tracked[0]["logger"]
    parts = [f"{len(tracked)} cell{'s' * (len(tracked) > 1)} tracked"]
    if kind != "wandb":
        parts += sorted({f"<cell>/{one['files']}" for one in tracked if one["files"]})
    offline = [Path(one["files"]).parent for one in tracked if one["state"] == "offline"]
    for folder in sorted(set(offline)):
        command = f"`wandb sync {shlex.quote(str(folder))}/offline-run-*`"
        parts.append(f"{offline.count(folder)} kept offline: {command} uploads them")
    if late := sorted(one["files"] for one in tracked if one["state"] == "late"):
        parts.append(f"{len(late)} not uploaded in time: {_sync_late(late)} uploads them")
    if broken := [one["notes"][-1] for one in tracked if one["state"] == "broken"]:
        parts.append(f"{len(broken)} lost the tracker, the first: {broken[0]}")
    return f"logger={kind}: " + "; ".join(parts)


def curves(config: RunConfig, tracker: Tracker | None) -> list[pl.Callback]:
    """Return the callbacks that log a fit's loss: none without `logger=`; the same in every process of a cell."""
    if config.logger == "none":
        return []
    every = config.words("trainer").get("log_every_n_steps")
    return [Curves(tracker, 1 if every is None else int(every))]


class Curves(pl.Callback):
    """Logs the loss that `training_step` returns, so that no method needs to: each step, and its mean each epoch."""

    def __init__(self, tracker: Tracker | None, every: int) -> None:
        self.tracker = tracker
        self.every = every

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the trainer its logger."""
        trainer.loggers = [self.tracker] if self.tracker else []
        trainer.log_every_n_steps = self.every  # type: ignore[attr-defined]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the loss of the whole batch, also where several processes share it."""
        if not isinstance(outputs, Mapping) or outputs.get("loss") is None:
            return
        loss = torch.as_tensor(outputs["loss"]).detach().float() * trainer.accumulate_grad_batches
        shares = getattr(trainer, "datamodule", None)
        if isinstance(shares, ShardedDataModule):
            loss = loss * shares.weight
        pl_module.log("train/loss", loss, on_step=True, on_epoch=True, sync_dist=shares is not None, batch_size=1)
