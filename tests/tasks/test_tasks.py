"""Tasks as folders: their specs, and a third one that a package adds without an edit."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from squeeze.core import plugins, tasks
from squeeze.core.errors import InputError, RecipeError
from squeeze.pipeline import run as pipeline
from squeeze.recipe import plan
from squeeze.recipe.load import from_data
from squeeze.recipe.schema import InputSpec, Recipe
from squeeze.report import html, markdown
from squeeze.tasks import open_task, report_of

PACKAGE = {
    "__init__.py": """
from squeeze.core.tasks import Metric, TaskSpec
SPEC = TaskSpec("parity_of_digits", "classes", (Metric("top1", "top-1"), Metric("even", "even")))
""",
    "task.py": """
from squeeze.tasks.classification import task

def open_task(spec):
    return task.open_task(spec)
""",
    "report.py": """
from squeeze.tasks.classification import report
from squeeze.tasks.reporting import ReportSection, ReportTable

COLUMNS, DETAILS = ("Digits right", *report.COLUMNS[1:]), report.DETAILS
cells, galleries = report.cells, report.galleries

def headline(before, after, change):
    return (("Digits right", f"{after.top1.value:.1%}"),)

def sections(pairs):
    table = ReportTable(("Parity", "Share"), (("even", "50.0"),))
    return [ReportSection("By parity", (table,), "In percent.", "<svg></svg>")] if pairs else []
""",
}


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The task of another package, known by its entry point."""
    package, info = tmp_path / "their_task", tmp_path / "theirs-1.dist-info"
    package.mkdir()
    for name, code in PACKAGE.items():
        (package / name).write_text(code)
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{plugins.TASKS}]\nparity_of_digits = their_task\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "parity_of_digits"
    for name in [name for name in sys.modules if name.partition(".")[0] == "their_task"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["classification", "detection"])
def test_a_spec_its_task_and_its_report_agree(name: str) -> None:
    spec = tasks.spec_of(name)
    task = open_task(name, InputSpec(shape=(3, 32, 32)))
    assert spec.name == name
    assert (spec.main.label, spec.decodes) == (task.METRIC, task.DECODES)
    assert set(report_of(name).COLUMNS) > report_of(name).DETAILS


def test_specs_need_no_torch() -> None:
    code = (
        "import sys; from squeeze.core import plugins, tasks; from squeeze.tasks import report_of\n"
        "for name in plugins.names(plugins.TASKS): tasks.spec_of(name); report_of(name)\n"
        "print(sorted({'torch', 'matplotlib', 'PIL', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_task_that_is_not_there_is_named_with_those_that_are(recipe_data: dict[str, Any]) -> None:
    recipe_data["task"] = "detect"
    with pytest.raises(RecipeError) as raised:
        from_data(recipe_data, Path())
    (problem,) = raised.value.problems
    assert str(problem).endswith(
        "task: found 'detect', allowed: classification, detection; did you mean 'detection'?"
    )
    with pytest.raises(InputError, match="unknown task 'segmentation', allowed: classification, d"):
        open_task("segmentation", InputSpec(shape=(3, 32, 32)))


def test_a_package_without_a_spec_is_no_task(third: str, tmp_path: Path) -> None:
    (tmp_path / "their_task" / "__init__.py").write_text("")
    with pytest.raises(InputError, match=r"is not a task: it has no SPEC \(a TaskSpec\)"):
        tasks.spec_of(third)
    assert tasks.accuracy_metrics() == ["top1", "top5", "map", "ap50"]


def test_a_third_tasks_metrics_are_known_to_gates(third: str, recipe_data: dict[str, Any]) -> None:
    recipe_data["task"] = third  # its labels are classes, so losses on logits suit it
    recipe_data["gates"] = [{"metric": "even", "min": 0.1}]
    plan.check(from_data(recipe_data, Path()))
    schema = Recipe.model_json_schema()
    assert schema["properties"]["task"]["enum"] == [third, "classification", "detection"]
    gates = schema["$defs"]["AccuracyGate"]
    assert gates["properties"]["metric"]["enum"] == ["top1", "even", "top5", "map", "ap50"]
    recipe_data["gates"] = [{"metric": "top5", "min": 0.1}]
    with pytest.raises(RecipeError) as raised:
        plan.check(from_data(recipe_data, Path()))
    what = "metric 'top5' is not available for parity_of_digits; available: top1, even, agreement"
    assert what in str(raised.value)


def test_a_third_task_runs_to_its_report(third: str, tmp_path: Path) -> None:
    recipe = {
        "version": 1,
        "name": "theirs",
        "task": third,
        "model": {
            "build": "builtin:resnet8",
            "args": {"num_classes": 10, "in_channels": 1},
            "weights": "random",
            "input": {"shape": [1, 12, 12], "mean": [0.3], "std": [0.35], "crop_fraction": 1.0},
        },
        "data": {"validation": "builtin:digits"},
        "steps": [{"method": "prune", "importance": "random", "pruning_ratio": 0.3}],
        "targets": [{"runtime": "pytorch"}],
        "gates": [{"metric": "top1", "min": 0.0}],
    }
    results, folder = pipeline.run(from_data(recipe, tmp_path), output=tmp_path / "runs")
    assert results.task == third
    assert [gate.verdict for gate in results.gates] == ["pass"]
    page, text = html.render(results), markdown.render(results)
    for shown in (page, text):
        for wanted in ("Digits right", "By parity", "even"):
            assert wanted in shown
    assert "<th>Top-1</th>" not in page
    assert "In percent." in page
    record = json.loads((folder.path / "results.json").read_text())
    assert record["rows"][0]["accuracy"]["kind"] == "classification"
