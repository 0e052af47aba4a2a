"""Decides how the documents become pages: Sphinx, Furo and Markdown by MyST, without a call to any other host.

``make docs`` and the tests of the documents build with it, warnings as errors. It never imports the product: what the
reference says of the code is written into the pages by ``tools/reference_pages.py``.
"""

from __future__ import annotations

project = "Topstitch"
author = "The Topstitch authors"
copyright = author  # noqa: A001 -- Sphinx reads this name
extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
root_doc = "index"

html_theme = "furo"
html_title = "Topstitch"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["topstitch.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2b46c8", "color-brand-content": "#2b46c8"},
    "dark_css_variables": {"color-brand-primary": "#97a9ff", "color-brand-content": "#97a9ff"},
}

myst_enable_extensions = ["colon_fence"]
# The anchors that code hosts make, so that a link works in both places; tests/house checks each.
myst_heading_anchors = 4
nitpicky = True
pygments_style = "friendly"
pygments_dark_style = "monokai"
# Shell sessions: copying takes the commands and leaves the prompts and the output.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
