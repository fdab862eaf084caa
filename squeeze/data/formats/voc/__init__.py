"""A folder in Pascal VOC's form: ``JPEGImages``, an XML file each in ``Annotations``, and lists.

Corners are counted in pixels from 1, both ends included, so that a box over a whole picture of
640 x 480 reads 1, 1, 640, 480. Objects marked difficult are ignored, as in VOC's own evaluation.
Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 4.
"""

from squeeze.core.specs import FormatSpec

SPEC = FormatSpec("boxes", needs=("path",), uses=("image_set", "class_map", "on_bad_boxes"))
