"""Your own data: a function that returns a map-style dataset of ``(image, label)`` pairs.

A label is a class index, or for detection ``Boxes`` or a mapping with ``boxes`` ``(n, 4)`` (corners
in pixels of the image) and ``labels`` ``(n,)``, from 0 and without a background, and perhaps
``iscrowd`` and ``area``.
An image may be a PIL image, a uint8 array ``(H, W[, C])``, a uint8 tensor ``(C, H, W)``, or a float
tensor or array ``(C, H, W)``, which is taken as already preprocessed. A ``classes`` attribute names
the classes; without one they are numbered.
"""

from squeeze.core.specs import FormatSpec

SPEC = FormatSpec("either", needs=("build",), uses=("args", "split"))
