"""``squeeze inspect``: look into a model or a file before changing it."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from squeeze.cli import (
    inspect_int8,
    inspect_layers,
    inspect_model,
    inspect_pruning,
    inspect_sensitivity,
)
from squeeze.cli.flag_groups import flat

_DEFAULT = "model"
_ALIKE = 0.8


class InspectGroup(TyperGroup):
    """``squeeze inspect MODEL`` is short for ``squeeze inspect model MODEL``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  (Typer's own)
        """Put the default sub-command before a model."""
        if args and not self._is_known(args[0], ctx.help_option_names):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def _is_known(self, word: str, flags: list[str]) -> bool:
        if word in self.commands or word in flags:
            return True
        is_typo = get_close_matches(word, self.commands, 1, _ALIKE) and not Path(word).exists()
        return bool(is_typo)  # Typer names the sub-command that was meant


app = typer.Typer(
    cls=InspectGroup,
    no_args_is_help=True,
    help="Look into a model or a file before changing it. 'squeeze inspect MODEL' alone prints "
    "the summary of 'squeeze inspect model MODEL'.",
)
app.command("model")(flat(inspect_model.model))
app.command("pruning")(flat(inspect_pruning.pruning))
app.command("sensitivity")(flat(inspect_sensitivity.sensitivity))
app.command("int8")(flat(inspect_int8.int8))
app.command("layers")(flat(inspect_layers.layers))
