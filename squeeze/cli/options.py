"""Flags that several verbs share, and how a function takes them over."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, results only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder that run folders go to.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Override a value of the recipe; may be repeated."
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh", help="Compute every step anew instead of reusing those of earlier runs."
    ),
]
Remeasure = Annotated[
    bool,
    typer.Option(
        "--remeasure", help="Measure anew what earlier runs have measured; reuse everything else."
    ),
]
Devices = Annotated[
    int,
    typer.Option(min=1, help="Train in so many processes: a GPU or a share of the CPU each."),
]
Shape = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="C,H,W",
        help="Input shape; if not given, that of the file, bundle or library, else 3,224,224.",
    ),
]
Numbers = Annotated[
    str | None,
    typer.Option(
        metavar="X,…",
        help="Per channel, in the model's order, of pixels in [0, 1]; if not given, that of the "
        "file, bundle or library.",
    ),
]
CropFraction = Annotated[
    float | None,
    typer.Option(
        "--crop-fraction",
        help="Of --fit crop, (0, 1]: images are scaled to cover the input divided by it, and the "
        "centre is cut out.",
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        "--fit", metavar="FIT", help="How images meet the input: crop, letterbox or stretch."
    ),
]
Interpolation = Annotated[
    str | None,
    typer.Option(
        "--interpolation",
        metavar="NAME",
        help="How images are resized: bilinear, bicubic or nearest.",
    ),
]
ChannelOrder = Annotated[
    str | None,
    typer.Option("--channel-order", metavar="rgb|bgr", help="What the model's channels are."),
]
Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="nchw|nhwc",
        help="Where the file's channels are, if the shape of its input does not tell.",
    ),
]
Threads = Annotated[int, typer.Option(help="Threads inside one operator.", min=1)]
BatchSize = Annotated[int, typer.Option(help="Images per call.", min=1)]


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
        help="Let a bundle be built by this function of yours, ./file.py:function or "
        "package.module:function; may be repeated. Without it a bundle runs squeeze's own code "
        "only.",
    ),
]


def sharing(common: Callable[..., Any], verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the flags of a common function, whose result becomes its first argument.

    Args:
        common: Takes the shared flags.
        verb: Takes ``common``'s result first, then its own flags.
    """
    shared = inspect.signature(common).parameters
    own = list(inspect.signature(verb).parameters.values())[1:]
    hints = get_type_hints(common, include_extras=True) | get_type_hints(verb, include_extras=True)
    parameters = [*shared.values(), *own]
    positional = [p for p in parameters if p.default is inspect.Parameter.empty]
    rest = [p for p in parameters if p.default is not inspect.Parameter.empty]

    @wraps(verb)
    def joined(**flags: Any) -> None:  # noqa: ANN401
        left = {name: flags.pop(name) for name in shared}
        verb(common(**left), **flags)

    merged = [
        p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for p in [*positional, *rest]
    ]
    joined.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
    joined.__annotations__ = {p.name: hints[p.name] for p in merged}
    return joined
