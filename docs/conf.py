"""Sphinx reads this file; ``make docs`` builds. Warnings are errors, and nothing is downloaded."""

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import generate  # noqa: E402  (found through the line above)

from squeeze import __version__ as release  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "squeeze"
author = "the authors of squeeze"
project_copyright = "Apache-2.0"
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"squeeze {release}"
html_static_path: list[str] = []
html_copy_source = False

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"exclude-members": "model_config"}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

_MEASURED = HERE / "_measured"
_PLACE = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_LINK = re.compile(r"\]\((?:\.\./)+benchmarks/results/(\w+\.md)\)")


def _copy_measurements(app: "Sphinx") -> None:
    """Bring the pages of benchmarks/results in, which are no part of this folder."""
    del app
    shutil.rmtree(_MEASURED, ignore_errors=True)
    shutil.copytree(ROOT / "benchmarks" / "results", _MEASURED)


def _fill(app: "Sphinx", name: str, source: list[str]) -> None:
    """Put what is generated from the code into a page that leaves a place for it."""
    del app, name
    filled = _PLACE.sub(lambda place: generate.PAGES[place[1]](), source[0])
    source[0] = _LINK.sub(r"](/_measured/\1)", filled)


def setup(app: "Sphinx") -> None:
    """Register the two functions above."""
    app.connect("builder-inited", _copy_measurements)
    app.connect("source-read", _fill)
