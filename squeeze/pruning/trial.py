"""Try pruning out on copies: what breaks the forward pass is found before anything is lost."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from squeeze.models.copying import copied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from squeeze.pruning.groups import ChannelGroup, PruningGroups

    Remove = Callable[[nn.Module, Sequence[ChannelGroup], dict[str, set[int]]], None]

_CULPRIT = "squeeze_culprit"


def failures(survey: "PruningGroups", example: "Tensor", remove_: "Remove") -> dict[str, str]:
    """Return the groups whose pruning breaks the model, each with the reason.

    One unit of every group is removed from a copy and the copy is run. Only if that fails are the
    groups halved until the guilty ones are found.

    Args:
        survey: Groups found so far.
        example: A batch ``(N, C, H, W)``.
        remove_: Removes units in place.
    """
    import torch

    with torch.inference_mode():
        expected = _shapes(survey.module(example))
    found: dict[str, str] = {}

    def search(groups: "Sequence[ChannelGroup]") -> None:
        reason = _breaks(survey, groups, example, remove_, expected) if groups else None
        if reason is None:
            return
        if len(groups) == 1:
            found[groups[0].name] = reason
            return
        half = len(groups) // 2
        search(groups[:half])
        search(groups[half:])

    remaining = survey.prunable
    while remaining:  # groups may work alone and break together
        before = len(found)
        search(remaining)
        remaining = tuple(group for group in remaining if group.name not in found)
        if len(found) == before:
            break
    reason = _breaks(survey, remaining, example, remove_, expected) if remaining else None
    if reason is not None:
        found |= {group.name: f"breaks together with other groups: {reason}" for group in remaining}
    return found


def culprit(error: BaseException) -> str | None:
    """Return the path and class of the innermost module that raised during ``watched``."""
    return getattr(error, _CULPRIT, None)


def _breaks(
    survey: "PruningGroups",
    groups: "Sequence[ChannelGroup]",
    example: "Tensor",
    remove_: "Remove",
    expected: Any,  # noqa: ANN401  (a tree of shapes)
) -> str | None:
    import torch

    module = copied(survey.module)
    try:
        remove_(module, groups, {group.name: {group.units - 1} for group in groups})
        with torch.inference_mode(), watched(module):
            found = _shapes(module(example))
    except Exception as error:  # noqa: BLE001  whatever the model's own code raises on other widths
        said = str(error).partition("\n")[0] or type(error).__name__
        return f"unsupported operation in {culprit(error) or 'the model'}: {said}"
    return None if found == expected else f"changes the output from {expected} to {found}"


@contextmanager
def watched(module: "nn.Module") -> "Iterator[None]":
    """Note on an exception in which submodule it arose."""
    stack: list[str] = []
    hooks = []
    for path, part in module.named_modules():
        label = f"{path or 'the model'} ({type(part).__name__})"
        hooks += [
            part.register_forward_pre_hook(lambda *_, label=label: stack.append(label)),
            part.register_forward_hook(lambda *_: _pop(stack)),
        ]
    try:
        yield
    except Exception as error:
        setattr(error, _CULPRIT, stack[-1] if stack else None)
        raise
    finally:
        for hook in hooks:
            hook.remove()


def _pop(stack: list[str]) -> None:
    stack.pop()


def _shapes(outputs: Any) -> Any:  # noqa: ANN401
    """Return the shapes in a tree of outputs."""
    import torch

    if torch.is_tensor(outputs):
        return tuple(outputs.shape)
    if isinstance(outputs, dict):
        return {key: _shapes(value) for key, value in outputs.items()}
    if isinstance(outputs, list | tuple):
        return [_shapes(value) for value in outputs]
    return type(outputs).__name__
