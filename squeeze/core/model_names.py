"""The names of models in squeeze and in installed libraries, without importing those.

torchvision and timm register a model by a decorator on its function; their files are read as text.
"""

import re
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from squeeze.core.permission import FORMS

BUILTIN = {
    "resnet8": "squeeze.models.cifar_resnet",
    "resnet20": "squeeze.models.cifar_resnet",
    "resnet56": "squeeze.models.cifar_resnet",
    "tinydet": "squeeze.models.detectors.tinydet",
    "yolov3": "squeeze.models.detectors.yolo",
    "yolov3_tiny": "squeeze.models.detectors.yolo",
}
"""Models of our own, each with the module that builds it."""

_REGISTERED = re.compile(
    r"^@register_model(?:\((?:name=)?(?:[\"'](?P<name>\w+)[\"'])?\))?\n"
    r"(?:(?!def ).*\n)*def (?P<function>\w+)",
    re.MULTILINE,
)
_SHOWN = 3


@cache
def registered(library: str) -> frozenset[str]:
    """Return the models that ``torchvision`` or ``timm`` knows; none where it is not installed."""
    spec = find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    root = Path(next(iter(spec.submodule_search_locations))) / "models"
    return frozenset(
        found["name"] or found["function"]
        for file in root.rglob("*.py")
        for found in _REGISTERED.finditer(file.read_text(encoding="utf-8", errors="replace"))
    )


def of_source(source: str) -> frozenset[str]:
    """Return the names that may follow ``builtin:``, ``torchvision:`` or ``timm:``."""
    return frozenset(BUILTIN) if source == "builtin" else registered(source)


def malformed(text: str) -> str:
    """Return what is wrong with a text that is not a reference of a model's factory."""
    return f"found '{text}', allowed: {FORMS}{_meant(text)}"


def _meant(text: str) -> str:
    """Return the references that a bare name may mean: those of this name, or the nearest."""
    every = {
        f"{source}:{name}": name
        for source in ("builtin", "torchvision", "timm")
        for name in of_source(source)
    }
    name = text.lower()
    same = [reference for reference, own in every.items() if own == name]
    if not same:
        close = get_close_matches(name, set(every.values()), n=_SHOWN, cutoff=0.7)
        same = [reference for one in close for reference, own in every.items() if own == one]
    shown = " or ".join(f"'{reference}'" for reference in same[:_SHOWN])
    return f"; did you mean {shown}?" if shown else ""
