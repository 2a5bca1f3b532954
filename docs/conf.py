"""How Sphinx builds these pages: `sphinx-build -W -b html docs build/docs`."""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

from oneshot import __version__

project = "oneshot"
author = "the oneshot authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
default_role = "code"  # `name` in a docstring is code, as in Markdown
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Reference", "References"]

html_math_renderer = "mathml"  # browsers show it without a script from elsewhere
html_theme = "furo"
html_title = f"oneshot {release}"
html_static_path: list[str] = []


def escape_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape `|` outside of code: reStructuredText would look for a substitution."""
    for i, line in enumerate(lines):
        parts = re.split("(`+[^`]*`+)", line)
        lines[i] = "".join(part if part.startswith("`") else part.replace("|", r"\|") for part in parts)


def inline_math(translator: Any, node: nodes.Element) -> None:
    """Write a formula inside a line."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def display_math(translator: Any, node: nodes.Element) -> None:
    """Write a formula on a line of its own."""
    translator.body.append(f"<div>{convert(node.astext(), display='block')}</div>")
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
    app.connect("autodoc-process-docstring", escape_bars)
