"""Read the values of flags that hold several numbers, or a key and a value."""

from squeeze.core.errors import InputError


def pair(text: str) -> str:
    """Return a ``KEY=VALUE`` text as it is, or raise ``InputError``."""
    key, equals, _ = text.partition("=")
    if not equals or not key:
        raise InputError(f"found '{text}', expected KEY=VALUE", where="--arg")
    return text


def number(text: str, flag: str) -> float:
    """Read one number.

    Raises:
        InputError: It is none.
    """
    try:
        return float(text)
    except ValueError:
        raise InputError(f"found '{text}', expected a number", where=flag) from None


def numbers(text: str, flag: str) -> list[float]:
    """Read ``1,2,3``.

    Raises:
        InputError: Something in it is not a number.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"found '{text}', expected numbers with commas between", where=flag
        ) from None
    return [int(value) if value.is_integer() and flag == "--input" else value for value in values]
