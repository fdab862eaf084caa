"""A runtime's parts: there, not there, or not what they should be."""

import sys
from pathlib import Path

import numpy as np
import pytest

from squeeze.core import plugins
from squeeze.core.errors import InputError
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load, of_file


def test_what_a_runtime_can_show_is_what_its_folder_has() -> None:
    found = {name: load(name) for name in ("onnxruntime", "litert", "pytorch")}
    assert [name for name, each in found.items() if each.audits] == ["onnxruntime", "litert"]
    assert [name for name, each in found.items() if each.holds_metadata] == [
        "onnxruntime",
        "litert",
    ]
    assert found["pytorch"].coverage(Path("bundle")) is None
    assert found["pytorch"].file_input(Path("bundle")) is None
    assert found["litert"].profile([], Execution(), np.zeros((1, 3, 8, 8), np.float32)) is None
    with pytest.raises(InputError, match="pytorch cannot show the tensors inside a file"):
        found["pytorch"].activations(Path("bundle"))


def test_why_it_does_not_run_here() -> None:
    assert load("onnxruntime").unavailable("cpu") is None
    what = "onnxruntime runs on cpu only here, not on cuda"
    assert load("onnxruntime").unavailable("cuda") == what


def test_a_file_of_no_runtime(tmp_path: Path) -> None:
    assert of_file(tmp_path / "model.pt") is None


def test_a_part_that_lacks_its_function_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "half_made"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from squeeze.core.specs import RuntimeSpec\n"
        "SPEC = RuntimeSpec('.half', {'cpu': ('fp32',)}, {'numpy': 'numpy'}, 'half-made')\n"
    )
    (folder / "session.py").write_text("x = 1\n")
    record = tmp_path / "half_made-1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: half-made\nVersion: 1\n")
    (record / "entry_points.txt").write_text(f"[{plugins.RUNTIMES}]\nhalf = half_made\n")
    monkeypatch.syspath_prepend(tmp_path)
    half = load("half")
    assert half.version() == np.__version__
    what = "half_made.session: has no open_session, which runtime half needs"
    with pytest.raises(InputError, match=what):
        half.open_session(tmp_path / "a.half", Execution())
    with pytest.raises(InputError, match=r"half_made\.export: cannot be imported"):
        half.export(None, tmp_path / "a.half")  # type: ignore[arg-type]
    for name in ("half_made", "half_made.session"):
        sys.modules.pop(name, None)
