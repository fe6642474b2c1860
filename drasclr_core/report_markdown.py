"""The tables' Markdown becomes HTML: the paper's columns are marked, and nothing but text gets through."""

from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

PAPER_HEADING = "*paper*"
_SHIFTED = {"h2": "h4", "h3": "h5"}


def markdown_title(text: str) -> str:
    """Return the first heading of a Markdown text, or an empty string."""
    lines = (line for line in text.splitlines() if line.startswith("# "))
    return next(lines, "").removeprefix("# ").strip()


def render_markdown(text: str) -> str:
    """Return a table's Markdown as HTML without its title, to stand below a third-level heading.

    HTML in the text is shown as text; links and images stay as they are written, so that nothing is loaded. Cells of
    columns headed ``*paper*`` are of the class ``quoted``, right-aligned ones of the class ``number``.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    tokens = _without_title(parser.parse(text))
    _mark_cells(tokens)
    for token in tokens:
        token.tag = _SHIFTED.get(token.tag, token.tag)
        if token.type == "bullet_list_open":
            token.attrSet("class", "notes")
    html = str(parser.renderer.render(tokens, parser.options, {}))
    return html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def _without_title(tokens: Sequence[Token]) -> list[Token]:
    opening = next((index for index, token in enumerate(tokens) if token.tag == "h1"), None)
    return list(tokens) if opening is None else [*tokens[:opening], *tokens[opening + 3 :]]


def _mark_cells(tokens: Sequence[Token]) -> None:
    quoted: set[int] = set()
    column = 0
    for token, following in zip(tokens, tokens[1:], strict=False):
        if token.type == "table_open":
            quoted = set()
        elif token.type == "tr_open":
            column = 0
        elif token.type in ("th_open", "td_open"):
            if token.type == "th_open" and following.content == PAPER_HEADING:
                quoted.add(column)
            is_number = "right" in str(token.attrs.pop("style", ""))
            names = [name for name, holds in (("number", is_number), ("quoted", column in quoted)) if holds]
            if names:
                token.attrSet("class", " ".join(names))
            column += 1
