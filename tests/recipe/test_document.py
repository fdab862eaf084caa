"""YAML in, plain data out, and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze.core.errors import RecipeError
from squeeze.recipe.document import dump, read

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]))
    | st.sampled_from(["3e-4", "no", "~", "0x1F", "1_000", "", "true", "<<", "1:2"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab<~0_", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(plain)
def test_what_is_written_reads_back_equal(data: Any) -> None:
    found, _, problems = read(dump(data), "r.yaml")
    assert (found, problems) == (data, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [*x]", "r.yaml:1:4: found a value that contains itself by an alias"),
        ("a: " + "[" * 20_000, "r.yaml:1:103: is not YAML: nested too deeply, allowed: 100 lists"),
        ("".join(" " * n + "a:\n" for n in range(200)), "r.yaml:100:100: .* nested too deeply"),
        ("a: 1\n#" + "x" * 300_000, "r.yaml: is larger than 256 KiB, the most that is read"),
        ("a: \x01", "r.yaml:1:4: is not YAML: the character U\\+0001 is not allowed"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
            "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
            "e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
            "found more than 100,000 values",
        ),
    ],
)
def test_hostile_documents_are_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read(text, "r.yaml")


def test_tags_merge_keys_and_odd_keys_are_reported_together() -> None:
    _, _, problems = read("a: !!python/name:os.system x\n<<: {b: 1}\n[1]: 2\n", "r.yaml")
    assert [(problem.where, problem.what.split(",")[0]) for problem in problems] == [
        ("r.yaml:1:4", "found the tag tag:yaml.org"),
        ("r.yaml:2:1", "found a merge key '<<'"),
        ("r.yaml:3:1", "found a list or mapping as key"),
    ]


@pytest.mark.parametrize(
    ("number", "rule"),
    [
        ("9" * 400, "whole numbers are below 2^64"),
        (str(2**64), "whole numbers are below 2^64"),
        (f"-{2**64}", "whole numbers are below 2^64"),
        ("0x" + "f" * 17, "whole numbers are below 2^64"),
        ("1e999", "numbers are finite"),
    ],
)
def test_numbers_of_nobody_have_a_place(number: str, rule: str) -> None:
    _, _, problems = read(f"a:\n  b: {number}\n", "r.yaml")
    (problem,) = problems
    assert problem.where == "r.yaml:2:6"
    assert problem.what.endswith(rule)
    assert len(problem.what) < 140


def test_a_hundred_levels_and_large_numbers_are_fine() -> None:
    text = "[" * 99 + str(2**63 - 1) + "]" * 99
    found, _, problems = read(text, "r.yaml")
    assert problems == []
    for _ in range(99):
        (found,) = found
    assert found == 2**63 - 1
