"""Optimizers: SGD with Nesterov momentum and AdamW, with parameter groups by layer and decay."""

from typing import TYPE_CHECKING

from squeeze.recipe.schema import TrainSettings
from squeeze.training import parameters

if TYPE_CHECKING:
    from torch import nn, optim


def build(
    module: "nn.Module", settings: TrainSettings, extra: "nn.Module | None" = None, where: str = ""
) -> "optim.Optimizer":
    """Return the optimizer of a model and what trains along with it.

    Args:
        module: The model; the patterns of ``settings.lr_scales`` match its paths.
        settings: The recipe's numbers.
        extra: Trained with the plain learning rate.
        where: What messages call the training.

    Raises:
        InputError: A pattern of ``lr_scales`` matches nothing.
    """
    from torch import optim

    groups = _groups(module, settings, extra, where)
    if settings.optimizer == "adamw":
        return optim.AdamW(groups, lr=settings.lr)
    return optim.SGD(
        groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0
    )


def _groups(
    module: "nn.Module", settings: TrainSettings, extra: "nn.Module | None", where: str
) -> list[dict[str, object]]:
    """Return parameter groups; weight decay is for matrices and kernels, not norms and biases."""
    scales = dict.fromkeys((name for name, _ in module.named_parameters()), 1.0)
    matched = parameters.matching(module, list(settings.lr_scales), f"{where}, lr_scales")
    for pattern, names in matched.items():  # the last pattern that matches decides
        scales.update(dict.fromkeys(names, settings.lr_scales[pattern]))
    trained = [(p, scales[name]) for name, p in module.named_parameters()]
    trained += [(p, 1.0) for p in (extra.parameters() if extra is not None else ())]
    trained = [(p, scale) for p, scale in trained if p.requires_grad]
    groups: list[dict[str, object]] = []
    for scale in dict.fromkeys([1.0, *(scale for _, scale in trained)]):
        own = [p for p, own_scale in trained if own_scale == scale]
        lr = settings.lr * scale
        groups += [
            {
                "params": [p for p in own if p.ndim > 1],
                "lr": lr,
                "weight_decay": settings.weight_decay,
            },
            {"params": [p for p in own if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
        ]
    return groups
