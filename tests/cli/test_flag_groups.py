"""A verb has the flags of its groups, and is called with the groups."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from squeeze.cli.flag_groups import FileInputFlags, InputFlags, flat
from squeeze.core.errors import InputError

Width = Annotated[int, typer.Option(help="Across.")]


@dataclass(frozen=True, kw_only=True)
class Inner:
    depth: int = 1
    name: str


@dataclass(frozen=True, kw_only=True)
class Outer:
    width: Width = 2
    inner: Inner


def verb(outer: Outer, *, path: str, quiet: bool = False) -> None:
    """Do it."""
    raise LookupError((outer, path, quiet))


def test_groups_become_flags_those_that_must_be_given_first() -> None:
    parameters = inspect.signature(flat(verb)).parameters
    assert list(parameters) == ["name", "path", "width", "depth", "quiet"]
    assert parameters["width"].annotation == Width
    assert flat(verb).__doc__ == "Do it."


def test_values_come_back_in_their_groups() -> None:
    with pytest.raises(LookupError) as called:
        flat(verb)(name="n", path="p", width=3, depth=4, quiet=True)
    assert called.value.args[0] == (Outer(width=3, inner=Inner(depth=4, name="n")), "p", True)


def test_only_flags_that_were_given_are_keys_of_the_input() -> None:
    fed = InputFlags(input="3,8,8", mean="0.5", fit="stretch")
    assert fed.given() == {"shape": [3, 8, 8], "mean": [0.5], "fit": "stretch"}
    assert FileInputFlags(of_model=fed, layout="nhwc").given() == fed.given() | {"layout": "nhwc"}
    assert InputFlags().given() == {}
    with pytest.raises(InputError, match="--std: found 'x', expected numbers"):
        InputFlags(std="x").given()
