"""Several processes that train one model: each takes its share of every batch.

All processes run the same steps; the first one writes. Before every optimizer step they average
their gradients, those of what trains along with the model included, in one message per number
format. ``DistributedDataParallel`` would wrap the model only, and wants every parameter used in
every pass, which frozen layers and distillation losses do not give.

Without a process group, everything here does nothing.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

from squeeze.core.errors import InputError, SqueezeError

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor, nn

T = TypeVar("T")
_MEETING, _PATIENCE = timedelta(minutes=3), timedelta(hours=12)


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(_group().get_rank()) if size() > 1 else 0


def size() -> int:
    """Return how many processes there are."""
    group = _group()
    return int(group.get_world_size()) if group.is_available() and group.is_initialized() else 1


def _group() -> "ModuleType":
    """Return ``torch.distributed``, whose functions are missing in builds without it."""
    from torch import distributed

    return distributed


@contextmanager
def joined() -> Iterator[int]:
    """Join the other processes that the environment names, for the duration of the block.

    The variables are torchrun's: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.

    Yields:
        The number of this process; 0 when it is alone.

    Raises:
        SqueezeError: The others do not join.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield 0
        return
    import torch
    from torch import distributed

    number, threads = int(os.environ["RANK"]), torch.get_num_threads()
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.set_num_threads(max(1, threads // count))
    try:
        with _explained("the other processes of this run did not join"):
            _join(backend, number, count)
        yield number
    finally:
        torch.set_num_threads(threads)
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _join(backend: str, number: int, count: int) -> None:
    """Join the process group; torchrun has its own store, and ends the others when one ends."""
    from torch import distributed

    if "TORCHELASTIC_RUN_ID" in os.environ:
        distributed.init_process_group(backend, timeout=_PATIENCE, init_method="env://")
        return
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = _group().TCPStore(host, port, count, number == 0, _MEETING)
    distributed.init_process_group(
        backend, timeout=_PATIENCE, store=store, rank=number, world_size=count
    )


def from_first(make: Callable[[], T]) -> T:
    """Return what the first process makes, in every process.

    Raises:
        SqueezeError: The first process has stopped.
    """
    if size() == 1:
        return make()
    box = [make() if rank() == 0 else None]
    with _explained("another process of this run has stopped"):
        _group().broadcast_object_list(box, src=0)
    return cast("T", box[0])


def mean_(tensors: "Iterable[Tensor]") -> None:
    """Put the mean over all processes into floating-point tensors, in one message per format.

    Raises:
        SqueezeError: Another process has stopped.
    """
    if size() == 1:
        return
    import torch

    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        if tensor.is_floating_point():
            kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for alike in kinds.values():
        together = torch.cat([tensor.detach().flatten() for tensor in alike])
        with _explained("another process of this run has stopped"):
            _group().all_reduce(together)
        parts = torch.split(together / size(), [tensor.numel() for tensor in alike])
        for tensor, part in zip(alike, parts, strict=True):
            tensor.detach().copy_(part.view(tensor.shape))


def start_alike_(modules: "Iterable[nn.Module]", where: str) -> None:
    """Give all processes the weights of the first.

    Raises:
        SqueezeError: The processes hold models of different shapes.
    """
    if size() == 1:
        return
    from squeeze.training.ema import tensors_of

    tensors = [t for module in modules for t in tensors_of(module).values()]
    mine = [list(tensor.shape) for tensor in tensors]
    everyone: list[object] = [None] * size()
    with _explained("another process of this run has stopped"):
        _group().all_gather_object(everyone, mine)
        if any(other != mine for other in everyone):
            raise SqueezeError(
                "the processes hold models of different shapes",
                where=where,
                hint="run the training in one process",
            )
        for tensor in tensors:
            _group().broadcast(tensor, src=0)


def check_batch(batch: int, where: str) -> None:
    """Make sure that all processes get equal shares of a batch.

    Raises:
        InputError: They would not.
    """
    if batch % size():
        raise InputError(
            f"a batch of {batch} images cannot be shared evenly by {size()} processes",
            where=f"{where}, batch_size",
            hint=f"choose a multiple of {size()}, with at least as many training samples",
        )


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # whatever the backend raises when a connection breaks
        raise SqueezeError(f"{what}: {str(error).partition(chr(10))[0]}") from error
