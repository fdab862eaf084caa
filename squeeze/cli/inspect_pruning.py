"""``squeeze inspect pruning``: which channels belong together, and which of them can go."""

import json
from typing import TYPE_CHECKING

from squeeze.cli import flag_names, model_flags, options
from squeeze.cli.flag_groups import Switches

if TYPE_CHECKING:
    from squeeze.pruning.groups import ChannelGroup


def pruning(
    flags: model_flags.ModelFlags, *, keep: options.Keep = None, switches: Switches
) -> None:
    """Show the groups of channels that are pruned together.

    Groups that cannot be pruned are listed with the reason.
    """
    from squeeze.cli import console

    with flag_names.naming_flags(model_flags.FLAGS):
        loaded = model_flags.load(flags)
        from squeeze.api.inspect import prunable_share
        from squeeze.pruning.graph import find_groups

        model = model_flags.build(loaded, console.Terminal(quiet=switches.quiet))
        groups = find_groups(model, keep=keep or [])
    if switches.json:
        plain = {"groups": [_plain(group) for group in groups.groups], "adapters": groups.adapters}
        console.out(json.dumps(plain, indent=1))
        return
    console.table(
        ["Group", "Channels", "At once", "Prunable", "Made or kept by", "Read by"],
        [_row(group) for group in groups.groups],
    )
    if groups.adapters:
        console.out(f"rewritten before pruning: {', '.join(groups.adapters)}")
    for path in groups.unreached:
        console.out(f"never reached by the forward pass: {path}")
    console.out(prunable_share(groups))


def _plain(group: "ChannelGroup") -> dict[str, object]:
    return {
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


def _row(group: "ChannelGroup") -> list[str]:
    made = [dependency.path for dependency in group.dependencies if dependency.is_out]
    read = [dependency.path for dependency in group.dependencies if not dependency.is_out]
    return [
        group.name,
        str(group.channels),
        "one" if group.unit == 1 else str(group.unit),
        group.kept or "yes",
        ", ".join(dict.fromkeys(made)),
        ", ".join(dict.fromkeys(read)),
    ]
