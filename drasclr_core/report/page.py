"""How a page is made of its template: every text is escaped, and the same content gives the same bytes."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_page(template: str, **content: Any) -> str:
    """Return HTML of a template of this package; a value that it lacks is an error."""
    environment = Environment(
        loader=PackageLoader("drasclr_core.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**content)
