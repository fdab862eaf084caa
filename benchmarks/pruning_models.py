"""What can be pruned in every classifier of torchvision and the smallest of every module of timm.

Each model is built with random weights at the smallest input that it takes, half of the channels of
every group go (criterion ``l2``, no alignment), and the result takes a training step, is exported
to ONNX, runs there with another batch size, and comes back from its bundle. Every model runs in a
process of its own.

    python benchmarks/pruning_models.py --library torchvision --library timm

Rows that were not run stay as they were: ``--only NAME`` measures one again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pages
import timm
import torch
import torchvision

from squeeze.measure import cost
from squeeze.models import bundle
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.pruning import proof
from squeeze.pruning.graph import OUTPUT, find_groups, remove_
from squeeze.pruning.step import prune
from squeeze.recipe.schema import InputSpec, ModelBlock, PruneStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.onnxruntime import export as onnx
from squeeze.runtimes.runtime import load

PAGE = Path(__file__).parent / "results" / "pruning_models.md"
RECORD = PAGE.with_suffix(".json")
SIZES = {
    "torchvision": (32, 64, 96, 128, 224),
    "timm": (64, 96, 128, 160, 224, 240, 256),
    "builtin": (32,),
}
CLASSES = 10
LIMIT = 300
HEAD = """# What pruning finds in other people's models

{works} of {all} models can be pruned, exported and loaded again: {shares}. Each row is a model
with random weights at the smallest input that it takes; half of the channels of every group go
(`l2`, no alignment). *Prunable* is the share of all channels that layers make, those of the outputs
left aside. *Proof* is the largest difference between the cut model and the one whose channels are
silent, as a fraction of the outputs' spread, for all groups at once; 0 where it is within rounding.
A training step, ONNX Runtime's outputs for another batch size and the bundle's outputs are checked;
*works* means all three. Seconds are of the processor, for finding the groups and proving them.

{made}:

    python benchmarks/pruning_models.py {arguments}

| library | model | input | works | prunable | MACs cut | proof | seconds | what stays, or failed |
|---|---|---|---|---|---|---|---|---|
{rows}
"""


@dataclass
class Row:
    """What happened to a model.

    Attributes:
        name: Its factory.
        size: Height and width of its input.
        share: Share of channels that can be pruned.
        macs: Multiply-adds before to after.
        error: The proof's largest difference.
        seconds: Of the processor, for finding groups.
        reasons: Why channels stay, with how many.
        failed: What went wrong; empty if nothing.
    """

    name: str
    size: int = 0
    share: float = 0.0
    macs: float = 0.0
    error: float = 0.0
    seconds: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)
    failed: str = ""


def names(library: str) -> list[str]:
    """Return the factories of a library."""
    if library == "torchvision":
        return [f"torchvision:{n}" for n in torchvision.models.list_models(torchvision.models)]
    if library == "builtin":
        return ["builtin:resnet20", "builtin:resnet56"]
    return [f"timm:{name}" for name in smallest()]


def smallest() -> list[str]:
    """Return the model with the fewest parameters of every module of timm."""
    found = []
    for module in sorted(timm.list_modules()):
        sizes = {}
        for name in timm.list_models(module=module):
            try:
                with torch.device("meta"):
                    built = timm.create_model(name)
            except Exception:  # noqa: BLE001, S112  (some cannot be built without memory)
                continue
            sizes[name] = sum(p.numel() for p in built.parameters())
        models = timm.list_models(module=module)
        found += [min(sizes, key=sizes.__getitem__)] if sizes else models[:1]
    return found


def measure(row: Row) -> None:
    """Do everything to one model, in place."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    model = built(row)
    example = torch.zeros(2, 3, row.size, row.size)
    start = time.process_time()
    found = find_groups(model)
    row.seconds = time.process_time() - start
    inner = [group for group in found.groups if group.kept != OUTPUT]
    row.share = sum(g.channels for g in found.prunable) / max(1, sum(g.channels for g in inner))
    for group in inner:
        if group.kept is not None:
            row.reasons[group.kept] = row.reasons.get(group.kept, 0) + group.channels
    row.error = proof.largest_difference(found, example, remove_)
    pruned = prune(model, PruneStep(pruning_ratio=0.5, align=1), seed=0)
    row.macs = cost.macs(model) / cost.macs(pruned)
    with tempfile.TemporaryDirectory() as folder:
        row.failed = checked(pruned, Path(folder), row.size)


def built(row: Row) -> Model:
    """Build a model at the smallest input that it takes.

    Raises:
        RuntimeError: It takes none of those that are tried.
    """
    library, _, short = row.name.partition(":")
    said = ""
    for size in SIZES[library]:
        args: dict[str, Any] = {"num_classes": CLASSES}
        if library == "torchvision" and short.startswith(("googlenet", "inception")):
            args |= {"aux_logits": False, "init_weights": False}
        if library == "torchvision" and short.startswith("vit"):
            args["image_size"] = size
        torch.manual_seed(0)
        try:
            spec = InputSpec(shape=(3, size, size))
            model = build(ModelBlock(build=row.name, args=args, input=spec), Path())
            enliven_(model.module)
            with torch.no_grad():
                model.module(torch.zeros(2, 3, size, size))
        except Exception as error:  # noqa: BLE001  whatever a model says to another size
            said = str(error).partition("\n")[0]
            continue
        row.size = size
        return model
    raise RuntimeError(f"takes none of the inputs tried: {said}")


def enliven_(module: torch.nn.Module) -> None:
    """Let heads and scales that start as zeros or near it show in the output."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 0 or parameter.abs().max() < 1e-4:  # noqa: PLR2004
                parameter.uniform_(-0.2, 0.2)


def checked(pruned: Model, folder: Path, size: int) -> str:
    """Return what does not work of training, ONNX Runtime and the bundle; empty if all does."""
    images = torch.randn(3, 3, size, size)
    module = pruned.module.eval()
    with torch.inference_mode():
        expected = module(images)
    place = "the bundle"
    try:
        saved = bundle.load(bundle.save(pruned, folder / "bundle"))
        with torch.inference_mode():
            if not torch.equal(saved.module(images), expected):
                return "the bundle computes something else"
        place = "ONNX Runtime"
        onnx.export(pruned, folder / "pruned.onnx")
        session = load("onnxruntime").open_session(folder / "pruned.onnx", Execution())
        outputs = session.invoke(session.prepare(images.numpy()))
        scale = float(expected.abs().max())
        if not np.allclose(outputs, expected.numpy(), rtol=1e-3, atol=1e-3 * scale):
            return "ONNX Runtime computes something else"
        place = "training"
        module.train()(images).sum().backward()
        if not any(p.grad is not None for p in module.parameters()):
            return "no gradient in training"
    except Exception as error:  # noqa: BLE001  whatever fails is a row of the table
        return f"{place}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return ""


def in_a_process(name: str) -> Row:
    """Measure one model in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--row", name]
    try:
        done = subprocess.run(command, text=True, capture_output=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return Row(name, failed=f"took more than {LIMIT} s")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        return Row(name, failed=(done.stderr.strip().splitlines() or ["ended"])[-1])
    return Row(**json.loads(lines[-1]))


def line(row: Row) -> str:
    """Return a row of the table."""
    library, _, short = row.name.partition(":")
    works = "no" if row.failed else "yes"
    said = row.failed or "; ".join(
        f"{count} channels: {reason}"
        for reason, count in sorted(row.reasons.items(), key=lambda item: -item[1])[:2]
    )
    macs = f"{row.macs:.2f} x" if row.macs else ""
    said = said.replace("|", "/")
    return (
        f"| {library} | {short} | {row.size or ''} | {works} | {100 * row.share:.0f} % | {macs} "
        f"| {row.error:.0e} | {row.seconds:.1f} | {said} |"
    )


def render(rows: dict[str, Row], arguments: str, *, complete: bool) -> str:
    """Return the page; ``complete`` says whether all its rows are of this run."""
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    libraries = ("torch", "torchvision", "timm", "onnx", "onnxruntime")
    counts = {library: [r for n, r in rows.items() if n.startswith(library)] for library in SIZES}
    shares = ", ".join(
        f"{sum(not row.failed for row in own)} of {len(own)} of {library}"
        for library, own in counts.items()
        if own
    )
    return HEAD.format(
        works=sum(not row.failed for row in rows.values()),
        all=len(rows),
        shares=shares.replace("builtin", "squeeze"),
        made=pages.made(libraries, before, complete=complete),
        arguments=arguments,
        rows="\n".join(line(row) for row in rows.values()),
    )


def main() -> None:
    """Measure rows, writing the page after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--library", action="append", choices=list(SIZES), default=[])
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.row:
        row = Row(flags.row)
        try:
            measure(row)
        except Exception as error:  # noqa: BLE001  whatever fails is a row of the table
            row.failed = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        print(json.dumps(asdict(row)))
        return
    before = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    rows = {name: Row(**own) for name, own in before.items()}
    wanted = flags.only or [name for library in flags.library for name in names(library)]
    arguments = " ".join(f"--library {library}" for library in flags.library)
    with ThreadPoolExecutor(flags.workers) as pool:
        for row in pool.map(in_a_process, wanted):
            rows[row.name] = row
            print(line(row), flush=True)
            ordered = {name: rows[name] for name in sorted(rows, key=_place)}
            plain = {name: asdict(own) for name, own in ordered.items()}
            RECORD.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
            complete = set(rows) <= set(wanted)
            PAGE.write_text(render(ordered, arguments, complete=complete), encoding="utf-8")


def _place(name: str) -> tuple[int, str]:
    return list(SIZES).index(name.partition(":")[0]), name


if __name__ == "__main__":
    main()
