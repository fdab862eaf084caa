"""What a library's error comes from, in one line."""

import pytest

from squeeze.core.errors import cause_of, plain


def wrapped() -> BaseException:
    try:
        try:
            raise TypeError("\x1b[1mreal\x1b[0m cause\nwith details")  # noqa: TRY301
        except TypeError as error:
            raise ValueError("\n\n\x1b[96mgeneral advice\x1b[0m") from error
    except ValueError as error:
        return error


def interrupted() -> BaseException:
    try:
        try:
            {}["a"]
        except KeyError:
            raise ValueError("real cause")  # noqa: B904
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (wrapped(), "TypeError: real cause"),
        (interrupted(), "ValueError: real cause"),
        (RuntimeError(), "RuntimeError"),
        (RuntimeError(" \n first\nsecond"), "RuntimeError: first"),
    ],
)
def test_the_first_error_of_the_chain_is_the_cause(error: BaseException, text: str) -> None:
    assert cause_of(error) == text


def test_a_cause_is_never_a_page() -> None:
    assert len(cause_of(RuntimeError("x" * 10_000))) < 600


def test_a_chain_that_leads_in_a_circle_ends() -> None:
    error = RuntimeError("a")
    error.__cause__ = ValueError("b")
    error.__cause__.__cause__ = error
    assert cause_of(error)


def test_escape_codes_go_and_everything_else_stays() -> None:
    assert plain("\x1b]0;title\x07\x1b[1;31mred\x1b[0m [brackets]") == "red [brackets]"
