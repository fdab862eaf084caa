"""The batches of an epoch: first all that is random is drawn, in one place, then images are made.

Order and augmentation are drawn here, batch after batch, from one NumPy generator; making the
images of a draw is deterministic. So neither the number of workers nor that of processes changes a
batch.
"""

import os
import signal
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from squeeze.core.errors import InputError, SqueezeError
from squeeze.recipe.schema import Augment, TrainSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.utils.data import DataLoader

    from squeeze.core.boxes import Boxes
    from squeeze.tasks.base import Labels

    Batch = tuple[Tensor, Labels]

_COIN = 0.5
_AHEAD = 2
_OF_WORKER = "DataLoader worker"
_DYING_S = 1.0
"""A pipe breaks before the process behind it is seen to be dead."""


@dataclass(frozen=True)
class BatchSpec:
    """What was drawn for one batch.

    Attributes:
        positions: Samples of the split ``(n,)``.
        mirrored: Which images are flipped ``(n,)``.
        moves: Row and column of the crop after padding ``(n, 2)``.
        seed: For the transforms that draw random numbers themselves.
    """

    positions: "NDArray[np.int64]"
    mirrored: "NDArray[np.bool_] | None" = None
    moves: "NDArray[np.int64] | None" = None
    seed: int | None = None

    def share(self, number: int, count: int) -> "BatchSpec":
        """Return the part of one of several processes: every ``count``-th sample."""
        if count == 1:
            return self
        mine = slice(number, None, count)
        return BatchSpec(
            self.positions[mine],
            None if self.mirrored is None else self.mirrored[mine],
            None if self.moves is None else self.moves[mine],
            None if self.seed is None else (self.seed + number) % 2**63,
        )


class BatchBuilder(Protocol):
    """Makes the batch of a draw."""

    augment: Augment

    def __getitem__(self, draw: BatchSpec) -> "Batch":
        """Return images ``(n, C, H, W)`` and their labels."""
        ...

    def read_ahead(self) -> None:
        """Read what fits into memory now: processes that are forked later share it."""
        ...


class Plan:
    """The draws of an epoch; every iteration draws a new one.

    Args:
        labels: Of all training samples: classes ``(N,)``, or N ``Boxes``.
        settings: The recipe's numbers.
        rng: Decides everything.
        share: Number of this process and how many there are: its batches are parts of all.

    Raises:
        InputError: Classes are to be balanced, but images have boxes of several classes.
    """

    def __init__(
        self,
        labels: "NDArray[np.int64] | list[Boxes]",
        settings: TrainSettings,
        rng: np.random.Generator,
        *,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if settings.balance_classes and isinstance(labels, list):
            raise InputError("is for images with one class each", where="balance_classes")
        self._labels, self._settings, self._rng, self._share = labels, settings, rng, share

    def __len__(self) -> int:
        return max(1, len(self._labels) // self._settings.batch_size)

    def __iter__(self) -> Iterator[BatchSpec]:
        """Draw an epoch's batches; the incomplete last one is left out."""
        size, order = self._settings.batch_size, self._order()
        for start in range(0, max(1, len(order) - size + 1), size):
            yield self._draw(order[start : start + size]).share(*self._share)

    def _order(self) -> "NDArray[np.int64]":
        count = len(self._labels)
        if not self._settings.balance_classes:
            return self._rng.permutation(count)
        labels = np.asarray(self._labels)
        shares = 1 / np.bincount(labels)[labels]
        return self._rng.choice(count, count, p=shares / shares.sum())

    def _draw(self, positions: "NDArray[np.int64]") -> BatchSpec:
        augment, rng, count = self._settings.augment, self._rng, len(positions)
        mirrored = rng.random(count) < _COIN if augment.flip else None
        moves = rng.integers(0, 2 * augment.shift + 1, (count, 2)) if augment.shift else None
        seed = int(rng.integers(2**63)) if augment.draws_itself else None
        return BatchSpec(positions, mirrored, moves, seed)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Loader:
    """Makes the batches of a plan, epoch after epoch.

    Args:
        plan: What to make.
        builder: How to make it.
        workers: Processes that make batches ahead; 0 makes them here when they are needed.
        pin: Put them into page-locked memory, which a GPU copies from while it computes.
        beside: Without workers, let a thread make them ahead, unless their transforms use torch's
            generator, which all threads share.

    Attributes:
        waited_s: Seconds spent waiting for batches so far.
    """

    def __init__(
        self,
        plan: Plan,
        builder: "BatchBuilder",
        *,
        workers: int = 0,
        pin: bool = False,
        beside: bool = False,
    ) -> None:
        self.waited_s = 0.0
        self._plan, self._builder, self._pin = plan, builder, pin
        self._beside = beside and not builder.augment.draws_itself
        # more would only compete for the cores, and torch would warn about them
        self._workers = min(workers, _cores())
        self._ahead: DataLoader[Batch] | None = None

    def epoch(self) -> "Iterator[Batch]":
        """Yield the batches of the next epoch, on the CPU.

        Raises:
            SqueezeError: A batch cannot be made.
        """
        batches = iter(self._source())
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.waited_s += time.perf_counter() - started
            if batch is None:
                return
            if isinstance(batch, SqueezeError):
                raise batch
            yield batch

    def death(self) -> str | None:
        """Return how a worker died, and end the others; None when none has."""
        for _ in range(2):  # torch's handler may raise here too, but only once
            with suppress(RuntimeError):
                return self._death()
        return "killed"

    def _death(self) -> str | None:
        iterator = getattr(self._ahead, "_iterator", None)
        workers = getattr(iterator, "_workers", ())
        end = time.monotonic() + _DYING_S
        while workers and time.monotonic() < end:
            codes = [worker.exitcode for worker in workers if worker.exitcode]
            if codes:
                iterator._shutdown_workers()  # type: ignore[union-attr]  # noqa: SLF001
                known = -codes[0] in set(signal.Signals)
                return signal.Signals(-codes[0]).name if known else f"exit code {codes[0]}"
            time.sleep(_DYING_S / 20)
        return None

    def _source(self) -> "Iterable[Batch | SqueezeError]":
        if self._workers:
            return self._made_ahead()
        if self._beside:
            return self._made_beside()
        return map(self._make, self._plan)

    def _made_beside(self) -> "Iterator[Batch]":
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(1) as thread:
            for draw in self._plan:
                waiting.append(thread.submit(self._make, draw))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _make(self, draw: BatchSpec) -> "Batch":
        images, labels = self._builder[draw]
        if self._pin:
            images = images.pin_memory()
            labels = labels if isinstance(labels, list) else labels.pin_memory()
        return images, labels

    def _made_ahead(self) -> "Iterable[Batch | SqueezeError]":
        import torch
        from torch.utils.data import DataLoader

        if self._ahead is None:
            self._builder.read_ahead()
            self._ahead = DataLoader(
                WorkerDataset(self._builder),  # type: ignore[arg-type]  # it needs __getitem__ only
                sampler=self._plan,
                batch_size=None,
                num_workers=self._workers,
                pin_memory=self._pin,
                persistent_workers=True,
                generator=torch.Generator(),  # else it would draw from the global one
                multiprocessing_context="fork",  # datasets in users' files cannot be pickled
            )
        with warnings.catch_warnings():
            # newer Pythons warn of every fork; the workers use nothing that other threads lock
            warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
            # jax, which LiteRT brings, does too
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            return iter(self._ahead)


@contextmanager
def workers_watched(loader: Loader, where: str) -> Iterator[None]:
    """Explain the death of a worker.

    It appears as a broken pipe, or as an error that torch raises from a signal handler, which may
    come at any moment within the block, also after the pipe has broken.

    Raises:
        SqueezeError: A worker has died.
    """
    try:
        try:
            yield
        except SqueezeError:
            raise
        except Exception as error:
            how = loader.death()
            if how is None:
                raise
            raise _dead(how, where) from error
    except RuntimeError as error:
        if not str(error).startswith(_OF_WORKER):
            raise
        raise _dead(loader.death() or "killed", where) from error


def _dead(how: str, where: str) -> SqueezeError:
    return SqueezeError(
        f"a data loader worker died: {how}",
        where=f"{where}, workers",
        hint="most likely memory ran out: lower workers or batch_size, or make /dev/shm "
        "larger; the same command resumes after the last finished epoch",
    )


@dataclass(frozen=True)
class WorkerDataset:
    """A ``BatchBuilder`` in a worker: our errors come back as objects, not as traceback text."""

    builder: "BatchBuilder"

    def __getitem__(self, draw: BatchSpec) -> "Batch | SqueezeError":
        """Return the batch, or the error."""
        try:
            return self.builder[draw]
        except SqueezeError as error:
            return error
