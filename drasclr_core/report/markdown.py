"""The tables' Markdown becomes HTML: our figures first, the paper's folded away, and nothing but text gets through."""

from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from drasclr_core.report.tables import NOT_RUN

PAPER_HEADING = "*paper*"
_SHIFTED = {"h2": "h4", "h3": "h5"}
_BELOW_METHOD = ("Group", "Run")

Row = list[list[Token]]
"""Cells, each what opens it, its text and what closes it."""


def markdown_title(text: str) -> str:
    """Return the first heading of a Markdown text, or an empty string."""
    lines = (line for line in text.splitlines() if line.startswith("# "))
    return next(lines, "").removeprefix("# ").strip()


def render_markdown(text: str) -> str:
    """Return a table's Markdown as HTML without its title, to stand below a third-level heading.

    HTML in the text is shown as text; links and images stay as they are written, so that nothing is loaded. A table
    with columns headed ``*paper*``, or rows that are not run here, stands without them; below it the whole, folded.
    Group and run stand in the cell of the method, so that figures follow it also on a narrow screen. Right-aligned
    cells are of the class ``number``, those of the paper's columns of the class ``quoted``.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    tokens = _without_title(parser.parse(text))
    for token in tokens:
        token.tag = _SHIFTED.get(token.tag, token.tag)
        if token.type == "bullet_list_open":
            token.attrSet("class", "notes")
    parts: list[str] = []
    left_out: dict[str, None] = {}
    for block in _blocks(tokens):
        if block[0].type != "table_open":
            parts.append(parser.renderer.render(block, parser.options, {}))
            continue
        rows = _rows(block)
        _mark_cells(rows)
        own, names = _own(rows)
        left_out |= dict.fromkeys(names)
        parts.append(_boxed(parser.renderer.render(_table(own), parser.options, {})))
        if len(own) < len(rows) or _quoted(rows[0]):
            whole = _boxed(parser.renderer.render(block, parser.options, {}))
            parts.append(f"<details><summary>With all methods and the paper's values</summary>{whole}</details>\n")
    if left_out:
        notes = [Token("text", "", 0, content=f"Not run here, and folded away: {', '.join(left_out)}.")]
        parts.append(f'<p class="notes">{parser.renderer.render(notes, parser.options, {})}</p>\n')
    return "".join(parts)


def _without_title(tokens: Sequence[Token]) -> list[Token]:
    opening = next((index for index, token in enumerate(tokens) if token.tag == "h1"), None)
    return list(tokens) if opening is None else [*tokens[:opening], *tokens[opening + 3 :]]


def _boxed(table: str) -> str:
    return f'<div class="wide">{table}</div>\n'


def _blocks(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield whole tables, and whatever stands between them."""
    block: list[Token] = []
    for token in tokens:
        if token.type == "table_open" and block:
            yield block
            block = []
        block.append(token)
        if token.type == "table_close":
            yield block
            block = []
    if block:
        yield block


def _rows(table: Sequence[Token]) -> list[Row]:
    rows: list[Row] = []
    for index, token in enumerate(table):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(list(table[index : index + 3]))
    return rows


def _quoted(head: Row) -> set[int]:
    return {column for column, cell in enumerate(head) if cell[1].content == PAPER_HEADING}


def _mark_cells(rows: Sequence[Row]) -> None:
    quoted = _quoted(rows[0])
    for row in rows:
        for column, (opening, *_) in enumerate(row):
            is_number = "right" in str(opening.attrs.pop("style", ""))
            names = [name for name, holds in (("number", is_number), ("quoted", column in quoted)) if holds]
            if names:
                opening.attrSet("class", " ".join(names))


def _own(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows that are run here, the head first, without the paper's cells; and the others' names."""
    heads = [cell[1].content for cell in rows[0]]
    quoted = _quoted(rows[0])
    name = heads.index("Method") if "Method" in heads else 0
    below = [heads.index(head) for head in _BELOW_METHOD if "Method" in heads and head in heads]
    own: list[Row] = []
    names: list[str] = []
    for number, row in enumerate(rows):
        if number and any(cell[1].content == NOT_RUN for cell in row):
            names.append(row[name][1].content)
            continue
        opening, text, closing = row[name]
        added = [row[column][1] for column in below if row[column][1].content != "–"]
        first = [opening, *([text] if number == 0 or not added else [_joined(text, added)]), closing]
        others = [cell for column, cell in enumerate(row) if column not in quoted and column not in (name, *below)]
        own.append([first, *others])
    return own, names


def _joined(text: Token, added: Sequence[Token]) -> Token:
    """Return the text of a cell with others, small, on a line of their own below it."""
    children = [*(text.children or []), Token("html_inline", "", 0, content='<br><span class="small">')]
    for index, other in enumerate(added):
        children += [Token("text", "", 0, content=", ")] * bool(index) + (other.children or [])
    return Token("inline", "", 0, children=[*children, Token("html_inline", "", 0, content="</span>")])


def _table(rows: Sequence[Row]) -> list[Token]:
    def tag(name: str, nesting: int) -> Token:
        return Token(f"{name}_{'open' if nesting > 0 else 'close'}", name, nesting, block=True)  # type: ignore[arg-type]

    tokens = [tag("table", 1)]
    for section, part in (("thead", rows[:1]), ("tbody", rows[1:])):
        tokens.append(tag(section, 1))
        for row in part:
            tokens += [tag("tr", 1), *(token for cell in row for token in cell), tag("tr", -1)]
        tokens.append(tag(section, -1))
    return [*tokens, tag("table", -1)]
