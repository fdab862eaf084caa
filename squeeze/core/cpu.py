"""What processors can do: this machine's, and those that targets may name."""

import os
import platform
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from squeeze.core.errors import InputError, unknown_name

OVERRIDE = "SQUEEZE_CPU"
"""Environment variable with the processor to assume instead of this one: one of ``NAMED``.

``unknown`` hides what the processor can do. The test suite runs under every value.
"""
UNKNOWN = "unknown"

_VNNI = {"avx512_vnni", "avx_vnni"}
_FP16 = {"avx512_fp16", "asimdhp"}
_SHOWN = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx_vnni_int8",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "avx512_fp16",
    "asimdhp",
)


@dataclass(frozen=True)
class Cpu:
    """The processor.

    Attributes:
        model: Its name.
        machine: ``x86_64``, ``aarch64``, …
        features: Those that decide which int8 kernels run.
    """

    model: str
    machine: str
    features: tuple[str, ...]

    @property
    def is_x86(self) -> bool:
        """Whether it is an x86 processor."""
        return self.machine.lower() in {"x86_64", "amd64", "i386", "i686"}

    @property
    def has_vnni(self) -> bool:
        """Whether int8 products are summed without saturating at 16 bits."""
        return bool(_VNNI.intersection(self.features))

    @property
    def has_fp16(self) -> bool:
        """Whether it computes in half precision rather than only storing it."""
        return bool(_FP16.intersection(self.features))

    @property
    def is_arm(self) -> bool:
        """Whether it is a 64-bit ARM processor."""
        return self.machine.lower() in {"aarch64", "arm64"}

    @property
    def kernels(self) -> str:
        """Which kernels run: equal for processors that compute the same files alike."""
        if not self.is_x86:
            half = " with fp16 arithmetic" if self.has_fp16 else ""
            return self.machine.lower().replace("aarch64", "arm64") + half
        return f"x86 {'with' if self.has_vnni else 'without'} VNNI"


NAMED = {
    "x86_avx2": Cpu("x86 with AVX2", "x86_64", ("avx2",)),
    "x86_avx512": Cpu("x86 with AVX-512, without VNNI", "x86_64", ("avx2", "avx512f")),
    "x86_vnni": Cpu("x86 with VNNI", "x86_64", ("avx2", "avx512f", "avx512_vnni")),
    "x86_fp16": Cpu(
        "x86 with VNNI and fp16",
        "x86_64",
        ("avx2", "avx512f", "avx512_vnni", "amx_int8", "avx512_fp16"),
    ),
    "arm64": Cpu("64-bit ARM", "aarch64", ("asimd",)),
    "arm64_fp16": Cpu("64-bit ARM with fp16", "aarch64", ("asimd", "asimddp", "asimdhp")),
}
"""Processors that a recipe's target may name besides ``host``."""


def named(name: str) -> Cpu:
    """Return the processor of a target: one of ``NAMED``, or this machine's for ``host``."""
    return host() if name == "host" else NAMED[name]


def elsewhere(name: str) -> str | None:
    """Return a target's processor by name if its files differ from this machine's, or None."""
    return None if named(name).kernels == host().kernels else name


def other_than_host(name: str) -> str | None:
    """Return a target's processor by name if latency here says nothing about it, or None.

    That is so where architecture or vector instructions differ, even if both run the same files:
    other kernels run, and latency differs.
    """
    return name if difference(name) else None


def difference(name: str) -> str:
    """Describe how this machine's processor differs from a target's; empty if it does not.

    Args:
        name: One of ``NAMED``, or ``host``.
    """
    wanted, here = named(name), host()
    if wanted == here:
        return ""
    if (wanted.is_x86, wanted.is_arm) != (here.is_x86, here.is_arm):
        return f"this host is {here.kernels}"
    if not here.features:
        return "this host does not report its instruction set"
    mine, its = _instructions(here), _instructions(wanted)
    parts = (("lacks", its - mine), ("also has", mine - its))
    found = [f"{verb} {', '.join(sorted(names))}" for verb, names in parts if names]
    return f"this host {' and '.join(found)}" if found else ""


def _instructions(machine: Cpu) -> set[str]:
    """Return the features that decide which kernels run; VNNI is one, in whatever width."""
    return {"vnni" if name in _VNNI else name for name in machine.features}


def host() -> Cpu:
    """Return this machine's processor; features are empty where the system does not list them.

    Raises:
        InputError: ``SQUEEZE_CPU`` names an unknown processor.
    """
    name = os.environ.get(OVERRIDE)
    if not name:
        return _found()
    if name == UNKNOWN:
        return replace(_found(), features=())
    if name not in NAMED:
        raise InputError(unknown_name("processor", name, [*NAMED, UNKNOWN]), where=OVERRIDE)
    return replace(NAMED[name], model=f"{NAMED[name].model} (set by {OVERRIDE})")


@cache
def _found() -> Cpu:
    info: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip(), value.strip())
    flags = set((info.get("flags") or info.get("Features") or "").split())
    model = info.get("model name") or platform.processor() or platform.machine()
    return Cpu(model, platform.machine(), tuple(name for name in _SHOWN if name in flags))
