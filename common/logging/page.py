"""Parts of an HTML page that needs nothing but itself: no script, nothing fetched."""

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.logging.page_style import CSS

# No script runs and nothing is fetched, whatever a config value contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}


def document(title: str, summary: Any, body: str, style: str = "") -> str:
    """Returns a whole page; `summary` is the line under the title, if not None."""
    line = "" if summary is None else f"<p>{escape(summary)}</p>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}{style}</style>\n</head>\n"
        f"<body>\n<main>\n<header><h1>{escape(title)}</h1>{line}</header>\n{body}"
        "</main>\n</body>\n</html>\n"
    )


def section(name: str, body: str) -> str:
    """Returns a part with a heading; nothing when it is empty."""
    return f"<section><h2>{escape(name)}</h2>\n{body}\n</section>\n" if body else ""


def cards(values: Mapping[str, Any]) -> str:
    """Returns a card with a large number for each value."""
    found = "".join(
        f'<div class="card"><dt>{escape(spoken(name))}</dt>'
        f"<dd>{escape(value_text(value))}</dd></div>"
        for name, value in values.items()
    )
    return f'<dl class="metrics">{found}</dl>' if found else ""


def facts(values: Mapping[str, Any]) -> str:
    """Returns one card with a line for each value."""
    rows = "".join(
        f"<div><dt>{escape(spoken(name))}</dt><dd>{escape(value_text(value))}</dd></div>"
        for name, value in values.items()
    )
    return f'<dl class="facts card">{rows}</dl>' if rows else ""


def figure(path: Path, caption: str, wide: bool = False) -> str:
    """Returns a picture with its caption.

    Raises:
      OSError: it cannot be read.
    """
    source = data_uri(path.read_bytes(), TYPES[path.suffix.lower()])
    classes = "card wide" if wide else "card"
    return (
        f'<figure class="{classes}"><div><img alt="{escape(caption)}" src="{source}">'
        f"</div><figcaption>{escape(caption)}</figcaption></figure>\n"
    )


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a card with a table that scrolls."""
    head = "".join(f'<th scope="col">{escape(spoken(name))}</th>' for name in header)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{escape(value_text(value))}</td>" for value in row)
        + "</tr>\n"
        for row in rows
    )
    return (
        '<div class="scroll card" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def data_uri(content: bytes, kind: str) -> str:
    """Returns a file as an address; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def spoken(name: Any) -> str:
    """Returns a name without underscores."""
    return str(name).replace("_", " ")


def value_text(value: Any) -> str:
    """Returns a number with four digits, anything else as it is."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        # A narrow no-break space between thousands, as the SI brochure asks.
        return f"{value:,}".replace(",", "\u202f") if abs(value) > 9999 else str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return f"{number:.4g}" if math.isfinite(number) else str(number)


def escape(value: Any) -> str:
    """Returns text as HTML that shows it."""
    return html.escape(str(value), quote=True)
