"""``squeeze inspect model``: the summary of a model or a file."""

import json as json_format
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeeze.cli import flag_names, inspect_int8, inspect_pruning, model_flags, options
from squeeze.core import specs
from squeeze.core.errors import SqueezeError

if TYPE_CHECKING:
    from squeeze.core.types import Progress
    from squeeze.models.types import Model
    from squeeze.quantization.forecast import Int8Forecast

_FLOAT_BYTES = 4
_SHOWN = 3


def model(
    flags: model_flags.ModelFlags,
    layout: options.Layout = None,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Summarize a model or a file.

    For a model: its layers, parameters and MACs, what can be pruned, and what would run in int8.
    For an .onnx or .tflite file: its input, its operators and what runs in int8.
    """
    del debug, allow_code
    from squeeze.cli import console

    terminal = console.Terminal(quiet=quiet)
    if specs.runtime_of_file(Path(flags.model)) is not None:
        shown, lines = _file(flags, layout)
    else:
        options.refuse({"--layout": layout}, "applies to .onnx and .tflite files only")
        shown, lines = _model(flags, terminal)
    if json:
        console.out(json_format.dumps(shown, indent=1))
        return
    width = max(map(len, lines))
    for name, text in lines.items():
        console.out(f"{name:{width}}  {text}")


def _model(
    flags: model_flags.ModelFlags, progress: "Progress"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the summary of a torch model as plain data and in words."""
    with flag_names.speaking(model_flags.FLAGS):
        loaded = model_flags.load(flags)
        from squeeze.measure import cost
        from squeeze.quantization.forecast import forecast

        built = model_flags.build(loaded, progress)
        layers = Counter(
            type(part).__name__ for part in built.module.modules() if not list(part.children())
        )
        params, macs = cost.params(built), cost.macs(built)
        groups, prunable = _prunable(built)
        int8 = forecast(built)
    shape = "x".join(map(str, built.input.shape))
    shown = {
        "model": flags.model,
        "input": built.input.model_dump(mode="json"),
        "layers": dict(layers.most_common()),
        "params": params,
        "macs": macs,
        "prunable": groups,
        "int8": {
            "int8": int8.int8,
            "total": int8.total,
            "float": int8.floating,
            "unknown": int8.unknown or None,
        },
    }
    lines = {
        "model": flags.model,
        "input": shape,
        "layers": inspect_int8.counted(layers),
        "parameters": f"{params:,} ({params * _FLOAT_BYTES:,} bytes in float32)",
        "MACs": f"{macs:,} per image",
        "pruning": prunable,
        "int8": _expected(int8),
    }
    return shown, lines


def _prunable(built: "Model") -> tuple[dict[str, Any], str]:
    """Return what can be pruned; a model that cannot be traced is no error of its summary."""
    from squeeze.pruning.graph import find_groups

    try:
        found = find_groups(built)
    except SqueezeError as error:
        return {"unknown": error.what}, f"none: {error.what}"
    plain = {
        "groups": len(found.groups),
        "prunable_groups": len(found.prunable),
        "channels": sum(group.channels for group in found.groups),
        "prunable_channels": sum(group.channels for group in found.prunable),
    }
    return plain, inspect_pruning.in_short(found)


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


def _file(
    flags: model_flags.ModelFlags, layout: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the summary of an exported file as plain data and in words."""
    from dataclasses import asdict

    from squeeze.cli.file import open_file

    options.refuse(
        {"--weights": flags.weights, "--arg": flags.args}, "does not apply to exported files"
    )
    prepared = dict(flags.prepared)
    mean, std = prepared.pop("mean"), prepared.pop("std")
    path = Path(flags.model)
    audit = inspect_int8.runtime(path, "squeeze inspect").audit(path)
    file = open_file(path, flags.shape, mean, std, others=prepared | {"layout": layout})
    shown = {
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
        "int8": inspect_int8.in_short(audit),
        "size": f"{audit.size_bytes:,} bytes",
    }
    for number, warning in enumerate(file.warnings, start=1):
        lines[f"warning {number}"] = warning
    return shown, lines
