"""The page's HTML."""

from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("page.html")


def render(**content: Any) -> str:
    """Fills the template in; every text is escaped.

    Args:
      **content: What `page.html` names.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(**content)
