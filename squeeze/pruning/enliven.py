"""Give a copy of a model values that hide nothing from a comparison of outputs.

Fresh networks start with zeros, ones and statistics of nothing, trained ones may have dead
channels: what is removed or mixed up there shows in no output. Small weights are drawn anew, large
ones where channels are dead or alike; batch norms get the statistics of random images, and every
layer is scaled to outputs of about one, as in Mishkin and Matas, All you need is a good init
(https://arxiv.org/abs/1511.06422), so that neither a deep nor a gated network fades or saturates.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

_LARGE = 2**18
"""Weights of more values stay where they can: drawing them would cost memory and time."""
_DEAD = 1e-3
_ALIKE = 1e-4


class Gain:
    """A forward hook that multiplies what a layer returns."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, layer: "nn.Module", inputs: Any, output: Any) -> Any:  # noqa: ANN401
        """Return the output times the factor."""
        del layer, inputs
        return output * self.factor


def redraw_(module: "nn.Module") -> None:
    """Give parameters new values from a fixed seed; they are replaced, never written.

    Args:
        module: Its parameters may share storage with another module's.
    """
    import torch
    from torch import nn

    source = torch.Generator().manual_seed(0)
    kinds = nn.modules.conv._ConvNd | nn.Linear  # noqa: SLF001  (the only common base)
    done: dict[Tensor, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if not parameter.is_floating_point():
                continue
            if parameter not in done:
                is_weight = isinstance(part, kinds) and name == "weight"
                new = _weight(parameter, source) if is_weight else _other(parameter, source)
                done[parameter] = nn.Parameter(new, requires_grad=parameter.requires_grad)
            part._parameters[name] = done[parameter]  # noqa: SLF001  (setattr refuses some)


def calibrate_(module: "nn.Module", images: "Tensor") -> None:
    """Run once; set the statistics of batch norms and scale layers to outputs of about one.

    Args:
        module: In eval mode.
        images: ``(N, C, H, W)``.
    """
    import torch
    from torch import nn

    kinds = nn.modules.conv._ConvNd | nn.Linear  # noqa: SLF001
    gains: dict[nn.Module, Gain] = {}
    hooks = []

    def scale(layer: "nn.Module", inputs: Any, output: Any) -> Any:  # noqa: ANN401
        del inputs
        if not torch.is_tensor(output):
            return output
        size = float(output.double().pow(2).mean().sqrt())
        gain = gains.setdefault(layer, Gain(1 / size if 0 < size < float("inf") else 1.0))
        return output * gain.factor

    for part in module.modules():
        if isinstance(part, kinds):
            hooks.append(part.register_forward_hook(scale))
        elif torch.is_tensor(getattr(part, "running_var", None)):
            hooks.append(part.register_forward_pre_hook(_set_statistics_))
    try:
        with torch.no_grad():
            module(images)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, gain in gains.items():
        layer.register_forward_hook(gain)


def _weight(parameter: "Tensor", source: Any) -> "Tensor":  # noqa: ANN401
    """Return weights ``(A, B, ...)`` whose rows and columns all differ."""
    import torch

    weight = parameter.detach()
    if weight.numel() > _LARGE and _is_alive(weight, 0) and _is_alive(weight, 1):
        return weight
    drawn = torch.empty_like(weight, memory_format=torch.contiguous_format)
    fan_in = max(1, weight.numel() // max(1, weight.shape[0]))
    return drawn.normal_(0, float(fan_in) ** -0.5, generator=source)


def _is_alive(weight: "Tensor", axis: int) -> bool:
    """Tell whether no row (or column) is next to nothing, and not all are equally large."""
    import torch

    others = [other for other in range(weight.ndim) if other != axis]
    norms = torch.linalg.vector_norm(weight, dim=others)
    if not bool(norms.isfinite().all()) or float(norms.min()) <= _DEAD * float(norms.max()):
        return False
    return len(norms) == 1 or float(norms.std()) > _ALIKE * float(norms.mean())


def _other(parameter: "Tensor", source: Any) -> "Tensor":  # noqa: ANN401
    """Return scales, biases, tables or tokens with other values of about the same size."""
    import torch

    value = parameter.detach()
    factor = torch.empty_like(value).uniform_(0.5, 1.5, generator=source)
    size = float(value.double().pow(2).mean().sqrt()) if value.numel() else 0.0
    if not _DEAD < size < float("inf"):  # zeros, and scales that start near it
        return factor / 2
    noise = torch.empty_like(value).normal_(0, 0.1 * size, generator=source)
    return value * factor + noise


def _set_statistics_(norm: Any, inputs: "tuple[Tensor, ...]") -> None:  # noqa: ANN401
    """Let a norm in eval mode use the statistics of what it is given now."""
    import torch

    x = inputs[0]
    if norm.running_mean is None or x.ndim < 2 or x.shape[1] != len(norm.running_var):  # noqa: PLR2004
        return
    axes = [axis for axis in range(x.ndim) if axis != 1]
    mean, variance = x.mean(axes), x.var(axes, correction=0)
    usable = variance > 1e-10 * (1 + mean.pow(2))
    norm.running_mean = mean.to(norm.running_mean.dtype)
    norm.running_var = torch.where(usable, variance, 1.0).to(norm.running_var.dtype)
