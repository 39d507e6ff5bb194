"""Training on several devices: each takes its share of every batch, so that the batch size stays the paper's.

A method makes its own DataLoader, as for one device. Process 0 draws the order of an epoch and sends it to the others;
row i of a batch goes to process i modulo their number. DistributedDataParallel averages gradients over processes as if
their shares were equal; where they are not, as in the last batch, each loss is weighted first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from adbench.errors import AdbenchError
from adbench.system.lightning import pl
from adbench.system.ranks import broadcast, rank, world_size


def share(batch: list[int], rank: int, world: int) -> tuple[list[int], float]:
    """Return one process's rows of a batch and the weight of its loss; the mean weight over processes is 1.

    The mean over processes of weight times the mean over rows is the mean over the batch. A process without a
    row takes one with weight 0, because all processes have to step together.

    >>> share([7, 8, 9], 0, 2), share([7, 8, 9], 1, 2)
    (([7, 9], 1.3333333333333333), ([8], 0.6666666666666666))
    >>> share([7], 1, 2)
    ([7], 0.0)
    """
    rows = batch[rank::world]
    return (rows, world * len(rows) / len(batch)) if rows else (batch[:1], 0.0)


class ShardedBatchSampler:
    """Yields this process's rows of each batch of a batch sampler; `weights`: the loss weights of the running epoch."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.sampler = batches.sampler  # Lightning sets its epoch
        self.weights: list[float] = []

    def __iter__(self) -> Iterator[list[int]]:
        order = broadcast(list(self.batches) if rank() == 0 else [])
        shares = [share(batch, rank(), world_size()) for batch in order]
        self.weights = [weight for _, weight in shares]
        yield from (rows for rows, _ in shares)

    def __len__(self) -> int:
        return len(self.batches)


class ShardedDataModule(pl.LightningDataModule):
    """Gives Lightning this process's share of each of a method's training batches."""

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
        supported = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
        if not supported or loader.batch_sampler is None or not isinstance(loader.batch_sampler, Sized):
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
    """Weights the gradient of each loss, whether Lightning or the method calls backward."""

    def __init__(self, shards: ShardedDataModule) -> None:
        self.shards = shards

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the number of the batch."""
        self.shards.at = batch_idx

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Multiply the gradient by the weight of this process's share."""
        weight = self.shards.weight
        if weight != 1:
            loss.register_hook(lambda gradient: gradient * weight)


class ExternalLauncher(LightningEnvironment):
    """Tells Lightning that the processes of a cell have been started already."""

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning starts no process."""
        return True

    def local_rank(self) -> int:
        """The number of this process; all processes of a cell run on one machine."""
        return rank()
