"""``squeeze schema``."""

import json
from typing import Annotated

import typer


def schema(
    results: Annotated[
        bool, typer.Option("--results", help="Print the schema of results.json instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of recipes or of results.json."""
    from squeeze.cli import console

    if results:
        from squeeze.results import Results

        printed = Results.model_json_schema(by_alias=True)
    else:
        from squeeze.recipe.installed import recipe_schema

        printed = recipe_schema()
    console.out(json.dumps(printed, indent=1))
