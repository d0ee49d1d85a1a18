"""Pages that are opened outside of a notebook (report, class board), from the templates in `templates/`.

    {% extends "page.html.j2" %} {% block body %} <h1>{{ name }}</h1> {{ table }} {% endblock %}

Whatever a template fills in is escaped; what has `__html__` (Table, Picture) brings HTML of its own. `_` translates.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from helpers.show.words import _, heading, language

TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: str, **values) -> str:
    """The page of one of TEMPLATES. Raises jinja2.UndefinedError for a value that it names and nobody gave."""
    return _environment().get_template(template).render(values)


@cache
def _environment():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    made.globals |= {"_": _, "heading": heading, "language": language}
    return made
