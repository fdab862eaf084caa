"""What ``squeeze quantize`` costs beside a bare ``quantize_static``: time, CPU time, peak memory.

Both start as a fresh process with one torch thread, build MobileNetV2 with the same weights, export
it with the same exporter and calibrate on the same images. squeeze also recovers accuracy
(``recovery``: equalization, adaptive rounding, bias correction), which the bare script does not; a
third row leaves it out. squeeze's evaluation (its ``measure`` stage) is taken off its wall and CPU
time, because the bare script evaluates nothing. Runs are interleaved.

    python benchmarks/ptq_overhead.py --weights mobilenet_v2.pth --images FOLDER

FOLDER is an image folder with the 1000 ImageNet classes.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from images import head

BARE = """
import sys
from pathlib import Path
import numpy as np, torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image
from torchvision import models, transforms

weights, images, output = sys.argv[1:]
model = models.mobilenet_v2()
model.load_state_dict(torch.load(weights, weights_only=True))
model.eval()
torch.onnx.export(model, (torch.zeros(2, 3, 224, 224),), f"{output}/float.onnx", dynamo=True,
                  external_data=False, verbose=False, input_names=["images"],
                  dynamic_shapes=({0: torch.export.Dim("batch")},))
prepare = transforms.Compose([
    transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])

class Reader(CalibrationDataReader):
    def __init__(self):
        self.files = iter(sorted(Path(images).rglob("*.*")))
    def get_next(self):
        file = next(self.files, None)
        if file is None:
            return None
        return {"images": prepare(Image.open(file).convert("RGB"))[None].numpy()}

quant_pre_process(f"{output}/float.onnx", f"{output}/prepared.onnx", skip_symbolic_shape=True)
quantize_static(f"{output}/prepared.onnx", f"{output}/int8.onnx", Reader(),
                quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
"""


COLUMNS = ("calibration images", "what", "wall, s", "ratio (range)", "CPU, s", "ratio (range)")
COLUMNS += ("peak, MB",)


def folders(images: Path, root: Path, samples: int) -> tuple[Path, Path]:
    """Make a calibration folder of ``samples`` images and a validation folder of 16 others."""
    classes = sorted(child for child in images.iterdir() if child.is_dir())
    calibration, validation = root / f"calibration{samples}", root / f"validation{samples}"
    for number, source in enumerate(classes):
        for place in (calibration, validation):
            (place / source.name).mkdir(parents=True)
        chosen = calibration if number < samples else validation
        if number < samples + 16:
            file = next(iter(sorted(source.iterdir())))
            shutil.copy(file, chosen / source.name / file.name)
    return calibration, validation


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds on the clock and of all cores, and bytes at its peak."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def timed(command: list[str]) -> Cost:
    """Run a command to its end."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    seconds = time.perf_counter() - started
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def squeeze(weights: Path, calibration: Path, validation: Path, output: Path, *extra: str) -> Cost:
    """Run ``squeeze quantize``; its evaluation, which takes one thread, is taken off."""
    command = [sys.executable, "-m", "squeeze", "quantize", "torchvision:mobilenet_v2"]
    command += ["--weights", str(weights), "--calibration", str(calibration)]
    command += ["--validation", str(validation), "--output", str(output), "--quiet", "--fresh"]
    cost = timed([*command, *extra])
    newest = max(output.glob("*/*/results.json"), key=lambda path: path.stat().st_mtime)
    measured_s = json.loads(newest.read_text())["stages_s"]["measure"]
    return Cost(cost.wall_s - measured_s, cost.cpu_s - measured_s, cost.peak_bytes)


def row(samples: int, what: str, costs: list[Cost], bare: list[Cost]) -> str:
    """Return a line of the table: medians, ratios round by round, the highest peak."""
    cells = [str(samples), what]
    for name in ("wall_s", "cpu_s"):
        seconds = [getattr(cost, name) for cost in costs]
        ratios = sorted(s / getattr(b, name) for s, b in zip(seconds, bare, strict=True))
        cells.append(f"{statistics.median(seconds):.1f}")
        ends = f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        cells.append(f"{statistics.median(ratios):.2f} {ends}" if costs is not bare else "")
    cells.append(f"{max(cost.peak_bytes for cost in costs) / 1e6:.0f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--samples", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("\n".join(head("What `squeeze quantize` costs beside a bare `quantize_static`")))
    print(f"MobileNetV2, {options.rounds} interleaved rounds; ratios are to the bare script's.\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for samples in options.samples:
            calibration, validation = folders(options.images, root, samples)
            places = (options.weights, calibration, validation, root / "runs")
            script = [sys.executable, "-c", BARE, *map(str, (options.weights, calibration, root))]
            ours, plain, bare = [], [], []
            for _ in range(options.rounds):
                ours.append(squeeze(*places))
                bare.append(timed(script))
                plain.append(squeeze(*places, "--recovery", "none"))
            print(row(samples, "bare `quantize_static`", bare, bare))
            print(row(samples, "squeeze", ours, bare))
            print(row(samples, "squeeze, `--recovery none`", plain, bare), flush=True)


if __name__ == "__main__":
    main()
