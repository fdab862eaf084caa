"""What a loss block says, checked against the loss's own file. Needs no torch."""

from collections.abc import Iterator
from types import ModuleType

from squeeze.core import plugins, tasks
from squeeze.core.errors import InputError, unknown_name
from squeeze.recipe import options
from squeeze.recipe.document import Path_
from squeeze.recipe.schema import Block, LossBlock


def read_options(block: LossBlock) -> Block:
    """Return the loss's options: those of the recipe and its own defaults.

    Raises:
        InputError: The loss does not exist, or does not take these options.
    """
    module = load(block)
    found = list(_option_mistakes(block, module))
    if found:
        raise InputError("; ".join(what for _, what in found), where=f"loss {block.name}")
    read: Block = module.Options.model_validate(_given(block))
    return read


def load(block: LossBlock) -> ModuleType:
    """Import a loss's file.

    Raises:
        InputError: There is none, or it is not one.
    """
    known = plugins.names(plugins.LOSSES)
    if block.name not in known:
        raise InputError(unknown_name("loss", block.name, known))
    module = plugins.load(plugins.LOSSES, block.name)
    missing = [name for name in ("TRAITS", "Options", "build") if not hasattr(module, name)]
    if missing:
        raise InputError(f"is not a loss: it has no {', '.join(missing)}", where=module.__name__)
    return module


def mistakes(
    block: LossBlock, batch_size: int, task: str = "classification"
) -> Iterator[tuple[Path_, str]]:
    """Return what cannot work in a loss block, each with its place inside the block."""
    try:
        module = load(block)
    except InputError as error:
        yield ("name",), str(error)
        return
    if not _suits(module.TRAITS.task, task):
        others = [name for name in plugins.names(plugins.LOSSES) if _suits(_task_of(name), task)]
        yield ("name",), f"'{block.name}' is not for {task}; allowed: {', '.join(others)}"
    yield from _option_mistakes(block, module)
    if block.layers and module.TRAITS.needs == "logits":
        yield ("layers",), f"'{block.name}' compares logits only, so it takes no layer pairs"
    if batch_size < module.TRAITS.min_batch:
        yield (), too_few(block.name, batch_size)


def _suits(of_loss: str | None, task: str) -> bool:
    """Whether a loss is for a task: for any, or for one whose samples are labelled alike."""
    if of_loss in {None, task}:
        return True
    return bool(of_loss) and tasks.spec_of(str(of_loss)).labels == tasks.spec_of(task).labels


def _task_of(name: str) -> str | None:
    """Return which task a loss is for, None for any; empty for one that cannot be imported."""
    try:
        found: str | None = load(LossBlock(name=name)).TRAITS.task
    except InputError:
        return ""
    return found


def too_few(name: str, found: int) -> str:
    """Return the sentence for a batch of one sample and a loss that compares samples."""
    return f"'{name}' compares the samples of a batch, found a batch of {found}; allowed: 2 or more"


def _given(block: LossBlock) -> dict[str, object]:
    own: dict[str, object] = {} if block.temperature is None else {"temperature": block.temperature}
    return own | block.options


def _option_mistakes(block: LossBlock, module: ModuleType) -> Iterator[tuple[Path_, str]]:
    if block.temperature is not None:
        if "temperature" not in module.Options.model_fields:
            yield ("temperature",), f"'{block.name}' has no temperature"
        elif "temperature" in block.options:
            yield ("temperature",), "is given twice: here and in options"
    found = options.mistakes(module.Options, block.options, block.name)
    yield from ((("options", *place), what) for place, what in found)
