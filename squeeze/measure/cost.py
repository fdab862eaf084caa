"""What a model costs on paper: parameters and multiply-adds. Neither is time."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from squeeze.sources.models import Model


def params(model: "Model") -> int:
    """Return the number of parameters; buffers such as running means are not counted."""
    return sum(parameter.numel() for parameter in model.module.parameters())


def macs(model: "Model") -> int:
    """Return the multiply-adds of one image, a multiply-add counting as one.

    Counted are convolutions and matrix products, as torch's own counter sees them, those inside of
    attention among them; element-wise operations, norms and pooling are not.
    """
    import torch
    from torch.backends import mha
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    learning = [one for one in model.module.parameters() if one.requires_grad]
    was_fast = mha.get_fastpath_enabled()
    # the counter sees nothing inside of the CPU's fused attention kernels
    mha.set_fastpath_enabled(False)
    try:
        # it asks for the gradients of parameters that a layer is called with (Deformable DETR)
        for parameter in learning:
            parameter.requires_grad = False
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
            model.module.eval()(torch.zeros(1, *model.input.shape))
    finally:
        mha.set_fastpath_enabled(was_fast)
        for parameter in learning:
            parameter.requires_grad = True
    return int(counter.get_total_flops()) // 2
