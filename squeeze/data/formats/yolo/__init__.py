"""Images and a text file each: ``class centre_x centre_y width height``, as shares of the sides.

An outline ``class x y x y x y …`` of three corners or more gets the box around it; key points after
a box are left out where ``data.yaml`` has ``kpt_shape``.
``images/train/a.jpg`` goes with ``labels/train/a.txt``, ``train/images/a.jpg`` with
``train/labels/a.txt``; in a list of images, Darknet's way, a label file may lie beside its image.
Where ``data.yaml`` names a folder or list for ``train`` or ``val``, that one is read.
An image without a label file has no objects. The names of class numbers are those of
``data.yaml``, ``classes.txt`` or ``*.names``, else the recipe's ``classes``; without any, the
classes are numbered.
Source: https://docs.ultralytics.com/datasets/detect
"""

from squeeze.core.specs import FormatSpec

SPEC = FormatSpec("boxes", needs=("path",), uses=("image_set", "class_map", "on_bad_boxes"))
