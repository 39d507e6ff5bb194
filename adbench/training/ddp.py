"""Several devices train one cell: each takes its share of every batch, and together they make the paper's batch.

A method makes its own DataLoader and knows nothing of this. Process 0 draws the order of an epoch, so that all speak of
the same batches; row i of a batch goes to process i modulo their number. DistributedDataParallel averages gradients
over processes as if their shares were equal; where they aren't, as in the last batch, each loss is weighed first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from adbench.errors import AdbenchError
from adbench.system.ranks import broadcast, rank, world_size


def share(batch: list[int], rank: int, world: int) -> tuple[list[int], float]:
    """Return one process's rows of a batch and the weight of its loss; the mean weight over processes is 1.

    The mean over processes of weight times the mean over rows is the mean over the batch. A process for which no row is
    left takes one that counts nothing, because all have to step together.

    >>> share([7, 8, 9], 0, 2), share([7, 8, 9], 1, 2)
    (([7, 9], 1.3333333333333333), ([8], 0.6666666666666666))
    >>> share([7], 1, 2)
    ([7], 0.0)
    """
    rows = batch[rank::world]
    return (rows, world * len(rows) / len(batch)) if rows else (batch[:1], 0.0)


class ShardedBatchSampler:
    """The batches of a batch sampler, this process's rows of each; `weights` are those of the running epoch."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.sampler = batches.sampler  # Lightning tells it the epoch
        self.weights: list[float] = []

    def __iter__(self) -> Iterator[list[int]]:
        order = broadcast(list(self.batches) if rank() == 0 else [])
        shares = [share(batch, rank(), world_size()) for batch in order]
        self.weights = [weight for _, weight in shares]
        yield from (rows for rows, _ in shares)

    def __len__(self) -> int:
        return len(self.batches)


class ShardedDataModule(pl.LightningDataModule):
    """Hands a method's own training batches to Lightning, this process's share of each."""

    def __init__(self, method: pl.LightningModule) -> None:
        super().__init__()
        self.method = method
        self.share: ShardedBatchSampler | None = None
        self.at = 0

    @property
    def weight(self) -> float:
        """The weight of the loss of the running step."""
        return self.share.weights[self.at] if self.share else 1.0

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the method's loader with this process's share of its batches."""
        loader = self.method.train_dataloader()
        whole = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
        if not whole or loader.batch_sampler is None or not isinstance(loader.batch_sampler, Sized):
            raise AdbenchError(
                f"trainer.devices={world_size()} is not possible for {type(self.method).__name__}: its "
                "train_dataloader() must return one DataLoader with a batch_size over a dataset of known length. "
                "Use trainer.devices=1."
            )
        self.share = ShardedBatchSampler(loader.batch_sampler)
        names = (
            "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context",
            "generator", "prefetch_factor", "persistent_workers",
        )  # fmt: skip
        return DataLoader(loader.dataset, batch_sampler=self.share, **{name: getattr(loader, name) for name in names})


class LossWeighting(pl.Callback):
    """Weighs the gradient of each loss, whether Lightning or the method calls backward."""

    def __init__(self, shards: ShardedDataModule) -> None:
        self.shards = shards

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note which batch it is."""
        self.shards.at = batch_idx

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Multiply what flows back by the share's weight."""
        weight = self.shards.weight
        if weight != 1:
            loss.register_hook(lambda gradient: gradient * weight)


class ExternalLauncher(LightningEnvironment):
    """Tells Lightning that the processes of a cell are there already."""

    @property
    def creates_processes_externally(self) -> bool:
        """Nothing is left to start."""
        return True

    def local_rank(self) -> int:
        """The number of this process on its machine, which is the only one."""
        return rank()
