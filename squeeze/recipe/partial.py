"""As much of a recipe as can be read, with holes where its mistakes are.

Every wrong value is replaced by one that is allowed, until the whole is valid; then holes take
their places, at which the checks of the plan end (see ``holes``).
"""

import copy
from contextlib import suppress
from typing import cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from squeeze.core.errors import closest
from squeeze.recipe.document import Path_
from squeeze.recipe.explain import keys_at, path_in, sentence
from squeeze.recipe.holes import Hole
from squeeze.recipe.schema import Recipe

_LISTS = ("steps", "gates", "targets")
_TAGS = ("method", "metric", "runtime", "format", "name")
_MOST_ROUNDS = 200
_DELETE = object()
_ITEMS: dict[str, object] = {
    "steps": {"method": "prune", "pruning_ratio": 0.5},
    "gates": {"metric": "size", "max_bytes": 1},
    "targets": {"runtime": "onnxruntime"},
}
_BLOCKS: dict[Path_, object] = {
    ("version",): 1,
    ("name",): "x",
    ("model",): {"build": "builtin:resnet8", "input": {"shape": [1, 8, 8]}},
    ("data",): {"validation": {"format": "digits"}},
    ("data", "validation"): {"format": "digits"},
    ("targets",): [_ITEMS["targets"]],
}
_VALUES = (1, 0.5, 2.0, "x")

_Container = dict[str | int, object]
"""A mapping, or a list with its indices as keys."""


def readable(data: dict[str, object]) -> tuple[Recipe | None, list[tuple[Path_, str]]]:
    """Return a recipe with holes, and mistakes that others had hidden.

    Args:
        data: What the recipe holds, left as it is.

    Returns:
        The recipe, or None where nothing can be made of it; and mistakes between the values of a
        block, which are looked for only when each of them is right.
    """
    plain, holes = copy.deepcopy(data), dict[Path_, int]()
    hidden: list[tuple[Path_, str]] = []
    for number in range(_MOST_ROUNDS):
        try:
            return _with_holes(Recipe.model_validate(plain), list(holes)), hidden
        except ValidationError as error:
            places = [(path_in(plain, item["loc"]), item) for item in error.errors()]
            for index, (path, item) in enumerate(places):
                if path in [place for place, _ in places[:index]] and _is_of_value(item):
                    continue  # a union has an error for every branch
                if number and item["type"] == "value_error" and not _is_touched(path, holes):
                    hidden.append((path, sentence(item, path)))
                with suppress(LookupError, TypeError):  # an earlier repair has taken it away
                    _repair_(plain, item, path, holes)
        if () in holes:
            break
    return None, hidden


def _is_of_value(item: ErrorDetails) -> bool:
    """Tell whether an error is about the value at its place, not about a key inside of it."""
    return item["type"] not in {"missing", "extra_forbidden"}


def _is_touched(path: Path_, holes: dict[Path_, int]) -> bool:
    """Tell whether a block has a hole among its values, or lies in one."""
    return any(hole[:-1] == path or path[: len(hole)] == hole for hole in holes)


def _repair_(plain: object, item: ErrorDetails, path: Path_, holes: dict[Path_, int]) -> None:
    """Change the data so that one error disappears, and note where."""
    if item["type"] == "extra_forbidden":
        block = _block(plain, path[:-1])
        del block[path[-1]]
        meant = closest(str(path[-1]), keys_at(item["loc"][:-1]))
        if meant is not None and meant not in block:
            _fill_(plain, (*path[:-1], meant), holes)
        return
    if item["type"] == "missing" and isinstance(item["loc"][-1], str):
        path = (*path, item["loc"][-1])
    elif item["type"] == "value_error" and _leave_one_out_(plain, path, holes):
        return
    _fill_(plain, path, holes)


def _leave_one_out_(plain: object, path: Path_, holes: dict[Path_, int]) -> bool:
    """Take the one value out of a block, or put the one in, without which it is wrong."""
    block = _at(plain, path)
    if not isinstance(block, dict) or path in holes:
        return False
    ways = [{k: v for k, v in block.items() if k != key} for key in block if key not in _TAGS]
    for way in (*ways, block | {"pruning_ratio": 0.5}):
        trial = copy.deepcopy(plain)
        _put_(trial, path, way)
        if not _is_wrong(trial, path):
            _put_(plain, path, way)
            changed = set(way) ^ set(block)
            holes.update(dict.fromkeys(((*path, key) for key in changed), len(_VALUES)))
            return True
    return False


def _is_wrong(plain: object, path: Path_) -> bool:
    try:
        Recipe.model_validate(plain)
    except ValidationError as error:
        return any(path_in(plain, item["loc"])[: len(path)] == path for item in error.errors())
    return False


def _fill_(plain: object, path: Path_, holes: dict[Path_, int]) -> None:
    """Put the next candidate value in a place; when all have failed, replace its block instead."""
    path = _of_values(path)
    if not path:
        holes[()] = 0
        return
    number = holes.get(path, -1) + 1
    fillers = [*_fillers(path), _DELETE]
    if number >= len(fillers):
        del holes[path]
        _fill_(plain, path[:-1], holes)
        return
    holes[path] = number
    if fillers[number] is _DELETE:
        _block(plain, path[:-1]).pop(path[-1], None)
    else:
        _put_(plain, path, copy.deepcopy(fillers[number]))


def _of_values(path: Path_) -> Path_:
    """Return the place of the list instead of its item, except for steps, gates and targets."""
    if not path or not isinstance(path[-1], int):
        return path
    return path if path[:-1] in {(name,) for name in _LISTS} else path[:-1]


def _fillers(path: Path_) -> tuple[object, ...]:
    if isinstance(path[-1], int):
        return (_ITEMS[str(path[0])],)
    return (_BLOCKS[path],) if path in _BLOCKS else _VALUES


def _at(plain: object, path: Path_) -> object:
    for part in path:
        plain = cast("_Container", plain)[part]
    return plain


def _block(plain: object, path: Path_) -> _Container:
    """Return the mapping or list at a path, to be changed."""
    return cast("_Container", _at(plain, path))


def _put_(plain: object, path: Path_, value: object) -> None:
    _block(plain, path[:-1])[path[-1]] = value


def _with_holes(recipe: Recipe, holes: list[Path_]) -> Recipe:
    for path in holes:
        if not any(path[:depth] in holes for depth in range(len(path))):
            _dig_(recipe, path)
    return recipe


def _dig_(block: BaseModel, path: Path_) -> None:
    """Put a hole at a place inside a block, or around it where the block has no such key."""
    name = _field(block, str(path[0]))
    value = getattr(block, name)
    if len(path) > 1 and _has(value, path[1]):
        _dig_(value, path[1:])
    elif len(path) > 1 and isinstance(value, tuple):
        items, number = list(value), int(path[1])
        if len(path) > 2 and _has(items[number], path[2]):  # noqa: PLR2004
            _dig_(items[number], path[2:])
        else:
            items[number] = Hole()
        vars(block)[name] = tuple(items)  # frozen for others, and no one else holds it yet
    else:
        vars(block)[name] = Hole()


def _has(value: object, key: str | int) -> bool:
    return isinstance(value, BaseModel) and _field(value, str(key)) in type(value).model_fields


def _field(model: BaseModel, key: str) -> str:
    """Return the attribute of a recipe's key."""
    fields = type(model).model_fields
    return next((name for name, field in fields.items() if field.alias == key), key)
