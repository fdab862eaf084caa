"""The schema says what every key means, and its docstrings name no key that is not there."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from squeeze.core import docstrings, plugins
from squeeze.recipe.schema import Block, Recipe
from squeeze.results import Results

CHECKED_LATER = {"percentile"}
"""Numbers whose range depends on another key."""


def blocks(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Return the schema of every block of a model by name."""
    whole = model.model_json_schema(by_alias=True)
    found = {model.__name__: whole, **whole["$defs"]}
    return {
        name: next(form for form in (part, *part.get("anyOf", [])) if "properties" in form)
        for name, part in found.items()
    }


def descendants(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from descendants(kind)


@pytest.mark.parametrize("model", [Recipe, Results])
def test_every_key_has_a_description(model: type[BaseModel]) -> None:
    found = blocks(model)
    assert len(found) >= 20
    for name, block in found.items():
        assert block["description"], name
        bare = [key for key, value in block["properties"].items() if not value.get("description")]
        assert not bare, (name, bare)


def test_every_number_of_a_recipe_has_a_range() -> None:
    for name, block in blocks(Recipe).items():
        for key, value in block["properties"].items():
            for form in (value, *value.get("anyOf", [])):
                if form.get("type") in {"number", "integer"} and key not in CHECKED_LATER:
                    assert {"minimum", "exclusiveMinimum", "const"} & set(form), (name, key)


def test_options_of_extensions_are_described() -> None:
    seen = 0
    for group in (plugins.LOSSES, plugins.CALIBRATORS):
        for name in plugins.names(group):
            options = plugins.load(group, name).Options
            assert set(options.model_fields) <= set(docstrings.attributes(options)), name
            seen += len(options.model_fields)
    assert seen >= 30


def test_docstrings_name_no_attribute_that_is_gone() -> None:
    for kind in descendants(Block):
        if kind.__module__.startswith("squeeze."):
            named = set(docstrings.attributes(kind)) - set(docstrings.attributes(BaseModel))
            assert named <= set(kind.model_fields), kind  # type: ignore[attr-defined]


def test_an_alias_is_described_under_its_name_in_recipes() -> None:
    assert blocks(Recipe)["CalibrationDraw"]["properties"]["from"]["description"].startswith("``t")


def test_inherited_keys_keep_their_text_unless_the_block_has_its_own() -> None:
    found = blocks(Recipe)
    assert "lower than" in found["QatStep"]["properties"]["lr"]["description"]
    assert (
        found["QatStep"]["properties"]["epochs"] == found["TrainSettings"]["properties"]["epochs"]
    )


@pytest.mark.parametrize("flags", [[], ["--results"]])
def test_squeeze_schema_shows_the_descriptions(flags: list[str]) -> None:
    call = [sys.executable, "-m", "squeeze", "schema", *flags]
    shown = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert json.loads(shown)["properties"]["name"]["description"]
