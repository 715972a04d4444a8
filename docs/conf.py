"""How Sphinx builds the site: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from docshelf import __version__

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "docshelf"
author = "The docshelf authors"
copyright = author  # noqa: A001 - Sphinx gives this setting its name
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "from_code",
]
root_doc = "index"
exclude_patterns: list[str] = []

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"docshelf {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

# Anchors of headings as GitHub makes them, so that a link works on both.
myst_heading_anchors = 4
myst_enable_extensions = ["fieldlist"]
suppress_warnings = ["myst.header"]  # benchmark.md is what a program printed, from the third level on

# Names in docstrings are in single backticks. They become links where they are ours, and code where they are not. So
# types of other projects give no warning; a broken link between pages is one, whatever `nitpicky` says.
default_role = "py:obj"
nitpicky = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"
