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


@pytest.mark.parametrize(
    ("host", "target", "told"),
    [
        ("x86_vnni", "x86_vnni", ""),
        ("x86_vnni", "host", ""),
        ("x86_vnni", "arm64", "this host is x86 with VNNI"),
        ("arm64", "x86_avx2", "this host is arm64"),
        ("x86_vnni", "x86_avx2", "this host also has avx512f, vnni"),
        ("x86_avx2", "x86_avx512", "this host lacks avx512f"),
        ("x86_fp16", "x86_vnni", "this host also has amx_int8, avx512_fp16"),
        ("arm64", "arm64_fp16", "this host lacks asimddp, asimdhp"),
        ("unknown", "x86_vnni", "this host does not report its instruction set"),
    ],
)
def test_a_host_stands_for_a_target_with_the_same_instructions_only(
    host: str, target: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "_found", lambda: cpu.NAMED["x86_vnni"])
    monkeypatch.setenv(cpu.OVERRIDE, host)
    assert cpu.difference(target) == told
    assert cpu.other_than_host(target) == (target if told else None)


def test_vnni_counts_in_whatever_width_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = cpu.Cpu("laptop", "x86_64", ("avx2", "avx512f", "avx_vnni"))
    monkeypatch.delenv(cpu.OVERRIDE, raising=False)
    monkeypatch.setattr(cpu, "_found", lambda: narrow)
    assert cpu.other_than_host("x86_vnni") is None
