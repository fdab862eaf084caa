"""What ``import squeeze`` offers."""

import inspect
import subprocess
import sys

import pytest

import squeeze

VERBS = (
    "prune",
    "quantize",
    "distill",
    "train",
    "export",
    "evaluate",
    "benchmark",
    "inspect",
    "run",
)


def test_dir_lists_the_public_names_and_all_are_there() -> None:
    assert dir(squeeze) == sorted(squeeze.__all__)
    for name in squeeze.__all__:
        assert getattr(squeeze, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'pruned'"):
        _ = squeeze.pruned  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_typed_and_documented(verb: str) -> None:
    function = getattr(squeeze, verb)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    told = inspect.getdoc(function) or ""
    for section in ("Args:", "Returns:", "Raises:", "Example:"):
        assert section in told
    for name, parameter in signature.parameters.items():
        assert parameter.annotation is not inspect.Parameter.empty
        assert f"    {name}: " in told


def test_importing_costs_nothing_and_packages_do_not_hide_verbs() -> None:
    script = (
        "import sys, squeeze\n"
        "dir(squeeze)\n"
        "assert not {'torch', 'numpy', 'pydantic', 'onnxruntime'} & set(sys.modules)\n"
        "import squeeze.exporting.file\n"
        "assert callable(squeeze.export)\n"
        "from squeeze import export\n"
        "assert export is squeeze.export\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
