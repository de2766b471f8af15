"""Render the index of a folder of reports, in the style of their pages; it runs no script."""

from collections.abc import Sequence

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from vaebench.report.html.document import hash_of, template

GENERATOR = '<meta name="generator" content="vaebench report --site">'


def site_page(reports: Sequence[object]) -> str:
    """Return the index of reports, each with the fields of :class:`vaebench.report.site.Listed`."""
    style = template("style.css") + template("site.css")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template("site.html.j2")).render(
        reports=reports,
        generator=Markup(GENERATOR),
        style=Markup(style),  # vaebench's own files
        style_hash=hash_of(style),
    )
