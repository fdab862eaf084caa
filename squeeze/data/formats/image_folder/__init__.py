"""A folder with one sub-folder per class; sorted folder names give the class indices.

Images may lie deeper inside of a class. Links are followed and hidden files left out; what is not
read is counted in a note.
"""

from squeeze.core.specs import FormatSpec

SPEC = FormatSpec("classes", needs=("path",))
