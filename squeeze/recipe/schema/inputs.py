"""What is read: the model, its input, and the data."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, GetJsonSchemaHandler, Tag, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from squeeze.core import plugins, specs
from squeeze.core.errors import InputError
from squeeze.recipe.schema.base import (
    RANDOM,
    Block,
    Count,
    LocalPath,
    Number,
    Positive,
    Reference,
    WeightsPath,
)

LIBRARIES = ("torchvision:", "timm:")
"""Model factories of libraries that know how images are prepared for their weights."""


_OF_PIXELS = 2.0
"""No mean of pixels in [0, 1] is beyond it; those of pixels in [0, 255] are."""


class InputSpec(Block):
    """What the model is fed: every runtime gets images prepared by exactly these numbers.

    Attributes:
        shape: ``(C, H, W)`` in pixels; 1 channel is greyscale, 3 is colour.
        mean: Subtracted per channel, in the model's order of channels, from pixels in [0, 1]; one
            number applies to all channels.
        std: Divides per channel afterwards; one number applies to all channels.
        fit: ``crop`` is for classification. ``letterbox`` scales the whole image into ``(H, W)``
            and fills the rest with grey (114), ``stretch`` scales both sides to ``(H, W)``;
            detection needs one of these, because boxes must not be cut off.
        crop_fraction: For ``crop``: the image is scaled to cover ``(H, W) / crop_fraction``, then
            the centre ``(H, W)`` is cut out. 0.875 is the 256 → 224 of ImageNet practice; left out,
            nothing is cut off (1.0) where the validation images have about the input's size.
        interpolation: How images are resized.
        channel_order: Order of the channels of a colour image; ``bgr`` is that of OpenCV and Caffe.
    """

    shape: tuple[Count, Count, Count]
    mean: tuple[Number, ...] = (0.0,)
    std: tuple[Positive, ...] = (1.0,)
    fit: Literal["crop", "letterbox", "stretch"] = "crop"
    crop_fraction: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.875
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    channel_order: Literal["rgb", "bgr"] = "rgb"

    @property
    def left_out(self) -> frozenset[str]:
        """Names of the values that were not given, which have their defaults."""
        return frozenset(type(self).model_fields) - self.model_fields_set

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out that a library may know better than the defaults."""
        unused = {"fit", "channel_order"} | ({"crop_fraction"} if self.fit != "crop" else set())
        return self.left_out <= unused

    @model_validator(mode="after")
    def _channels_agree(self) -> Self:
        channels = self.shape[0]
        if channels not in {1, 3}:
            raise ValueError(f"found {channels} channels in shape, allowed: 1 (grey) or 3 (RGB)")
        for key in ("mean", "std"):
            if len(getattr(self, key)) not in {1, channels}:
                raise ValueError(
                    f"{key} has {len(getattr(self, key))} numbers for {channels} channels"
                )
        if max(map(abs, self.mean)) > _OF_PIXELS:
            raise ValueError(
                f"mean is of pixels in [0, 1], found {max(self.mean, key=abs):g}: divide mean and "
                "std of pixels in [0, 255] by 255"
            )
        if self.fit != "crop" and self.crop_fraction not in {0.875, 1.0}:
            raise ValueError(f"fit: {self.fit} does not use crop_fraction, leave it out")
        return self


class ModelBlock(Block):
    """A model: how to build it, which weights to load, what it is fed.

    Attributes:
        build: ``torchvision:NAME``, ``timm:NAME``, ``builtin:NAME``, ``transformers:MODEL_TYPE``,
            ``package.module:function`` or ``./file.py:function``. Left out when ``weights`` is a
            folder of transformers; may be left out when it is a bundle folder.
        args: Keyword arguments of the factory; for ``transformers`` values of its configuration.
        weights: A ``.safetensors`` file, a bundle folder, a weights-only ``.pt``/``.pth`` file,
            ``package:NAME/FILE`` for a file inside an installed Python package, or the folder of a
            detector that transformers saved. ``random`` leaves the model as its factory makes it,
            drawn by the recipe's seed; a file of that name is ``./random``. May be left out where
            ``baseline`` trains the model, and with a factory of your own, which may load its
            weights itself.
        backbone_weights: Instead of ``weights``: a file of a classifier's weights, which are loaded
            into a detector's ``backbone``. The other layers still have to be trained.
        input: How images are prepared. May be left out when ``weights`` is a bundle folder; keys
            that are given replace the bundle's own. With ``torchvision`` and ``timm``, keys that
            are left out come from the library, which knows how its weights were evaluated.
    """

    build: Reference | None = None
    args: dict[str, object] = Field(default_factory=dict)
    weights: WeightsPath | None = None
    backbone_weights: WeightsPath | None = None
    input: InputSpec | None = None

    @property
    def stored_weights(self) -> str | None:
        """The file or folder that ``weights`` names, if it names one."""
        return None if self.weights == RANDOM else self.weights

    @model_validator(mode="after")
    def _weights_of_one_kind(self) -> Self:
        if self.stored_weights is not None and self.backbone_weights is not None:
            raise ValueError("weights hold the backbone's too: leave backbone_weights out")
        return self


class DataSource(Block):
    """Labelled images.

    Attributes:
        format: The name of a dataset format (``squeeze list datasets``).
        path: Folder for ``image_folder``, ``idx``, ``torchvision``, ``voc`` and ``yolo``; for
            ``coco`` the folder of the images.
        name: Class name for ``torchvision``.
        build: Factory for ``function``: ``./file.py:function`` or ``package.module:function``.
        args: Keyword arguments of that factory or class.
        split: Part of a format that has parts; follows the role when left out.
        samples: Number of samples to use, drawn by the recipe's seed; all when left out.
        on_corrupt: What to do with images that are missing or cannot be decoded. They are always
            counted.
        annotations: JSON file for ``coco``.
        image_set: Which images of ``voc`` (a file in ``ImageSets/Main``, without ``.txt``) or
            ``yolo`` (a folder such as ``images/train``, or a list such as ``train.txt``); follows
            the role when left out.
        classes: Class names in the order of the model's outputs; the set may lack some. Left out,
            they are those that a bundle or file of squeeze was trained on; where these are unknown,
            ``image_folder`` and ``voc`` sort the names that they find, ``coco`` takes its
            categories by rising id, ``yolo`` its own list.
        class_map: From a class name in the annotations to the name to use, or null to drop the
            boxes of this class.
        on_bad_boxes: What to do with boxes that are not finite, have no area or reach out of the
            image: ``refuse`` the data, or ``repair`` it: clip boxes to the image and drop those of
            which nothing remains. They are always counted.
    """

    format: str
    path: LocalPath | None = None
    name: str | None = None
    build: Reference | None = None
    args: dict[str, object] = Field(default_factory=dict)
    split: Literal["train", "validation"] | None = None
    samples: Count | None = None
    on_corrupt: Literal["refuse", "skip"] = "refuse"
    annotations: LocalPath | None = None
    image_set: str | None = None
    classes: tuple[str, ...] | None = None
    class_map: dict[str, str | None] = Field(default_factory=dict)
    on_bad_boxes: Literal["refuse", "repair"] = "refuse"

    @model_validator(mode="after")
    def _classes_are_different(self) -> Self:
        names = self.classes or ()
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"classes names {', '.join(twice)} more than once")
        return self

    @model_validator(mode="before")
    @classmethod
    def _from_reference(cls, value: object) -> object:
        return expand_data_reference(value) if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Tell editors that a reference in a string is allowed too."""
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(core_schema))]}


def expand_data_reference(text: str) -> dict[str, str]:
    """Expand ``builtin:digits``, ``FORMAT:FOLDER``, ``./file.py:function`` or a folder's path.

    Behind a format stands what it needs and its folder: ``coco:FOLDER:FILE.json``,
    ``torchvision:NAME:FOLDER``.
    """
    head, colon, tail = text.partition(":")
    if not colon:
        return {"format": "image_folder", "path": text}
    if head == "builtin":
        return {"format": tail}
    if head not in plugins.names(plugins.DATASETS):
        return {"format": "function", "build": text}
    keys = _referred(head)
    return {"format": head} | dict(zip(keys, tail.split(":", len(keys) - 1), strict=False))


def _referred(name: str) -> tuple[str, ...]:
    """Return the keys that stand behind a format in a reference, in their order."""
    try:
        spec = specs.data_format(name)
    except InputError:  # reported where the format is checked
        return ("path",)
    uses = tuple(key for key in spec.uses if key == "path")
    return (*spec.needs, *uses) or ("path",)


class CalibrationDraw(Block):
    """Calibration samples drawn from another split.

    Attributes:
        source: ``train``, or ``validation``: then the drawn samples are removed from validation.
        samples: How many samples to draw, by the recipe's seed.
    """

    source: Literal["train", "validation"] = Field(alias="from")
    samples: Count = 128


class SyntheticCalibration(Block):
    """Synthetic calibration images, for models whose data is not available. Reports say so.

    Attributes:
        format: Selects synthetic images.
        samples: How many images to make.
        match: ``batch_norm`` fits noise to the statistics of the model's batch norms, by gradient
            descent; ``nothing`` leaves it noise.
        iterations: Gradient steps of the fit, for every 16 images.
    """

    format: Literal["synthetic"]
    samples: Count = 64
    match: Literal["batch_norm", "nothing"] = "batch_norm"
    iterations: Count = 200


def _calibration_tag(value: object) -> str:
    made_up = value.get("format") == "synthetic" if isinstance(value, dict) else False
    if made_up or isinstance(value, SyntheticCalibration):
        return "SyntheticCalibration"
    drawn = "from" in value if isinstance(value, dict) else isinstance(value, CalibrationDraw)
    return "CalibrationDraw" if drawn else "DataSource"


Calibration = Annotated[
    Annotated[CalibrationDraw, Tag("CalibrationDraw")]
    | Annotated[SyntheticCalibration, Tag("SyntheticCalibration")]
    | Annotated[DataSource, Tag("DataSource")],
    Discriminator(_calibration_tag),
]


class DataBlock(Block):
    """The three sets. None may share a sample with validation, which is checked by content.

    Attributes:
        validation: What everything in the report is measured on.
        train: What training uses, and pruning criteria that need data.
        calibration: What the ranges of activations come from; needed by schemes that calibrate.
        on_overlap: ``error``, or ``drop_from_train`` to remove the shared samples from train.
    """

    validation: DataSource
    train: DataSource | None = None
    calibration: Calibration | None = None
    on_overlap: Literal["error", "drop_from_train"] = "error"
