"""What ``squeeze quantize`` costs beside a bare ``quantize_static``: wall time and peak memory.

Both start as a fresh process, build MobileNetV2 with the same weights, export it with the same
exporter and calibrate on the same images. squeeze's evaluation (its ``measure`` stage) is taken
off its wall time, because the bare script evaluates nothing. Runs are interleaved.

    python benchmarks/ptq_overhead.py --weights mobilenet_v2.pth --images FOLDER

FOLDER is an image folder with the 1000 ImageNet classes.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def timed(command: list[str]) -> tuple[float, int]:
    """Run a command; return its wall seconds and peak resident bytes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def squeeze(weights: Path, calibration: Path, validation: Path, output: Path) -> tuple[float, int]:
    """Run ``squeeze quantize``; return wall seconds without evaluation, and peak bytes."""
    seconds, peak = timed(
        [
            sys.executable,
            "-m",
            "squeeze",
            "quantize",
            "torchvision:mobilenet_v2",
            "--weights",
            str(weights),
            "--calibration",
            str(calibration),
            "--validation",
            str(validation),
            "--output",
            str(output),
            "--quiet",
            "--fresh",
        ]
    )
    newest = max(output.glob("*/*/results.json"), key=lambda path: path.stat().st_mtime)
    return seconds - json.loads(newest.read_text())["stages_s"]["measure"], peak


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--samples", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(
        f"{'samples':>7} {'squeeze s':>10} {'bare s':>8} {'ratio':>22} "
        f"{'squeeze MB':>11} {'bare MB':>8}"
    )
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for samples in options.samples:
            calibration, validation = folders(options.images, root, samples)
            ours, theirs = [], []
            for _ in range(options.rounds):
                ours.append(squeeze(options.weights, calibration, validation, root / "runs"))
                theirs.append(
                    timed(
                        [
                            sys.executable,
                            "-c",
                            BARE,
                            str(options.weights),
                            str(calibration),
                            str(root),
                        ]
                    )
                )
            ratios = sorted(a[0] / b[0] for a, b in zip(ours, theirs, strict=True))
            print(
                f"{samples:>7} {statistics.median(a[0] for a in ours):>10.1f} "
                f"{statistics.median(b[0] for b in theirs):>8.1f} "
                f"{statistics.median(ratios):>6.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) "
                f"{max(a[1] for a in ours) / 1e6:>11.0f} {max(b[1] for b in theirs) / 1e6:>8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
