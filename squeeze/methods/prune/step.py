"""Structured pruning: remove whole channels, everywhere they are coupled, with Torch-Pruning.

Source: Fang et al., DepGraph: Towards Any Structural Pruning (https://arxiv.org/abs/2301.12900).
"""

import copy
from typing import TYPE_CHECKING, Any

from squeeze.core import plugins
from squeeze.core.errors import SqueezeError
from squeeze.recipe.schema import PruneStep
from squeeze.sources.models import Model, PruningEvent

if TYPE_CHECKING:
    from torch import Tensor, nn


def prune(model: Model, step: PruneStep, *, seed: int) -> Model:
    """Return a pruned copy; the layer that makes the output keeps its width.

    Args:
        model: Left as it is.
        step: The recipe's numbers.
        seed: For criteria that draw.

    Raises:
        SqueezeError: Torch-Pruning cannot trace the model, or nothing could be removed.
    """
    import torch

    module = copy.deepcopy(model.module).eval()
    example = torch.zeros(2, *model.input.shape)
    with torch.inference_mode():
        before = module(example).shape
    importance = plugins.load(plugins.IMPORTANCE, step.importance).build()
    torch.manual_seed(seed)
    try:
        events = _remove_channels_(module, step, importance, example)
        with torch.inference_mode():
            after = module(example).shape
    except Exception as error:
        raise SqueezeError(
            f"Torch-Pruning cannot prune this model: {type(error).__name__}: {error}",
            where=model.architecture.build,
        ) from error
    if after != before:
        raise SqueezeError(
            f"pruning changed the output from {tuple(before)} to {tuple(after)}",
            where=model.architecture.build,
        )
    if not events and step.pruning_ratio > 0:
        raise SqueezeError(
            f"nothing could be removed at pruning_ratio {step.pruning_ratio} with align "
            f"{step.align}",
            where=model.architecture.build,
            hint="raise pruning_ratio or lower align",
        )
    return model.pruned(module.eval(), events)


def _remove_channels_(
    module: "nn.Module",
    step: PruneStep,
    importance: Any,  # noqa: ANN401
    example: "Tensor",
) -> list[PruningEvent]:
    import torch
    from torch_pruning import pruner

    wants_grad = {name: p.requires_grad for name, p in module.named_parameters()}
    with torch.enable_grad():  # Torch-Pruning traces through autograd
        for parameter in module.parameters():
            parameter.requires_grad = True
        worker = pruner.BasePruner(
            module,
            example,
            importance=importance,
            pruning_ratio=step.pruning_ratio,
            ignored_layers=[_output_layer(module, example)],
            round_to=step.align if step.align > 1 else None,
            # fresh ones: its defaults are shared between calls and written to
            in_channel_groups={},
            out_channel_groups={},
            num_heads={},
            channel_groups={},
            customized_pruners={},
        )
        worker.step()
    for name, parameter in module.named_parameters():
        parameter.requires_grad = wants_grad.get(name, True)
    module.zero_grad(set_to_none=True)
    return [
        (name, bool(is_out), [int(i) for i in indices])
        for name, is_out, indices in worker.pruning_history()
    ]


def _output_layer(module: "nn.Module", example: Any) -> "nn.Module":  # noqa: ANN401
    """Return the last layer run whose width is the number of outputs."""
    import torch
    from torch import nn

    calls: list[nn.Module] = []

    def note(layer: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ANN401
        del inputs, output
        calls.append(layer)

    kinds = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d
    layers = [m for m in module.modules() if isinstance(m, kinds)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.inference_mode():
            width = module(example).shape[1]
    finally:
        for hook in hooks:
            hook.remove()
    outputs = [
        layer
        for layer in calls
        if width in (getattr(layer, "out_features", None), getattr(layer, "out_channels", None))
    ]
    if not outputs:
        raise SqueezeError(f"no linear or convolution layer makes the {width} outputs")
    return outputs[-1]
