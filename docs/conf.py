"""How the documentation site looks, for Sphinx. `make docs` gathers its pages and builds it."""

from swapbench import __version__

project = "swapbench"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
smartquotes = False  # options begin with two hyphens
html_theme = "furo"
html_title = "swapbench"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
myst_heading_anchors = 4
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
suppress_warnings = ["myst.header", "misc.highlighting_failure"]  # of pages made for other readers too
