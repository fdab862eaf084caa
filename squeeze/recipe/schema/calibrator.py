"""How activation ranges come from calibration samples."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from squeeze.recipe.schema.base import Block, Number


class CalibratorBlock(Block):
    """A calibrator (``squeeze list calibrators``); its name alone will do.

    Attributes:
        name: Name of a calibrator.
        percentile: For a calibrator that has one, in percent; its own default when left out.
        options: The calibrator's further settings, checked against its ``Options``.
    """

    name: str = "image_percentile"
    percentile: Number | None = None
    options: dict[str, Any] = Field(default_factory=dict)


def _named(value: Any) -> Any:  # noqa: ANN401
    return {"name": value} if isinstance(value, str) else value


Calibrator = Annotated[
    CalibratorBlock, BeforeValidator(_named, json_schema_input_type=str | CalibratorBlock)
]
