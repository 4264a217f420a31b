"""Sphinx's configuration of the documentation site: ``make site``.

The pages are the repository's Markdown files as they are, so that a link leads to the same place on the
site and on a forge. docs/README.md lists them; the site's navigation is made from its lists.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer

import mpchat

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "mpchat"
version = release = mpchat.__version__
project_copyright = "%Y, the authors of mpchat"

extensions = ["myst_parser"]
root_doc = "docs/README"
include_patterns = ["*.md", "docs/**.md"]
# Sphinx walks through the whole repository otherwise.
exclude_patterns = [".*", "build", "dist", "loadtests", "mpchat", "tests"]

myst_heading_anchors = 4

html_theme = "furo"
html_title = f"mpchat {release}"
html_extra_path = ["index.html"]
html_copy_source = False
html_show_sphinx = False

_PART = re.compile(r"^## (?P<title>.+)\n(?P<lines>(?:[^#\n].*\n|\n)*)", re.M)
_PICTURE = re.compile(r'\bsrc(?:set)?="([\w./-]+\.png)"')
_WITH_PICTURES = ("README.md", "docs/console.md")
_PAGE = re.compile(r"^- \[[^\]]+\]\((?P<path>[\w./-]+)\.md\)", re.M)


def _add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Add the navigation to the list of pages: a part for each of its headings."""
    if page == root_doc:
        source[0] = _PART.sub(_with_toctree, source[0])


def _with_toctree(part: re.Match[str]) -> str:
    pages = "\n".join(_PAGE.findall(part["lines"]))
    return f"{part[0]}\n```{{toctree}}\n:hidden:\n:caption: {part['title']}\n\n{pages}\n```\n\n"


def _copy_pictures(app: Sphinx, error: Exception | None) -> None:
    """Copy the pictures that have a form for each theme: Sphinx does not look into such HTML."""
    if error is None:
        for page in _WITH_PICTURES:
            folder = Path(app.srcdir, page).parent
            for name in _PICTURE.findall(Path(app.srcdir, page).read_text()):
                target = Path(app.outdir, folder.relative_to(app.srcdir), name)
                shutil.copy(folder / name, target)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("build-finished", _copy_pictures)
    app.connect("source-read", _add_navigation)
    app.add_lexer("haproxy", TextLexer)  # Pygments has none
