"""Render pages from templates: values are escaped, an undefined name is an error."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import monai_tl
from monai_tl.evaluation.comparison_text import interval_text, signed_interval_text
from monai_tl.text import difference, duration, number, printable, tight

TEMPLATE = Path(__file__).parent / "template"
FILTERS = {
    "number": number,
    "interval": interval_text,
    "signed_interval": signed_interval_text,
    "difference": difference,
    "duration": duration,
    "tight": tight,
    "printable": printable,
}


def render(template: str, software: str, **values: object) -> str:
    """Return the page of a template; ``software`` is named as its generator."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= FILTERS
    html = environment.get_template(template).render(generator=f"{software} {monai_tl.__version__}", **values)
    return html.encode("utf-8", "replace").decode("utf-8").lstrip()  # lone surrogates are not valid text
