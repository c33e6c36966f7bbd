"""The configuration of Sphinx. Nothing in the site is fetched from elsewhere when it is made or read."""

from __future__ import annotations

import re
from typing import Any

import scaler
from docs.generator import rst
from scaler import config, errors

project = "Scaler"
copyright = "the authors of Scaler"
release = version = config.version()
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
highlight_language = "none"

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 140
smartquotes_action = "D"  # "--" between a parameter and its text is a dash
python_use_unqualified_type_names = True
add_module_names = False
napoleon_numpy_docstring = False
# Names of the standard library and of others are shown, and lead nowhere.
nitpick_ignore_regex = [(r"py:.*", r"(?!scaler\.).*")]

html_theme = "furo"
html_title = f"Scaler {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options: dict[str, object] = {"top_of_page_buttons": []}

_WORDS = {name: f"scaler.{name}" for name in scaler.__all__ if name[0].isupper() and name != "Client"}
_WORDS |= {name: f"scaler.errors.{name}" for name in vars(errors) if name[0].isupper()}
WORD = re.compile(
    rf"(?<![\w.`~])(?:({'|'.join(sorted(_WORDS, key=len, reverse=True))})(?![\w`])|([A-Za-z_][\w.]*)\(\))"
)
VERBATIM = re.compile(r"(``.*?``|:\w+:`.*?`)")


def link_words(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """In docstrings the names of Scaler's classes lead to them, and those of methods to that of the same class."""
    # Ray's errors have names of their own, some of them the same as ours.
    known = {} if name.startswith("scaler.compat.ray") else _WORDS

    def linked(word: re.Match[str]) -> str:
        if word[2]:
            return f":py:meth:`{word[2]}`"
        return f":py:obj:`~{known[word[1]]}`" if word[1] in known else word[0]

    for i, line in enumerate(lines):
        lines[i] = "".join(
            part if j % 2 else rst.with_flags(WORD.sub(linked, part)) for j, part in enumerate(VERBATIM.split(line))
        )


def write_ellipsis(
    app: object, what: str, name: str, obj: object, options: object, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """``Callable[..., Any]``, as it is written in Python."""
    return (signature.replace("[[...], ", "[..., "), returns) if signature else None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", write_ellipsis)
    app.connect("autodoc-process-docstring", link_words)
