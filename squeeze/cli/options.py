"""Flags that several verbs share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli import completion
from squeeze.core import plugins

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results only, no progress.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder in which the run's folder is created.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Override a value of the recipe, such as steps.0.pruning_ratio=0.5; may be repeated.",
    ),
]
Fresh = Annotated[
    bool,
    typer.Option("--fresh", help="Compute every step again instead of reusing earlier results."),
]
Remeasure = Annotated[
    bool,
    typer.Option(
        "--remeasure", help="Measure anew what earlier runs have measured; reuse everything else."
    ),
]
Devices = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=1,
        help="Train in this many processes, each on its own GPU or share of the CPU.",
    ),
]
HELP_MODEL = (
    "torchvision:NAME, timm:NAME, builtin:NAME, transformers:NAME, package.module:function, "
    "./file.py:function, or a bundle folder."
)
HELP_DATA = (
    "an image folder, builtin:digits, coco:FOLDER:FILE.json, idx:FOLDER, voc:FOLDER, yolo:FOLDER, "
    "torchvision:NAME:FOLDER or ./file.py:function; see squeeze list datasets."
)
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="A .safetensors or weights-only .pt/.pth file, package:NAME/FILE, or random for the "
        "values that the factory draws.",
    ),
]
FactoryArguments = Annotated[
    list[str] | None,
    typer.Option(
        "--arg", metavar="KEY=VALUE", help="Argument of the model factory; may be repeated."
    ),
]
Shape = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="C,H,W",
        help="Input shape. Default: that of the file, bundle or library, else 3,224,224.",
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean",
        metavar="X,…",
        help="Mean of pixels in [0, 1], one number or one per channel in the model's order. "
        "Default: that of the file, bundle or library.",
    ),
]
Std = Annotated[
    str | None,
    typer.Option(
        "--std", metavar="X,…", help="Standard deviation of pixels in [0, 1], like --mean."
    ),
]
CropFraction = Annotated[
    float | None,
    typer.Option(
        "--crop-fraction",
        help="With --fit crop, in (0, 1]: images are scaled to cover the input size divided by "
        "this, then the centre is cut out.",
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        "--fit",
        metavar="MODE",
        help="How images are brought to the input size: crop, letterbox or stretch.",
        autocompletion=completion.of(("crop", "letterbox", "stretch")),
    ),
]
Interpolation = Annotated[
    str | None,
    typer.Option(
        "--interpolation",
        metavar="NAME",
        help="How images are resized: bilinear, bicubic or nearest.",
        autocompletion=completion.of(("bilinear", "bicubic", "nearest")),
    ),
]
ChannelOrder = Annotated[
    str | None,
    typer.Option(
        "--channel-order", metavar="rgb|bgr", help="Order of the channels that the model expects."
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="nchw|nhwc",
        help="Layout of the file's input, where its shape does not tell.",
    ),
]
Threads = Annotated[
    int, typer.Option("--threads", metavar="N", help="Threads per operator.", min=1)
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", metavar="N", help="Images per batch.", min=1)
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="RUNTIME[:DEVICE]",
        help="Runtime to run the files in, such as litert or pytorch:cuda; may be repeated. A "
        "bundle is exported to it first. Default: the runtime of each file.",
        autocompletion=completion.of_group(plugins.RUNTIMES),
    ),
]
LearningRate = Annotated[float, typer.Option("--lr", help="Peak learning rate.")]
EveryThreads = Annotated[
    list[int] | None,
    typer.Option(
        "--threads", metavar="N", help="Threads per operator; may be repeated. Default: 1.", min=1
    ),
]
EveryBatchSize = Annotated[
    list[int] | None,
    typer.Option(
        "--batch-size", metavar="N", help="Images per call; may be repeated. Default: 1.", min=1
    ),
]
Importance = Annotated[
    str,
    typer.Option(
        "--importance",
        metavar="NAME",
        help="How channels are ranked; see squeeze list importance.",
        autocompletion=completion.of_group(plugins.IMPORTANCE),
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="PATTERN",
        help="Layers to leave as they are: a pattern of module paths or a class name; may be "
        "repeated.",
    ),
]
Samples = Annotated[
    int, typer.Option("--samples", metavar="N", help="Use this many of the images.", min=2)
]


def _allow(context: typer.Context, references: list[str] | None) -> list[str] | None:
    """Allow the factories until the command ends."""
    if references:
        from squeeze.core.permission import allowing

        context.with_resource(allowing(references, Path.cwd()))
    return references


AllowCode = Annotated[
    list[str] | None,
    typer.Option(
        metavar="REF",
        callback=_allow,
        help="Allow a bundle to be built by this function of yours, ./file.py:function or "
        "package.module:function; may be repeated. By default a bundle runs only squeeze's own "
        "code.",
    ),
]


def refuse(given: Mapping[str, object], why: str) -> None:
    """Refuse flags that have no effect here.

    Args:
        given: Flags with their values; what is empty was not given.
        why: The flag is the subject of this sentence.

    Raises:
        InputError: One of them was given.
    """
    from squeeze.core.errors import InputError

    for flag, value in given.items():
        if value:
            raise InputError(why, where=flag)
