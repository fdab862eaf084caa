"""Sizes that a forward function writes down, corrected while it runs.

``x.view(n, 4, 16, -1)``, ``x.split([self.width, self.rest], 1)`` and ``x[:, :8]`` know how many
channels there are. A pruned module of such a class stays what it is, with its own code, parameters
and behaviour in training; only the sizes that it passes to these functions are replaced by those
that are left. They lie in its attribute ``written_sizes``, a list of
``[call, place, written, left]``: the call, by its line and how often that line has been passed
during one forward pass; which of its sizes; what the code said before anything was removed; and
what holds now. Factors worked out of a width, such as ``width ** -0.5``, are kept in the same way:
they stay what they were in training.
"""

from squeeze.models.written_sizes.naming import META, numbered
from squeeze.models.written_sizes.running import (
    ATTRIBUTE,
    are_entries,
    holders,
    install_,
    install_all_,
)
from squeeze.models.written_sizes.tracing import traced

__all__ = [
    "ATTRIBUTE",
    "META",
    "are_entries",
    "holders",
    "install_",
    "install_all_",
    "numbered",
    "traced",
]
