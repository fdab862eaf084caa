"""``builtin:digits``: 1797 real 8x8 scans of handwritten digits that scikit-learn ships."""

from squeeze.core.specs import FormatSpec

SPEC = FormatSpec("classes", uses=("split",))
