"""What this machine's processor can do."""

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_VNNI = {"avx512_vnni", "avx_vnni"}
_FP16 = {"avx512_fp16", "asimdhp"}
_SHOWN = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
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


@cache
def host() -> Cpu:
    """Return this machine's processor; features are empty where the system does not tell."""
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
