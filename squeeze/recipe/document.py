"""YAML text to plain data and back, with the place of every value.

YAML is read through PyYAML's node tree, not its constructors: that keeps positions, lets duplicate
keys be refused, runs no tags, and reads scalars by YAML 1.2's core rules (``3e-4`` is a number and
``no`` is a string; PyYAML alone gets both the other way round). ``.inf`` and ``.nan`` stay text.
"""

import math
import re
from dataclasses import dataclass, field

import yaml

from squeeze.core import reading
from squeeze.core.errors import Problem, RecipeError

Path_ = tuple[str | int, ...]
Scalar = str | int | float | bool | None

_INT = re.compile(r"[-+]?[0-9][0-9_]*")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_BASES = ((re.compile(r"0x[0-9a-fA-F]+"), 16), (re.compile(r"0o[0-7]+"), 8))
_WORDS = {"": None, "~": None} | {
    spelt: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for spelt in (word, word.capitalize(), word.upper())
}
_MOST_VALUES = 100_000
"""A few nested aliases could expand to billions."""

_DEEPEST = 100
_LARGEST = 2**64
"""Whole numbers must be below it in magnitude: no setting comes near, and libraries fail beyond."""


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


def read(text: str, file: str) -> tuple[object, SourceMap, list[Problem]]:
    """Read one YAML document.

    Returns:
        Its plain data, the places of its values, and the YAML features that recipes do not allow.

    Raises:
        RecipeError: The text is not YAML at all.
    """
    reader = _Reader(SourceMap(file))
    if len(text) > reading.YAML_BYTES:
        raise RecipeError([Problem(file, reading.too_large(reading.YAML_BYTES))])
    try:
        node = yaml.compose(text, Loader=_Untyped)
        data = None if node is None else reader.value(node, ())
    except yaml.reader.ReaderError as error:
        before = text[: error.position].splitlines() or [""]
        where = f"{file}:{len(before)}:{len(before[-1]) + 1}"
        character = text[error.position]
        what = f"is not YAML: the character U+{ord(character):04X} is not allowed"
        raise RecipeError([Problem(where, what)]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        context = "" if (error.context or "while").startswith("while") else f"{error.context}, "
        raise RecipeError([Problem(where, f"is not YAML: {context}{error.problem}")]) from None
    return data, reader.source, reader.problems


def dump(data: object) -> str:
    """Return plain data as YAML that ``read`` gives back equal (``"3e-4"`` keeps its quotes)."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False)


def scalar(text: str) -> Scalar:
    """Give an unquoted scalar its type."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        if _INT.fullmatch(text):
            return int(text.replace("_", ""))
        for pattern, base in _BASES:
            if pattern.fullmatch(text):
                return int(text, base)
    except ValueError:  # Python refuses thousands of digits
        return text
    return float(text.replace("_", "")) if _FLOAT.fullmatch(text) else text


class _Untyped(yaml.SafeLoader):
    """Infers no types: the only tags are those that the file spells out."""

    def resolve(self, kind: object, value: object, implicit: object) -> str:
        del kind, value, implicit
        return ""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth = getattr(self, "_depth", 0) + 1
        if self._depth > _DEEPEST:
            what = f"nested too deeply, allowed: {_DEEPEST} lists and mappings in each other"
            raise yaml.composer.ComposerError(None, None, what, mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes every text that would be read back as something else."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(scalar(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


class _Reader:
    """Walks a node tree, collecting places and problems."""

    def __init__(self, source: SourceMap) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._open: set[int] = set()
        self._values = 0

    def value(self, node: yaml.Node, path: Path_) -> object:
        """Return a node as plain data."""
        mark = self._place(node)
        self.source.marks.setdefault(path, mark)
        self._refuse_tag(node, mark)
        if isinstance(node, yaml.ScalarNode):
            return node.value if node.style is not None else self._bounded(node, mark)
        self._values += len(node.value)
        if id(node) in self._open:
            raise RecipeError([Problem(mark, "found a value that contains itself by an alias")])
        if self._values > _MOST_VALUES:
            raise RecipeError([Problem(mark, f"found more than {_MOST_VALUES:,} values")])
        self._open.add(id(node))
        found: object = None
        if isinstance(node, yaml.SequenceNode):
            found = [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            found = self._mapping(node, path)
        self._open.remove(id(node))
        return found

    def _bounded(self, node: yaml.ScalarNode, mark: str) -> Scalar:
        found = scalar(node.value)
        whole = isinstance(found, int)
        if isinstance(found, int | float) and not abs(found) < (_LARGEST if whole else math.inf):
            rule = "whole numbers are below 2^64" if whole else "numbers are finite"
            what = f"found {reading.shortened(node.value)}, {rule}"
            self.problems.append(Problem(mark, what))
            return 0
        return found

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, object]:
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            mark = self._place(key_node)
            self._refuse_tag(key_node, mark)
            key = key_node.value
            if not isinstance(key, str):
                self.problems.append(Problem(mark, "found a list or mapping as key, allowed: text"))
            elif key == "<<" and key_node.style is None:
                self.problems.append(Problem(mark, "found a merge key '<<', recipes allow none"))
            elif key in found:
                first = self.source.where((*path, key))
                what = f"duplicate key '{key}', first given at {first}"
                self.problems.append(Problem(mark, what))
            else:
                self.source.marks[(*path, key)] = mark
                found[key] = self.value(value_node, (*path, key))
        return found

    def _place(self, node: yaml.Node) -> str:
        return f"{self.source.file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def _refuse_tag(self, node: yaml.Node, mark: str) -> None:
        if node.tag:
            self.problems.append(Problem(mark, f"found the tag {node.tag}, recipes allow no tags"))
