"""Read a recipe file, showing every mistake at once as ``file:line:col: …``.

YAML is read through PyYAML's node tree, not its constructors: that keeps positions, lets duplicate
keys be refused, runs no tags, and reads scalars by YAML 1.2's core rules (``3e-4`` is a number and
``no`` is a string; PyYAML alone gets both the other way round).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from squeeze.core.errors import Problem, RecipeError, nearest, unknown_name
from squeeze.recipe.schema import Block, Recipe, expand_data_reference

Path_ = tuple[str | int, ...]
_INT = re.compile(r"[-+]?[0-9][0-9_]*$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp", "merge", "value")
}


@dataclass
class SourceMap:
    """Where in the file each value stands."""

    file: str
    marks: dict[Path_, str] = field(default_factory=dict)

    def where(self, path: Path_) -> str:
        """Return ``file:line:col`` of a path, or of the nearest parent that is in the file."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, f"{self.file}:1:1")


@dataclass(frozen=True)
class LoadedRecipe:
    """A valid recipe, the folder its relative paths start from, and its positions."""

    recipe: Recipe
    folder: Path
    source: SourceMap


def load_recipe(path: str | Path, overrides: tuple[str, ...] = ()) -> LoadedRecipe:
    """Read and validate one recipe file.

    Args:
        path: The YAML file.
        overrides: ``path.to.key=value`` strings; the value is read as YAML.

    Raises:
        RecipeError: With all mistakes of syntax, types, names and ranges.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError([Problem(str(path), "no such file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError([Problem(str(path), f"cannot be read: {error}")]) from None
    data, source, problems = _read(text, str(path))
    for override in overrides:
        problems += _override(data, source, override)
    recipe, mistakes = validate(data, source)
    if recipe is None or problems:
        raise RecipeError([*problems, *mistakes])
    return LoadedRecipe(recipe, path.resolve().parent, source)


def from_data(data: dict[str, Any], folder: Path, overrides: tuple[str, ...] = ()) -> LoadedRecipe:
    """Validate a recipe that was built from command-line flags.

    Args:
        data: What the YAML file would hold.
        folder: Where relative paths start.
        overrides: As for ``load_recipe``.

    Raises:
        RecipeError: With all mistakes.
    """
    source, problems = SourceMap("flags", {(): "flags"}), list[Problem]()
    for override in overrides:
        problems += _override(data, source, override)
    recipe, mistakes = validate(data, source)
    if recipe is None or problems:
        raise RecipeError([*problems, *mistakes])
    return LoadedRecipe(recipe, folder, source)


def validate(data: Any, source: SourceMap) -> tuple[Recipe | None, list[Problem]]:  # noqa: ANN401
    """Check plain data against the schema; return the recipe or all its mistakes."""
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        return None, [Problem(source.where(()), f"found {found}, a recipe is a mapping of keys")]
    try:
        return Recipe.model_validate(data), []
    except ValidationError as error:
        return None, [_problem(item, data, source) for item in _first_of_each(error)]


def _first_of_each(error: ValidationError) -> list[dict[str, Any]]:
    """Keep one error per place: a union reports every branch, a list counts only valid items."""
    kept: list[dict[str, Any]] = []
    for item in (dict[str, Any](found) for found in error.errors()):
        below = any(other["loc"][: len(item["loc"])] == item["loc"] for other in kept)
        branch = any(
            other["loc"][:-1] == item["loc"][:-1]
            and other["type"] == "literal_error"
            and other["input"] is item["input"]
            for other in kept
        )
        if not branch and not (below and item["type"] == "too_short"):
            kept.append(item)
    return kept


def _read(text: str, file: str) -> tuple[Any, SourceMap, list[Problem]]:
    source, problems = SourceMap(file), list[Problem]()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        raise RecipeError([Problem(where, f"is not YAML: {error.problem}")]) from None
    except yaml.YAMLError as error:
        raise RecipeError([Problem(file, f"is not YAML: {error}")]) from None
    data = None if node is None else _value(node, (), source, problems)
    return data, source, problems


def _value(node: yaml.Node, path: Path_, source: SourceMap, problems: list[Problem]) -> Any:  # noqa: ANN401
    mark = f"{source.file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
    source.marks.setdefault(path, mark)
    if node.tag not in _PLAIN_TAGS:
        problems.append(Problem(mark, f"found the tag {node.tag}, recipes allow no tags"))
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, i), source, problems) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            at = f"{source.file}:{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}"
            if key in found:
                first = source.where((*path, key))
                problems.append(Problem(at, f"duplicate key '{key}', first given at {first}"))
                continue
            source.marks[(*path, key)] = at
            found[key] = _value(value_node, (*path, key), source, problems)
        return found
    return _scalar(node) if isinstance(node, yaml.ScalarNode) else None


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text: str = node.value
    if node.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text.replace("_", ""))
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    return text


def _override(data: Any, source: SourceMap, override: str) -> list[Problem]:  # noqa: ANN401
    key, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals or not key:
        return [Problem(where, "found no 'path=value', for example steps.0.pruning_ratio=0.5")]
    try:
        value, _, problems = _read(text, where)
    except RecipeError as error:
        return list(error.problems)
    path: Path_ = tuple(int(part) if part.isdigit() else part for part in key.split("."))
    missing = _put(data, path, value)
    if missing is not None:
        return [*problems, Problem(where, f"there is no '{missing}' in the recipe")]
    for known in [mark for mark in source.marks if mark[: len(path)] == path]:
        del source.marks[known]
    source.marks[path] = where
    return problems


def _put(place: Any, path: Path_, value: Any) -> str | None:  # noqa: ANN401
    """Set a value deep inside plain data; return the first part of the path that is not there."""
    for depth, part in enumerate(path[:-1]):
        if isinstance(place, dict):
            found = place.get(str(part))
            if found is None:
                place[str(part)] = {}
            elif isinstance(found, str) and path[0] == "data" and depth == 1:
                place[str(part)] = expand_data_reference(found)
            place = place[str(part)]
        elif isinstance(place, list) and isinstance(part, int) and part < len(place):
            place = place[part]
        else:
            return ".".join(map(str, path[: depth + 1]))
    last = path[-1]
    if isinstance(place, dict):
        place[str(last)] = value
    elif isinstance(place, list) and isinstance(last, int) and last <= len(place):
        place[last : last + 1] = [value]
    else:
        return ".".join(map(str, path))
    return None


def _problem(item: dict[str, Any], data: Any, source: SourceMap) -> Problem:  # noqa: ANN401
    """Turn one of pydantic's errors into a sentence with a place."""
    loc: Path_ = item["loc"]
    path = _path_in(data, loc)
    dotted = ".".join(map(str, path))
    kind, context, found = item["type"], item.get("ctx", {}), item.get("input")
    if kind == "extra_forbidden":
        what = unknown_name("key", str(loc[-1]), _keys_at(loc[:-1]))
    elif kind == "missing":
        key = ".".join(map(str, (*path, loc[-1]) if path[-1:] != loc[-1:] else path))
        what = f"required key '{key}' is missing"
    elif kind in {"union_tag_not_found", "union_tag_invalid"}:
        tag = context["discriminator"].strip("'")
        given = found.get(tag) if isinstance(found, dict) else None
        allowed = (
            [name.strip(" '") for name in context.get("expected_tags", "").split(",")]
            if "expected_tags" in context
            else sorted(_tags(tag))
        )
        what = (
            f"{dotted}: key '{tag}' is missing, allowed: {', '.join(allowed)}"
            if given is None
            else f"{dotted}: {unknown_name(tag, str(given), allowed)}"
        )
    elif kind == "literal_error":
        allowed = [part.strip(" '") for part in re.split(r",| or ", context["expected"])]
        what = (
            f"{dotted}: found {_shown(found)}, allowed: {', '.join(allowed)}"
            f"{nearest(str(found), allowed)}"
        )
    else:
        rule = item["msg"].removeprefix("Value error, ").replace("Input should be", "allowed:")
        shown = "" if kind == "value_error" else f"found {_shown(found)}, "
        what = f"{dotted}: {shown}{rule}"
    return Problem(source.where(path), what)


def _shown(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value)


def _path_in(data: Any, loc: Path_) -> Path_:  # noqa: ANN401
    """Drop the union tags that pydantic puts into a location; keep keys and indices."""
    path: list[str | int] = []
    for part in loc:
        inside = isinstance(data, dict) and part in data
        if isinstance(data, list) and isinstance(part, int):
            inside = part < len(data)
        if inside:
            path.append(part)
            data = data[part]
    return tuple(path)


def _keys_at(loc: Path_) -> set[str]:
    """Return the keys allowed at a location, found by walking the schema's types."""
    models: set[type[BaseModel]] = {Recipe}
    for part in loc:
        chosen = [m for m in models if part in _literals(m)]
        fields = [
            f for m in models for name, f in m.model_fields.items() if part in (name, f.alias)
        ]
        if fields:
            models = {m for f in fields for m in _models_in(f.annotation)}
        elif chosen:
            models = set(chosen)
    return {f.alias or name for m in models for name, f in m.model_fields.items()}


def _tags(key: str) -> set[str]:
    steps_and_gates = _keys_models("steps") | _keys_models("gates")
    return {str(tag) for m in steps_and_gates if key in m.model_fields for tag in _literals(m)}


def _keys_models(key: str) -> set[type[BaseModel]]:
    return _models_in(Recipe.model_fields[key].annotation)


def _literals(model: type[BaseModel]) -> set[object]:
    return {
        value
        for key in ("method", "metric")
        if key in model.model_fields
        for value in get_args(model.model_fields[key].annotation)
    }


def _models_in(annotation: Any) -> set[type[BaseModel]]:  # noqa: ANN401
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return {annotation}
    return {model for part in get_args(annotation) for model in _models_in(part)}
