"""Turn pydantic's errors into sentences with a place."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from squeeze.core import tasks
from squeeze.core.errors import Problem, closest, nearest, unknown_name
from squeeze.recipe.document import Path_
from squeeze.recipe.schema import AccuracyGate, Block, Recipe
from squeeze.recipe.schema.gates import UNKNOWN_METRIC

_TAGGED = ("steps", "gates")
_LONGEST = 60
_LINE = re.compile(r":([0-9]+):[0-9]+$")
_KINDS = {
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def mistakes(error: ValidationError, data: object) -> list[tuple[Path_, str]]:
    """Return every mistake once: its place, and a sentence."""
    items = _without_consequences(error.errors())
    return [
        (path, sentence(item, path))
        for item in _one_per_place(items, data)
        for path in (path_in(data, item["loc"]),)
    ]


def arranged(found: Iterable[Problem]) -> list[Problem]:
    """Return problems in the order of the file, each once; those without a line come last."""
    return sorted(dict.fromkeys(found), key=_position)


def _position(problem: Problem) -> tuple[float, float]:
    line, column = _LINE.search(problem.where), problem.where.rpartition(":")[2]
    return (int(line[1]), int(column)) if line else (math.inf, math.inf)


def _without_consequences(items: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out missing keys that are given by a wrong name, and all but a list's first gap."""
    unknown = [item["loc"] for item in items if item["type"] == "extra_forbidden"]
    implied: set[tuple[str | int | None, ...]] = {
        (*loc[:-1], closest(str(loc[-1]), keys_at(loc[:-1]))) for loc in unknown
    }
    for item in items:
        *block, last = item["loc"] or ("",)
        if item["type"] == "missing" and isinstance(last, int):
            implied |= {(*block, number) for number in range(last + 1, last + _LONGEST)}
    return [item for item in items if item["type"] != "missing" or item["loc"] not in implied]


def _one_per_place(items: list[ErrorDetails], data: object) -> list[ErrorDetails]:
    """Keep one error per place: a union reports every branch, a list counts only valid items."""
    paths = [path_in(data, item["loc"]) for item in items]
    kept: list[ErrorDetails] = []
    for number, (item, path) in enumerate(zip(items, paths, strict=True)):
        deeper = any(len(other) > len(path) and other[: len(path)] == path for other in paths)
        mismatch = _is_mismatch(item)
        repeated = any(
            paths[n] == path and (n < number or not _is_mismatch(other))
            for n, other in enumerate(items)
            if n != number
        )
        if (mismatch and (deeper or repeated)) or (item["type"] == "too_short" and deeper):
            continue
        kept.append(item)
    return kept


def _is_mismatch(item: ErrorDetails) -> bool:
    """Whether the whole value is of another kind than this branch of a union."""
    kind = item["type"]
    return kind == "literal_error" or kind.endswith("_type")


def sentence(item: ErrorDetails, path: Path_) -> str:
    """Say what is wrong at a place."""
    loc = item["loc"]
    if item["type"] == "extra_forbidden":
        return unknown_name("key", str(loc[-1]), keys_at(loc[:-1]))
    if item["type"] == "missing" and isinstance(loc[-1], str):
        return f"required key '{'.'.join(map(str, (*path, loc[-1])))}' is missing"
    return f"{'.'.join(map(str, path))}: {rule(item)}"


def rule(error: Mapping[str, object]) -> str:
    """Say what was found and what is allowed, of one of pydantic's ``errors()``."""
    item = cast("ErrorDetails", error)
    kind, context = item["type"], item.get("ctx", {})
    shown, rule = _shown(item["input"]), item["msg"].replace("Input should be", "allowed:")
    if kind.startswith("union_tag") or kind == UNKNOWN_METRIC:
        return _tag(item)
    if kind == "value_error":
        return str(rule.removeprefix("Value error, "))
    if kind == "missing":
        shown, rule = f"{len(item['input'])} items", f"item {item['loc'][-1]} is missing"
    elif kind in {"too_long", "too_short"}:
        bound = {"too_long": ("most", "max_length"), "too_short": ("least", "min_length")}[kind]
        shown = f"{len(item['input'])} items"
        rule = f"allowed: at {bound[0]} {context[bound[1]]}"
    elif kind == "string_too_short" and context["min_length"] == 1:
        rule = "allowed: a text that is not empty"
    elif kind == "literal_error":
        allowed = [part.strip(" '") for part in re.split(r",| or ", context["expected"])]
        rule = f"allowed: {', '.join(allowed)}{nearest(str(item['input']), allowed)}"
    elif kind in _KINDS:
        rule = f"allowed: {_KINDS[kind]}"
    return f"found {shown}, {rule}"


def _tag(item: ErrorDetails) -> str:
    context, found = item.get("ctx", {}), item["input"]
    key = str(context["discriminator"]).strip("'")
    given = found.get(key) if isinstance(found, dict) else None
    if "expected_tags" in context:
        allowed = [name.strip(" '") for name in context["expected_tags"].split(",")]
    else:
        allowed = sorted(_tags(key))
    if given is None:
        return f"key '{key}' is missing, allowed: {', '.join(allowed)}"
    return unknown_name(key, str(given), allowed)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def path_in(data: object, loc: Path_) -> Path_:
    """Drop the union tags that pydantic puts into a location; keep keys and indices."""
    path: list[str | int] = []
    for depth, part in enumerate(loc):
        tag = depth == len(_TAGGED) and loc[0] in _TAGGED
        values = dict(enumerate(data)) if isinstance(data, list) else data
        if isinstance(values, dict) and part in values and not tag:
            path.append(part)
            data = values[part]
    return tuple(path)


def keys_at(loc: Path_) -> set[str]:
    """Return the keys allowed at a location, found by walking the schema's types."""
    models: set[type[BaseModel]] = {Recipe}
    for part in loc:
        chosen = {m for m in models if part in _literals(m) or part == m.__name__}
        fields = [
            f for m in models for name, f in m.model_fields.items() if part in (name, f.alias)
        ]
        if chosen:
            models = chosen
        elif fields:
            models = {m for f in fields for m in _models_in(f.annotation)}
    return {f.alias or name for m in models for name, f in m.model_fields.items()}


def _tags(key: str) -> set[str]:
    steps_and_gates = {
        m for part in _TAGGED for m in _models_in(Recipe.model_fields[part].annotation)
    }
    return {str(tag) for m in steps_and_gates if key in m.model_fields for tag in _literals(m)}


def _literals(model: type[BaseModel]) -> set[object]:
    if model is AccuracyGate:  # its metrics are those of the tasks
        return set(tasks.accuracy_metrics())
    return {
        value
        for key in ("method", "metric")
        if key in model.model_fields
        for value in get_args(model.model_fields[key].annotation)
    }


def _models_in(annotation: object) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return {annotation}
    return {model for part in get_args(annotation) for model in _models_in(part)}
