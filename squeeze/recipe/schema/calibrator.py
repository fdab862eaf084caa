"""How activation ranges come from calibration samples."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from squeeze.recipe.schema.base import Block, Number


class CalibratorBlock(Block):
    """A calibrator (``squeeze list calibrators``), which may be given by its name alone.

    Attributes:
        name: Name of a calibrator.
        percentile: Of a calibrator that has one, in percent; its own default when left out.
        options: The calibrator's further settings, checked against its ``Options``.
    """

    name: str = "image_percentile"
    percentile: Number | None = None
    options: dict[str, object] = Field(default_factory=dict)


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


Calibrator = Annotated[
    CalibratorBlock, BeforeValidator(_named, json_schema_input_type=str | CalibratorBlock)
]
