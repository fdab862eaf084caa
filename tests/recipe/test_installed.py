"""The schema for editors knows what is installed."""

from typing import Any

import jsonschema
import pytest

from squeeze.core import plugins
from squeeze.recipe.installed import recipe_schema


def refused(recipe: dict[str, Any]) -> bool:
    try:
        jsonschema.validate(recipe, recipe_schema())
    except jsonschema.ValidationError:
        return True
    return False


def test_names_are_those_of_the_extensions() -> None:
    blocks = recipe_schema()["$defs"]
    assert blocks["Target"]["properties"]["runtime"]["enum"] == list(
        plugins.names(plugins.RUNTIMES)
    )
    assert blocks["QuantizeStep"]["properties"]["backend"]["enum"][0] == "auto"


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ({"format": "digit_scenes", "args": {"side": 64}}, False),
        ({"format": "digit_scenes", "args": {"side": 20}}, True),
        ({"format": "digit_scenes", "args": {"sides": 64}}, True),
        ({"format": "function", "build": "a:b", "args": {"sides": 64}}, False),
        ({"format": "digit_scene"}, True),
        ("builtin:digits", False),
    ],
)
def test_arguments_are_those_of_the_format(
    source: Any, *, wrong: bool, recipe_data: dict[str, Any]
) -> None:
    recipe_data["data"]["validation"] = source
    assert refused(recipe_data) == wrong


def test_options_are_those_of_the_loss(recipe_data: dict[str, Any]) -> None:
    loss = {"name": "kd", "options": {"temperature": 2.0}}
    recipe_data["steps"][1]["losses"] = [loss]
    assert not refused(recipe_data)
    loss["options"] = {"temprature": 2.0}
    assert refused(recipe_data)
    loss["name"], loss["options"] = "kdd", {}
    assert refused(recipe_data)
