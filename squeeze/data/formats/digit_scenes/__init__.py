"""``builtin:digit_scenes``: real digit scans placed on textured backgrounds, with boxes.

scikit-learn's scans (``digits``) are enlarged, tinted and put on noise of several scales, one to
five in a picture, the same every time. Scenes of the train part hold only scans of the train part.
The boxes are tight around the ink.
"""

from pydantic import Field

from squeeze.core.specs import FormatSpec
from squeeze.recipe.schema import Block

SPEC = FormatSpec("boxes", uses=("split", "args"))


class Options(Block):
    """What ``args`` may hold.

    Attributes:
        scenes: How many; None for 480 to train and 160 to validate.
        side: Pixels of a side.
        most: Digits in a scene, at most.
        seed: Decides everything, together with part and index.
    """

    scenes: int | None = Field(default=None, strict=True, ge=1, le=1_000_000)
    side: int = Field(default=128, strict=True, ge=48, le=4096)
    most: int = Field(default=5, strict=True, ge=1, le=1000)
    seed: int = Field(default=0, strict=True, ge=0, le=2**63 - 1)
