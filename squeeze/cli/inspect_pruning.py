"""``squeeze inspect pruning``: which channels belong together, and which of them can go."""

import json as json_format
from typing import TYPE_CHECKING, Any

from squeeze.cli import flag_names, model_flags, options

if TYPE_CHECKING:
    from squeeze.pruning.groups import PruningGroups


def pruning(
    flags: model_flags.ModelFlags,
    keep: options.Keep = None,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Show the groups of channels that are pruned together.

    Groups that cannot be pruned are listed with the reason.
    """
    del debug, allow_code
    from squeeze.cli import console

    with flag_names.speaking(model_flags.FLAGS):
        loaded = model_flags.load(flags)
        from squeeze.pruning.graph import find_groups

        model = model_flags.build(loaded, console.Terminal(quiet=quiet))
        found = find_groups(model, keep=keep or [])
    if json:
        shown = {"groups": _plain(found), "adapters": found.adapters}
        console.out(json_format.dumps(shown, indent=1))
        return
    console.table(
        ["Group", "Channels", "At once", "Prunable", "Made or kept by", "Read by"], _rows(found)
    )
    if found.adapters:
        console.out(f"rewritten before pruning: {', '.join(found.adapters)}")
    for path in found.unreached:
        console.out(f"never reached by the forward pass: {path}")
    console.out(in_short(found))


def in_short(found: "PruningGroups") -> str:
    """Return how much of a model can be pruned, in one line."""
    channels = sum(group.channels for group in found.groups)
    prunable = sum(group.channels for group in found.prunable)
    return (
        f"{len(found.prunable)} of {len(found.groups)} groups can be pruned, with {prunable:,} of "
        f"{channels:,} channels"
    )


def _plain(found: "PruningGroups") -> list[dict[str, Any]]:
    return [
        {
            "group": group.name,
            "channels": group.channels,
            "unit": group.unit,
            "kept": group.kept,
            "layers": [
                {
                    "layer": dependency.path,
                    "kind": dependency.kind,
                    "side": "out" if dependency.is_out else "in",
                }
                for dependency in group.dependencies
            ],
        }
        for group in found.groups
    ]


def _rows(found: "PruningGroups") -> list[list[str]]:
    rows = []
    for group in found.groups:
        made = [dependency.path for dependency in group.dependencies if dependency.is_out]
        read = [dependency.path for dependency in group.dependencies if not dependency.is_out]
        unit = {1: "one"}.get(group.unit, str(group.unit))
        rows.append(
            [
                group.name,
                str(group.channels),
                unit,
                group.kept or "yes",
                ", ".join(dict.fromkeys(made)),
                ", ".join(dict.fromkeys(read)),
            ]
        )
    return rows
