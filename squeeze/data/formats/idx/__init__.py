"""A folder of idx files, the format of MNIST and Fashion-MNIST (plain or gzipped).

Source: http://yann.lecun.com/exdb/mnist (file format), Fashion-MNIST uses the same names.
"""

from squeeze.core.specs import FormatSpec

SPEC = FormatSpec("classes", needs=("path",), uses=("split",))
