"""``squeeze schema``."""

import json
from typing import Annotated

import typer


def schema(
    results: Annotated[
        bool, typer.Option("--results", help="The schema of results.json instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of recipes, for editors, or of results.json."""
    from squeeze.cli import console

    if results:
        from squeeze.results import Results as Model
    else:
        from squeeze.recipe.schema import Recipe as Model  # type: ignore[assignment]
    console.out(json.dumps(Model.model_json_schema(by_alias=True), indent=1))
