"""Sphinx's settings for the site that docs/build.py puts together."""

project = "adbench"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "adbench"
html_copy_source = False
html_show_sphinx = False
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]
