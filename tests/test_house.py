"""The plan of the house: unique names, small files and packages, no two modules in a circle."""

import ast
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "squeeze"
FILES = sorted(PACKAGE.rglob("*.py"))
EXTENSION_POINT = {"Options"}
"""Classes that every extension file of a kind may hold, under the name the kind asks for."""


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def test_no_two_classes_have_one_name() -> None:
    names = Counter(
        node.name
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name not in EXTENSION_POINT
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("folder", ["squeeze", "tests"])
def test_no_file_has_more_than_400_lines(folder: str) -> None:
    files = (PACKAGE.parent / folder).rglob("*.py")
    lines = {str(file): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {file: count for file, count in lines.items() if count > 400} == {}


def test_no_package_holds_over_a_fifth_of_the_lines() -> None:
    shares: Counter[str] = Counter()
    for name, file in MODULES.items():
        shares[name.split(".")[1] if "." in name else name] += len(file.read_text().splitlines())
    whole = shares.total()
    assert {name: n / whole for name, n in shares.items() if n / whole > 0.2} == {}


UNTYPED = {
    "squeeze": "the attribute that is asked for decides its type",
    "squeeze.cli.app": "the context is of the Click that Typer bundles",
    "squeeze.cli.inspect": "the context is of the Click that Typer bundles",
    "squeeze.core.plugins": "an extension function takes and returns what its group says",
    "squeeze.exporting.detections.draft": "values and graphs of onnx_ir",
    "squeeze.measure.evaluator": "predictions are what a task makes of outputs",
    "squeeze.models.written_sizes.forms": "arguments of any function of torch",
    "squeeze.models.written_sizes.naming": "arguments of any function of torch",
    "squeeze.models.written_sizes.running": "arguments of any function of torch",
    "squeeze.models.written_sizes.tracing": "arguments of any function of torch",
    "squeeze.runtimes.base": "a batch as a runtime takes it, which only its session reads",
    "squeeze.runtimes.litert.graphs": "tables of flatbuffers",
    "squeeze.runtimes.litert.session": "the interpreter",
    "squeeze.runtimes.onnxruntime.graphs": "protobufs, whose classes are made at run time",
    "squeeze.runtimes.onnxruntime.session": "the inference session",
    "squeeze.runtimes.onnxruntime.suppression": "values of torch's two exporters",
    "squeeze.store.sealed": "JSON that was checked by its own hash",
    "squeeze.tasks.base": "labels, which only the task reads",
}
"""Modules that hold a value without a type, each with what it is."""
UNTYPED_PACKAGES = ("squeeze.models.adapters", "squeeze.pruning")
"""Those that work on layers of any library, and on graphs of torch.fx."""


def test_values_without_a_type_come_from_libraries_only() -> None:
    found = {
        name
        for name, file in MODULES.items()
        if any(
            isinstance(node, ast.Name) and node.id == "Any"
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        )
    }
    assert {name for name in found if not name.startswith(UNTYPED_PACKAGES)} == UNTYPED.keys()


def test_no_two_modules_import_each_other() -> None:
    imports = {name: imported(file) for name, file in MODULES.items()}
    pairs = {
        tuple(sorted((name, other)))
        for name, others in imports.items()
        for other in others
        if other != name and name in imports.get(other, set())
    }
    assert pairs == set()


def imported(file: Path) -> set[str]:
    """Return the modules that a file imports anywhere, also for types only."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
    return found


def test_no_function_has_more_than_40_lines_beside_its_docstring() -> None:
    lengths = {
        f"{name}.{node.name}": length(node)
        for name, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > 40} == {}


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's lines without its docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    text = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - text
