"""Errors, plug-in lookup, and where third-party chatter goes."""

import logging
import os
import sys
import warnings
from pathlib import Path

import pytest

from squeeze.core import cpu, plugins
from squeeze.core.errors import InputError, placed, unknown_name
from squeeze.core.output import redirect_output


def test_names_are_files_and_nothing_is_imported() -> None:
    names = set(plugins.names(plugins.IMPORTANCE))
    assert names >= {"l1", "l2", "bn_scale", "fpgm", "lamp", "taylor", "hessian", "random"}
    assert "base" not in names
    assert set(plugins.names(plugins.RUNTIMES)) == {"litert", "onnxruntime", "pytorch"}
    assert plugins.names(plugins.LOSSES)["kd"] == "squeeze.distillation.losses.kd"


def test_an_unknown_extension_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'l2'"):
        plugins.load(plugins.IMPORTANCE, "l22")


def test_an_error_says_where_what_and_what_to_do() -> None:
    error = InputError("is empty", where="data.train", hint="add images")
    assert str(error) == "data.train: is empty\n  add images"


def test_unknown_name_without_anything_near() -> None:
    assert unknown_name("colour", "xyz", ["red"]) == "unknown colour 'xyz', allowed: red"


def test_chatter_of_every_kind_goes_to_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.txt"
    with redirect_output(log):
        print("from python")  # noqa: T201
        os.write(2, b"from C\n")
        logging.getLogger("noisy").warning("from logging")
        warnings.warn("from warnings", stacklevel=1)
    sys.stdout.write("after\n")
    assert capfd.readouterr() == ("after\n", "")
    text = log.read_text()
    for source in ("python", "C", "logging", "warnings"):
        assert f"from {source}" in text


def test_chatter_is_restored_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="boom"), redirect_output(None):
        raise ValueError("boom")
    os.write(1, b"visible\n")
    assert capfd.readouterr().out == "visible\n"


def test_the_host_is_described() -> None:
    host = cpu.host()
    assert host.machine
    assert host.has_vnni == bool({"avx512_vnni", "avx_vnni"} & set(host.features))


def test_a_key_of_a_block_gets_the_blocks_place() -> None:
    for where, expected in (
        ("keep", "steps.2.keep"),
        ("ratios.conv", "steps.2.ratios.conv"),
        ("data.train", "data.train"),
        (None, None),
    ):
        with (
            pytest.raises(InputError) as caught,
            placed("steps.2", ("keep", "ratios")),
        ):
            raise InputError("x", where=where)
        assert caught.value.where == expected
        assert str(caught.value) == (f"{expected}: x" if expected else "x")
