"""Text that comes from files, shown so that it can neither move the cursor nor hide itself."""

import re
from collections.abc import Sequence

_UNSEEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed: escape sequences
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the direction of what follows
    "\u00ad\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # have no width
    "\ud800-\udfff"  # of file names that are not UTF-8
    "\U000e0000-\U000e007f"
    "]"
)
_PLANE = 0x10000


def printable(text: str, *, one_line: bool = False) -> str:
    r"""Return a text with control, bidirectional and invisible characters as ``\u001b``.

    Args:
        text: May hold names of classes, layers and files. JSON stays the same JSON.
        one_line: Line feeds and tabs too become spaces.
    """
    if one_line:
        text = " ".join(text.split())
    return _UNSEEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < _PLANE:
        return f"\\u{code:04x}"
    high, low = divmod(code - _PLANE, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def are_numbers(names: Sequence[str]) -> bool:
    """Tell whether classes are only numbered, which names nothing."""
    return list(names) == [str(number) for number in range(len(names))]


def listed(names: Sequence[str], word: str) -> str:
    """Return names as a sentence lists them: ``a, b or c`` with the word ``or``."""
    *others, last = names or [""]
    return f"{', '.join(others)} {word} {last}" if others else last
