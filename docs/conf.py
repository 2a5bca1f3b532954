"""How Sphinx builds these pages: `sphinx-build -W -b html docs build/docs`."""

from importlib.metadata import version as installed

project = "oneshot"
author = "the oneshot authors"
release = version = installed("oneshot")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # those of Lightning and torch are theirs
default_role = "code"  # `name` in a docstring is code, as in Markdown
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Reference", "returns_style"), ("References", "returns_style")]

html_theme = "furo"
html_title = f"oneshot {release}"
html_static_path: list[str] = []
