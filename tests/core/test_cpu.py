"""The processor: found, or set by the environment, as the whole suite is run for each of them."""

from typing import get_args

import pytest

from squeeze.core import cpu
from squeeze.core.errors import InputError
from squeeze.recipe.schema import Target


def test_targets_name_the_known_processors() -> None:
    assert get_args(Target.model_fields["cpu"].annotation) == ("host", *cpu.NAMED)


@pytest.mark.parametrize(
    ("name", "kernels", "half"),
    [
        ("x86_avx2", "x86 without VNNI", False),
        ("x86_avx512", "x86 without VNNI", False),
        ("x86_vnni", "x86 with VNNI", False),
        ("x86_fp16", "x86 with VNNI", True),
        ("arm64", "arm64", False),
        ("arm64_fp16", "arm64 with fp16 arithmetic", True),
    ],
)
def test_the_environment_sets_the_processor(
    name: str, kernels: str, *, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cpu.OVERRIDE, name)
    host = cpu.host()
    assert (host.kernels, host.has_fp16) == (kernels, half)
    assert host.model.endswith("(set by SQUEEZE_CPU)")
    assert host.features == cpu.NAMED[name].features
    assert cpu.elsewhere(name) is None


def test_the_features_can_be_hidden_and_a_wrong_name_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(cpu.OVERRIDE, raising=False)
    here = cpu.host()
    monkeypatch.setenv(cpu.OVERRIDE, "unknown")
    assert cpu.host() == cpu.Cpu(here.model, here.machine, ())
    monkeypatch.setenv(cpu.OVERRIDE, "x86_vni")
    with pytest.raises(InputError, match="SQUEEZE_CPU: unknown processor 'x86_vni'"):
        cpu.host()
