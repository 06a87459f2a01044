"""How the documentation is built: ``make docs`` turns this folder into a site in ``docs/_build``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from qmi import __version__

project = "qmi-trio"
author = "The qmi-trio authors"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
    "public_api",
]
exclude_patterns = ["_build", "_ext"]
highlight_language = "text"

# Markdown. "```mermaid" is a picture here and on GitHub alike.
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4

# Pictures are drawn while the site is built, by mermaid.js in a small engine: nothing is fetched, pages need no
# script, and a mistake in a picture fails the build. Their size is fixed, so that text is as large as elsewhere.
mermaid_cmd = shlex.join([sys.executable, "-m", "mermaidx"])
mermaid_params = ["--quiet", "--theme", "neutral", "--background", "white"]
mermaid_output_format = "svg"
mermaid_config = {
    "fontFamily": "Verdana, DejaVu Sans, sans-serif",
    "htmlLabels": False,  # an HTML label is cut off where the reader's font is wider
    **{
        kind: {"useMaxWidth": False, "htmlLabels": False, "wrappingWidth": 300}
        for kind in ("flowchart", "sequence", "state", "class", "er", "gantt")
    },
}

# The reference of what can be imported.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autoclass_content = "class"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autosummary_generate = False  # public_api writes the pages

# What is copied is what one types: neither prompts nor what is printed.
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"qmi-trio {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
