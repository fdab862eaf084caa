"""What a model costs on paper: parameters and multiply-adds. Neither is time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from squeeze.models.types import Model


def params(model: "Model") -> int:
    """Return the number of parameters that inference reads: what an exported file holds.

    Auxiliary heads that only training runs (GoogLeNet's) are not counted, as their MACs are not;
    neither are buffers such as running means.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    own = {id(parameter): parameter for parameter in model.module.parameters()}
    read: set[int] = set()

    class Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Notes every parameter that an operator is called with."""

        def __torch_dispatch__(
            self,
            func: Callable[..., object],
            types: object,
            args: tuple[object, ...] = (),
            kwargs: dict[str, object] | None = None,
        ) -> object:
            del types
            read.update(id(leaf) for leaf in tree_leaves((args, kwargs)) if id(leaf) in own)
            return func(*args, **(kwargs or {}))

    with _inference(model), Reads():  # type: ignore[no-untyped-call]
        _run(model)
    return sum(own[one].numel() for one in read)


def macs(model: "Model") -> int:
    """Return the multiply-adds of one image, a multiply-add counting as one.

    Convolutions and matrix products count, as torch's own counter sees them, also those inside
    attention; element-wise operations, norms and pooling do not.
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with _inference(model), counter:
        _run(model)
    return int(counter.get_total_flops()) // 2


def layer_macs(model: "Model") -> dict[str, int]:
    """Return the multiply-adds of one image by module, without those of the modules inside it.

    Args:
        model: Its module's paths are the keys; what computes none is left out, and what the module
            itself computes is under the empty path. They add up to ``macs``.
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with _inference(model), counter:
        _run(model)
    whole = {
        path.partition(".")[2]: sum(counts.values()) // 2
        for path, counts in counter.get_flop_counts().items()
        if path != "Global"
    }
    own = dict(whole)
    for path, count in whole.items():
        above = path.rpartition(".")[0] if path else None
        while above and above not in own:  # containers that are iterated and never called
            above = above.rpartition(".")[0]
        if above is not None:
            own[above] -= count
    return {path: count for path, count in own.items() if count}


@contextmanager
def _inference(model: "Model") -> Iterator[None]:
    """Let modes see every operator of the forward pass, and every parameter as it is."""
    import torch
    from torch.backends import mha
    from torch.nn.attention import SDPBackend, sdpa_kernel

    learning = [one for one in model.module.parameters() if one.requires_grad]
    was_fast = mha.get_fastpath_enabled()
    # the counter sees nothing inside of the CPU's fused attention kernels
    mha.set_fastpath_enabled(False)
    try:
        # it asks for the gradients of parameters that a layer is called with (Deformable DETR)
        for parameter in learning:
            parameter.requires_grad = False
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(was_fast)
        for parameter in learning:
            parameter.requires_grad = True


def _run(model: "Model") -> None:
    import torch

    model.module.eval()(torch.zeros(1, *model.input.shape))
