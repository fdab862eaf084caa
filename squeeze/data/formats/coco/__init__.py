"""A folder of images and one JSON file of boxes in COCO's form.

Category ids may be any numbers; class indices follow them in rising order. Crowds are ignored, as
in COCO's own evaluation. An annotation without a box gets the one around its outline.
Source: https://cocodataset.org/#format-data
"""

from squeeze.core.specs import FormatSpec

SPEC = FormatSpec("boxes", needs=("path", "annotations"), uses=("class_map", "on_bad_boxes"))
