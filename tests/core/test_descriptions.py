"""Extensions in words: every loss has its paper, and nothing is imported to say so."""

import subprocess
import sys
from pathlib import Path

import pytest

from squeeze.core import plugins
from squeeze.core.descriptions import describe


def test_every_loss_says_what_it_compares_and_where_it_is_from() -> None:
    found = describe(plugins.LOSSES)
    assert list(found) == list(plugins.names(plugins.LOSSES))
    for description in found.values():
        assert description.title.endswith(".")
        assert description.source.endswith(")")
        assert "https://" in description.source
    assert found["kd"].source == (
        "Hinton et al., Distilling the Knowledge in a Neural Network, section 2 "
        "(https://arxiv.org/abs/1503.02531)"
    )


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_every_extension_has_a_title(kind: str) -> None:
    for name, description in describe(plugins.KINDS[kind]).items():
        assert description.title, name


def test_a_third_party_is_described_too(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "theirs" / "own.py").write_text('"""Own loss.\n\nSource: a (https://b.c/d).\n"""\n')
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{plugins.LOSSES}]\nown = theirs.own\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from squeeze.core import descriptions, plugins\n"
        "print(descriptions.describe(plugins.LOSSES)['own'])\n"
        "assert not {'torch', 'theirs', 'squeeze.pruning'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout.strip() == "ExtensionDescription(title='Own loss.', source='a (https://b.c/d)')"
    )
