"""The examples of the API run as they stand."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
_RUN = """
import ast, json, sys

names = {}
for number, source in enumerate(json.load(sys.stdin)):
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), f"cell {number}", "exec"), names)
    if last is not None:
        shown = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        print(shown._repr_html_())
"""
"""Runs cells as a notebook does, and prints what it would show under each."""


def test_the_script_goes_from_a_module_to_a_measured_file_in_ten_lines(tmp_path: Path) -> None:
    script = EXAMPLES / "quickstart.py"
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    path, _, rest = done.stdout.partition(": top-1 ")
    assert path == "served/static_int8.onnx"
    assert (tmp_path / path).is_file()
    assert float(rest.partition("%")[0]) > 90
    body = ast.parse(script.read_text()).body[1:]  # without the docstring
    steps = [one for one in body if not isinstance(one, ast.Import | ast.ImportFrom)]
    assert sum(one.end_lineno - one.lineno + 1 for one in steps if one.end_lineno) == 10


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells)
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=json.dumps(["".join(cell["source"]) for cell in cells]),
        env={"PYTHONPATH": f"{EXAMPLES}:{EXAMPLES.parent}", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for title in ("params", "pruned", "pytorch", "trained", "quantized", "onnxruntime"):
        assert title in done.stdout
    assert done.stderr == ""
