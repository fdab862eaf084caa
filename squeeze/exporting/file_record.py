"""The JSON that describes an exported file: beside it, and inside where its type allows."""

from typing import Literal, TypedDict


class FileRecord(TypedDict, total=False):
    """What is written about a file.

    Attributes:
        file: Its name; only beside it.
        sha256: Of the file when it was described; only beside it.
        classes: Names of the model's outputs.
        layout: ``NCHW`` or ``NHWC``.
        batch: Images per call, or ``dynamic``.
        input: An ``InputSpec`` as plain data.
        prepare: How images are prepared, in words.
        detector: A ``DetectorSpec`` as plain data.
        detections: The outputs of a file that ends at boxes, each in words.
    """

    file: str
    sha256: str
    classes: list[str]
    layout: str
    batch: int | Literal["dynamic"]
    input: dict[str, object]
    prepare: str
    detector: dict[str, object]
    detections: dict[str, str]
