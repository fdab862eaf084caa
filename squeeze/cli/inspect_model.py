"""``squeeze inspect model``: the summary of a model or a file."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.cli import flag_names, inspect_int8, model_flags, options
from squeeze.cli.flag_groups import Switches
from squeeze.core import specs

if TYPE_CHECKING:
    from torch import nn

    from squeeze.api.inspect import ModelSummary
    from squeeze.core.types import Progress
    from squeeze.quantization.forecast import Int8Forecast

_FLOAT_BYTES = 4
_SHOWN = 3

Shown = tuple[dict[str, object], dict[str, str]]
"""A summary as plain data, and line by line in words."""


def model(
    flags: model_flags.ModelFlags, *, layout: options.Layout = None, switches: Switches
) -> None:
    """Summarize a model or a file.

    For a model: its layers, parameters and MACs, what can be pruned, and what would run in int8.
    For an .onnx or .tflite file: its input, its operators and what runs in int8.
    """
    from squeeze.cli import console

    if specs.runtime_of_file(Path(flags.model)) is not None:
        plain, lines = _file(flags, layout)
    else:
        options.refuse({"--layout": layout}, "applies to .onnx and .tflite files only")
        plain, lines = _model(flags, console.Terminal(quiet=switches.quiet))
    if switches.json:
        console.out(json.dumps(plain, indent=1))
        return
    width = max(map(len, lines))
    for name, text in lines.items():
        console.out(f"{name:{width}}  {text}")


def _model(flags: model_flags.ModelFlags, progress: "Progress") -> Shown:
    """Return the summary of a torch model."""
    with flag_names.naming_flags(model_flags.FLAGS):
        loaded = model_flags.load(flags)
        from squeeze.api.inspect import model_summary

        built = model_flags.build(loaded, progress)
        summary = model_summary(built, must_trace=False)
    layers, int8 = _leaves(built.module), summary.int8
    plain = {
        "model": flags.model,
        "input": built.input.model_dump(mode="json"),
        "layers": dict(layers.most_common()),
        "params": summary.params,
        "macs": summary.macs,
        "prunable": _prunable(summary),
        "int8": {
            "int8": int8.int8,
            "total": int8.total,
            "float": int8.floating,
            "unknown": int8.unknown or None,
        },
    }
    lines = {
        "model": flags.model,
        "input": "x".join(map(str, built.input.shape)),
        "layers": inspect_int8.counted(layers),
        "parameters": f"{summary.params:,} ({summary.params * _FLOAT_BYTES:,} bytes in float32)",
        "MACs": f"{summary.macs:,} per image",
        "pruning": summary.pruning,
        "int8": _expected(int8),
    }
    return plain, lines


def _leaves(module: "nn.Module") -> "Counter[str]":
    return Counter(type(part).__name__ for part in module.modules() if not list(part.children()))


def _prunable(summary: "ModelSummary") -> dict[str, object]:
    """Return what can be pruned; a model that cannot be traced is no error of its summary."""
    if summary.not_traced:
        return {"unknown": summary.not_traced}
    return {
        "groups": summary.groups,
        "prunable_groups": summary.prunable_groups,
        "channels": summary.channels,
        "prunable_channels": summary.prunable_channels,
    }


def _expected(int8: "Int8Forecast") -> str:
    if int8.unknown:
        return f"not known before quantizing: {int8.unknown}"
    text = (
        f"{int8.int8} of {int8.total} convolutions and matrix products would run in int8 "
        "(static_int8)"
    )
    reasons = Counter(int8.floating.values())
    for reason, count in reasons.most_common(_SHOWN):
        text += f"; {count} other operation{'s' * (count != 1)} {reason}"
    return text


def _file(flags: model_flags.ModelFlags, layout: str | None) -> Shown:
    """Return the summary of an exported file."""
    from squeeze.api.inspect import file_summary
    from squeeze.cli.measured_files import opened

    options.refuse(
        {"--weights": flags.weights, "--arg": flags.arg}, "does not apply to exported files"
    )
    path = Path(flags.model)
    audit = file_summary(path).audit
    given = flags.fed.given() | ({} if layout is None else {"layout": layout})
    file = opened(path, given)
    plain: dict[str, object] = {
        "file": flags.model,
        "runtime": file.runtime,
        "input": file.preprocessing(),
        "classes": len(file.classes) or None,
        "operators": audit.operators,
        "weights": {name: asdict(held) for name, held in audit.weights.items()},
        "coverage": asdict(audit.coverage),
        "size_bytes": audit.size_bytes,
        "warnings": file.warnings,
    }
    lines = {
        "file": flags.model,
        "runtime": file.runtime,
        "input": file.summary().partition(": ")[2],
        "operators": inspect_int8.counted(audit.operators),
        "weights": inspect_int8.stored(audit),
        "int8": inspect_int8.coverage_summary(audit),
        "size": f"{audit.size_bytes:,} bytes",
    }
    for number, warning in enumerate(file.warnings, start=1):
        lines[f"warning {number}"] = warning
    return plain, lines
