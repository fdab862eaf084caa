"""What recipes can name besides extensions: steps, schemes, metrics, augmentations, models."""

import re
from typing import TYPE_CHECKING, get_args

from squeeze.core.descriptions import ExtensionDescription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import BaseModel

    Names = Mapping[str, ExtensionDescription]

_ADDRESS = re.compile(r"\(?(https?://[^\s)]+)\)?")
_ATTRIBUTE = re.compile(r"^ {4,8}(\w+): (.*(?:\n {9,}\S.*)*)", re.MULTILINE)


def steps() -> "Names":
    """Return the methods of steps."""
    from squeeze.recipe.schema import DistillStep, PruneStep, QuantizeStep

    return {
        "prune": _of_class(PruneStep),
        "distill": _of_class(DistillStep),
        "quantize": _of_class(QuantizeStep),
    }


def schemes() -> "Names":
    """Return the schemes of quantize steps."""
    from squeeze.recipe.schemes import SCHEMES

    described = {}
    for name, scheme in SCHEMES.items():
        weights = "int8 weights" if scheme.int8_weights else f"{scheme.precision} weights"
        bits = scheme.activation_bits
        parts = [weights]
        if bits is not None:
            parts.append(f"{bits}-bit activations")
        if scheme.calibrates:
            parts.append("needs calibration")
        if name.startswith("qat"):
            parts.append("trains")
        described[name] = ExtensionDescription(", ".join(parts))
    return described


def metrics() -> "Names":
    """Return the metrics of gates."""
    from squeeze.core import plugins, tasks
    from squeeze.recipe.schema import Gate

    known = {name: tasks.spec_of(name) for name in plugins.names(plugins.TASKS)}
    of_task = {metric.name: name for name, spec in known.items() for metric in spec.metrics}
    described: dict[str, ExtensionDescription] = {}
    for gate in _members(Gate):
        limits = [key for key in gate.model_fields if key.startswith(("min", "max"))]
        for metric in get_args(gate.model_fields["metric"].annotation) or of_task:
            task = f" of {of_task[metric]}" if metric in of_task else ""
            described[metric] = ExtensionDescription(f"limits{task}: {', '.join(limits)}")
    return described


def augmentations() -> "Names":
    """Return the augmentations of training blocks."""
    from squeeze.recipe.schema import Augment

    documented = dict(_ATTRIBUTE.findall(Augment.__doc__ or ""))
    return {
        name: _with_source(field.description or documented.get(name, ""))
        for name, field in Augment.model_fields.items()
    }


def models() -> "Names":
    """Return the models that squeeze and installed libraries build."""
    from squeeze.core import model_names

    return {
        f"{source}:{name}": ExtensionDescription()
        for source in ("builtin", "torchvision", "timm")
        for name in sorted(model_names.of_source(source))
    }


def recipes() -> "Names":
    """Return the recipes that come with squeeze."""
    from squeeze.recipe import shipped

    return {
        name: ExtensionDescription(shipped.goal(path)) for name, path in shipped.names().items()
    }


KINDS: "dict[str, Callable[[], Names]]" = {
    "steps": steps,
    "schemes": schemes,
    "metrics": metrics,
    "augmentations": augmentations,
    "models": models,
    "recipes": recipes,
}
"""Each kind with what names it."""


def summarized(kind: str, names: "Names") -> str:
    """Return the names of a kind in one line; of libraries' models only how many there are."""
    if kind != "models":
        return ", ".join(names)
    by_source: dict[str, list[str]] = {}
    for name in names:
        by_source.setdefault(name.partition(":")[0], []).append(name)
    shown = [*by_source.pop("builtin", [])]
    shown += [f"{len(own)} of {source}" for source, own in by_source.items()]
    return ", ".join(shown)


def _members(union: object) -> "Iterator[type[BaseModel]]":
    """Yield the classes inside an annotated union."""
    if isinstance(union, type):
        yield union
        return
    for part in get_args(union):
        if isinstance(part, type) or get_args(part):
            yield from _members(part)


def _of_class(step: type) -> ExtensionDescription:
    return _with_source((step.__doc__ or "").partition("\n")[0])


def _with_source(text: str) -> ExtensionDescription:
    """Take the address of a paper out of a sentence."""
    address = _ADDRESS.search(text)
    title = (
        " ".join(_ADDRESS.sub("", text).split()).replace(" ;", ";").replace(" .", ".").strip(" ;")
    )
    return ExtensionDescription(title, address[1] if address else "")
