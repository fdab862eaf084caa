"""What runtimes and backends say about themselves, also those that cannot be read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from squeeze.core import plugins, specs
from squeeze.core.errors import InputError

Install = Callable[..., None]

TINY = (
    "from squeeze.core.specs import RuntimeSpec\n"
    "SPEC = RuntimeSpec({!r}, {{'cpu': ('fp32',)}}, {{'nowhere_to_be_found': 'nowhere'}}, 'tiny')\n"
)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put packages with a runtime each on the path, given the code of their modules."""

    def put(**code: str) -> None:
        for name, text in code.items():
            (tmp_path / f"{name}_plug_in.py").write_text(text)
            record = tmp_path / f"{name}-1.dist-info"
            record.mkdir()
            (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
            points = f"[{plugins.RUNTIMES}]\n{name} = {name}_plug_in\n"
            (record / "entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(tmp_path)

    return put


def test_a_file_belongs_to_the_longest_suffix(install: Install) -> None:
    assert specs.runtime_of_file(Path("a/model.nms.onnx")) == "onnxruntime"
    assert specs.runtime_of_file(Path("model.tflite")) == "litert"
    assert specs.runtime_of_file(Path("model.pt")) is None
    assert specs.runtime_of_file(Path("bundle")) is None  # that of bundles has no suffix
    install(longer=TINY.format(".own.onnx"))
    assert specs.runtime_of_file(Path("model.own.onnx")) == "longer"
    assert specs.runtime_of_file(Path("model.onnx")) == "onnxruntime"
    assert specs.file_suffixes() == (".onnx", ".tflite", ".own.onnx")


def test_what_is_not_installed_is_named(install: Install) -> None:
    install(lacking=TINY.format(".tiny"))
    spec = specs.runtime("lacking")
    assert spec.missing() == ["nowhere_to_be_found"]
    assert spec.distributions == ("nowhere",)
    assert specs.not_installed("lacking", spec.missing(), spec.install) == (
        "lacking is not installed (no nowhere_to_be_found); pip install 'tiny'"
    )


def test_a_broken_plug_in_breaks_nothing_else(install: Install) -> None:
    install(broken="import nowhere_to_be_found\n", empty="SPEC = 'none'\n")
    assert set(specs.runtimes()) == {"litert", "onnxruntime", "pytorch"}
    found = specs.unreadable(plugins.RUNTIMES)
    assert set(found) == {"broken", "empty"}
    assert found["broken"].startswith("broken_plug_in: cannot be imported: ModuleNotFoundError")
    assert found["empty"] == (
        "empty_plug_in: is not a runtime: its SPEC is not a squeeze.core.specs.RuntimeSpec"
    )
    with pytest.raises(InputError, match=r"unknown runtime 'onnxrt'.*did you mean"):
        specs.runtime("onnxrt")


@pytest.mark.parametrize("name", ["litert", "onnxruntime", "pytorch"])
def test_a_runtimes_own_backend_makes_files_for_it(name: str) -> None:
    spec = specs.runtime(name)
    backend = specs.backend(spec.backend or name)
    assert name in backend.runtimes
    kinds = {kind for holds in spec.precisions.values() for kind in holds}
    for scheme in backend.schemes:
        assert scheme not in spec.refuses
        assert any(kind in scheme for kind in kinds)
