"""What ``eval``, ``bench`` and ``export`` know about a file: its runtime and its input."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from squeeze.recipe.schema import InputSpec
    from squeeze.runtimes.base import Runtime

_RUNTIMES = {".onnx": "onnxruntime", ".tflite": "litert"}


@dataclass(frozen=True)
class File:
    """A file to measure."""

    path: Path
    runtime: str
    spec: "InputSpec"

    def load(self) -> "Runtime":
        """Import its runtime.

        Raises:
            InputError: The runtime is not installed.
        """
        from squeeze.core import plugins

        module: Any = plugins.load(plugins.RUNTIMES, self.runtime)
        reason = module.unavailable("cpu")
        if reason is not None:
            raise InputError(reason, where=str(self.path))
        return module  # type: ignore[no-any-return]


def open_file(
    path: Path, shape: str | None = None, mean: str | None = None, std: str | None = None
) -> File:
    """Recognise a bundle folder, ``.onnx`` or ``.tflite`` and find out what it is fed.

    The description beside a file that squeeze exported is used unless flags are given.

    Raises:
        InputError: Not such a file, or nothing tells its input.
    """
    from pydantic import ValidationError

    from squeeze.cli.one_step import numbers
    from squeeze.recipe.schema import InputSpec

    if path.is_dir():
        runtime, record = "pytorch", path / "architecture.json"
    elif path.suffix in _RUNTIMES:
        runtime, record = _RUNTIMES[path.suffix], path.with_name(path.name + ".json")
    else:
        raise InputError("is neither a bundle folder nor an .onnx or .tflite file", where=str(path))
    if not path.exists():
        raise InputError("no such file", where=str(path))
    found: dict[str, Any] = {}
    if record.is_file():
        found = json.loads(record.read_text(encoding="utf-8")).get("input", {})
    found |= {
        key: numbers(text, f"--{'input' if key == 'shape' else key}")
        for key, text in (("shape", shape), ("mean", mean), ("std", std))
        if text
    }
    if "shape" not in found:
        raise InputError(
            f"{record.name} is not there, so nothing tells the input",
            where=str(path),
            hint="give --input C,H,W (and --mean, --std)",
        )
    try:
        return File(path, runtime, InputSpec.model_validate(found))
    except ValidationError as error:
        raise InputError(f"input: {error.errors()[0]['msg']}", where=str(path)) from error
