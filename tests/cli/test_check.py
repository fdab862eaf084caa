"""``squeeze check`` looks into the bundles that a recipe names, without torch."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Squeeze = Callable[..., subprocess.CompletedProcess[str]]


def test_damaged_bundles_and_unknown_adapters_are_mistakes(
    squeeze: "Squeeze", files: dict[str, Path], tmp_path: Path
) -> None:
    recipe: dict[str, Any] = {
        "version": 1,
        "name": "x",
        "model": {"weights": "whole"},
        "data": {"validation": "builtin:digits", "train": "builtin:digits"},
        "steps": [{"method": "distill", "teacher": {"weights": "other"}, "epochs": 1}],
        "targets": [{"runtime": "onnxruntime"}],
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    for name in ("whole", "other"):
        shutil.copytree(files["bundle"], tmp_path / name)
    assert squeeze("check", "r.yaml").stdout == "r.yaml: ok\n"
    with (tmp_path / "other" / "weights.safetensors").open("ab") as file:
        file.write(b"x")
    record = tmp_path / "whole" / "architecture.json"
    record.write_text(
        json.dumps(json.loads(record.read_text()) | {"adapters": ["torchvision_vid"]})
    )
    done = squeeze("check", "r.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    changed = "is damaged or was changed: its SHA-256 is not the recorded one"
    lines = [line.partition(": ")[2] for line in done.stderr.removeprefix("error: ").splitlines()]
    assert lines[0] == f"model.weights: whole: architecture.json {changed}"
    assert lines[1].startswith("model.weights: whole: unknown adapter 'torchvision_vid', allowed: ")
    assert lines[1].endswith("did you mean 'torchvision_vit'?")
    assert lines[2] == f"steps.0.teacher.weights: other: weights.safetensors {changed}"
