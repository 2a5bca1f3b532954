"""How Sphinx builds these pages: `sphinx-build -W -b html docs build/docs`."""

import re
from importlib.metadata import version as installed
from typing import Any

project = "oneshot"
author = "the oneshot authors"
release = version = installed("oneshot")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
default_role = "code"  # `name` in a docstring is code, as in Markdown
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Reference", "returns_style"), ("References", "returns_style")]

html_theme = "furo"
html_title = f"oneshot {release}"
html_static_path: list[str] = []


def escape_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape `|` outside of code: reStructuredText would look for a substitution."""
    for i, line in enumerate(lines):
        parts = re.split("(`+[^`]*`+)", line)
        lines[i] = "".join(part if part.startswith("`") else part.replace("|", r"\|") for part in parts)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", escape_bars)
