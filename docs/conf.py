"""Sphinx's settings: ``python -m sphinx -W -b html docs docs/_build/html``.

Nothing is fetched from elsewhere, to build the pages or to read them.
"""

import inspect
import pathlib
import re
import tempfile

import skswae

ROOT = pathlib.Path(__file__).resolve().parent.parent

project = "skswae"
author = "The skswae developers"
version = release = skswae.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
mathjax3_config = {  # what \\texttt{x\\_loss} needs
    "loader": {"load": ["[tex]/textmacros"]},
    "tex": {"packages": {"[+]": ["textmacros"]}},
}
suppress_warnings = ["config.cache"]  # the gallery's settings hold a function

html_theme = "pydata_sphinx_theme"
html_title = f"skswae {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["skswae.css"]
html_sidebars = {"index": []}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_nav_level": 2,
}
copyright = author

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!skswae).*")]  # of other packages, which are not looked up: no network

PAGES_IN_ORDER = (  # of the gallery; others follow by name
    *("digits_pipeline", "grid_search", "few_labels", "clustering", "compare_models"),
    *("map", "interpolation", "synthetic_rows", "denoising", "missing_pixels", "anomaly_detection"),
    *("table_synthetic", "table_imputation"),
    *("beta", "early_stopping_callbacks", "spectra", "own_network", "save_and_ship"),
)


class PageOrder:
    """The place of a page of the gallery."""

    def __init__(self, folder):
        pass

    def __call__(self, filename):
        name = filename.removeprefix("plot_").removesuffix(".py")
        return (PAGES_IN_ORDER.index(name), "") if name in PAGES_IN_ORDER else (len(PAGES_IN_ORDER), name)


class PictureElsewhere:
    """The argument of a page that writes a picture: a file outside of the sources."""

    def __repr__(self):
        return "PictureElsewhere"

    def __call__(self, gallery_conf, script_vars):
        name = pathlib.Path(script_vars["src_file"]).stem.removeprefix("plot_")
        return [str(pathlib.Path(tempfile.gettempdir()) / f"{name}.png")]


sphinx_gallery_conf = {  # without running the examples: -D plot_gallery=0
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": "plot_",
    "within_subsection_order": PageOrder,
    "reset_argv": PictureElsewhere(),
    "image_srcset": ["2x"],
    "abort_on_example_error": True,
    "min_reported_time": float("inf"),  # the times of one machine
    "backreferences_dir": "api/gallery",
    "doc_module": ("skswae",),
    "write_computation_times": False,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
}

# the repository's own pages, which the site shows as they are
ROOT_PAGES = {
    "readme": "README.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "security": "SECURITY.md",
}


def site_links(text, depth):
    """Return a page's Markdown, so many folders deep, with links to the site's :data:`ROOT_PAGES`."""
    for page, name in ROOT_PAGES.items():
        text = text.replace(f"]({'../' * (depth + 1)}{name}", f"]({'../' * depth}{page}.md")
    return text


def read_source(app, docname, source):
    """Put a root page's text into its place, and lead links to root pages there."""
    if docname not in ROOT_PAGES:
        source[0] = site_links(source[0], docname.count("/"))
        return
    path = ROOT / ROOT_PAGES[docname]
    app.env.note_dependency(str(path))
    text = site_links(path.read_text(), -1)
    text = text.replace("](docs/", "](")
    source[0] = re.sub(r"\]\((?=(?:\.ci|examples|skswae|tests|CITATION|LICENSE))", "](../", text)


def skip_member(app, what, name, member, skip, options):
    """Leave out what scikit-learn and torch have written: their own pages document it."""
    member = inspect.unwrap(member) if callable(member) else member
    home = getattr(member, "__module__", None) or "skswae"
    return True if home.partition(".")[0] in ("sklearn", "torch") else None


def escape_text(app, what, name, obj, options, lines):
    """Keep ``n_iter_`` in a type from becoming a link, and the initial of an author a list."""
    for number, line in enumerate(lines):
        name, colon, kind = line.partition(" : ")
        if name.endswith(("**", "`")):
            line = name + colon + re.sub(r"(?<=\w)_(?=[,) ]|$)", r"\_", kind)
        lines[number] = re.sub(r"^(\.\. \[\S+\] |\s*)([A-Z])\. ", r"\1\2\. ", line)


def setup(app):
    app.connect("source-read", read_source)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", escape_text, priority=600)  # after numpydoc
