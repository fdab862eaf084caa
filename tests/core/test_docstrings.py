"""What classes say about their attributes."""

from squeeze.core import docstrings


class Base:
    """What it is.

    More of it: with a colon.

    Attributes:
        size: In bytes,
            and more.
        limit: The largest.

    Source: a paper.
    """


class Derived(Base):
    """Another.

    Attributes:
        limit: The smallest.
    """


class Silent(Derived):
    pass


def test_attributes_are_joined_lines_and_the_last_class_decides() -> None:
    assert docstrings.attributes(Derived) == {
        "size": "In bytes, and more.",
        "limit": "The smallest.",
    }


def test_a_class_without_a_docstring_has_what_its_bases_say() -> None:
    assert docstrings.attributes(Silent) == docstrings.attributes(Derived)
    assert docstrings.body(Silent) == ""


def test_the_body_ends_where_the_attributes_begin() -> None:
    assert docstrings.body(Base) == "What it is.\n\nMore of it: with a colon."
