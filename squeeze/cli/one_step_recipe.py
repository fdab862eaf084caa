"""The recipe of one step that flags stand for."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict


class OneStepRecipe(TypedDict):
    """The recipe that flags stand for, before it is checked."""

    version: int
    name: str | None
    seed: int
    task: NotRequired[str]
    model: dict[str, object]
    data: dict[str, object]
    steps: list[Mapping[str, object]]
    targets: list[dict[str, object]]
    gates: list[dict[str, object]]
