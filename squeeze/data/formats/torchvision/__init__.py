"""A dataset class of torchvision whose files are already on disk; nothing is downloaded."""

from squeeze.core.specs import FormatSpec

SPEC = FormatSpec("classes", needs=("name",), uses=("path", "args", "split"))
