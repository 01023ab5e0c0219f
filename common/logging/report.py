"""The page a run ends with: one HTML file that needs nothing but itself."""

import base64
import html
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from common import atomic
from common.logging import plots
from common.logging.page_style import CSS

# No script runs and nothing is fetched, whatever a config value contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_CURVES = "curves.png"
_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}


def write_report(
    workdir: str | os.PathLike[str],
    *,
    title: str,
    config: Mapping[str, Any],
    metrics: Mapping[str, float],
    records: Sequence[Mapping[str, Any]],
    pictures: Sequence[tuple[str, str | os.PathLike[str]]],
    facts: Mapping[str, Any],
) -> Path:
    """Writes `workdir/report.html`.

    The curves of `records` come first, drawn to `workdir/curves.png` unless the
    pictures already name that file.

    Args:
      workdir: Folder of the run.
      title: Headline, such as the name of the experiment.
      config: Nested settings of the run.
      metrics: Final metrics, most important first.
      records: Metrics over time as `writers.read_metrics` returns them.
      pictures: Caption and path of each picture (PNG, JPEG, WebP or GIF); relative
          paths start at `workdir`. A missing picture is left out with a warning.
      facts: What else a reader asks for: steps, time, device, versions, number of
          parameters. The entry "command" becomes the section on how to reproduce
          the run, the entry "summary" the line under the title.

    Returns:
      Path of the page.
    """
    workdir = Path(workdir)
    facts = dict(facts)
    command, summary = facts.pop("command", None), facts.pop("summary", None)
    given = {(workdir / path).resolve() for _, path in pictures}
    if records and (workdir / _CURVES).resolve() not in given:
        curves = plots.curves(records, workdir / _CURVES)
        pictures = [("Training and evaluation over the steps", curves), *pictures]
    sections = [
        _section("Results", _metrics(metrics)),
        _section("Facts", _facts(facts)),
        _section("Pictures", "".join(_picture(workdir, *pair) for pair in pictures)),
        _section("Evaluations", _history(records)),
        _section("Reproduce", _command(command)),
        _section("Config", _config(config)),
    ]
    path = workdir / "report.html"
    with atomic.replacing(path) as temporary:
        page = _page(title, summary, "".join(sections))
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return path


def _page(title: str, summary: Any, body: str) -> str:
    line = "" if summary is None else f"<p>{_text(summary)}</p>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"<main>\n<header><h1>{_text(title)}</h1>{line}</header>\n{body}</main>\n"
        "</body>\n</html>\n"
    )


def _section(name: str, body: str) -> str:
    return f"<section><h2>{name}</h2>\n{body}\n</section>\n" if body else ""


def _metrics(metrics: Mapping[str, float]) -> str:
    cards = "".join(
        f'<div class="card"><dt>{_text(_spoken(name))}</dt>'
        f"<dd>{_text(_value(value))}</dd></div>"
        for name, value in metrics.items()
    )
    return f'<dl class="metrics">{cards}</dl>' if cards else ""


def _facts(facts: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<div><dt>{_text(_spoken(name))}</dt><dd>{_text(_value(value))}</dd></div>"
        for name, value in facts.items()
    )
    return f'<dl class="facts card">{rows}</dl>' if rows else ""


def _picture(workdir: Path, caption: str, path: str | os.PathLike[str]) -> str:
    path = workdir / path
    kind = _TYPES.get(path.suffix.lower())
    try:
        content = path.read_bytes() if kind else None
    except OSError as error:
        logging.warning("The report leaves out %s: %s", path, error.strerror)
        return ""
    if content is None:
        logging.warning("The report leaves out %s: no picture format it knows", path)
        return ""
    data = base64.b64encode(content).decode()
    classes = "card wide" if path.name == _CURVES else "card"
    return (
        f'<figure class="{classes}"><div><img alt="{_text(caption)}" '
        f'src="data:{kind};base64,{data}"></div>'
        f"<figcaption>{_text(caption)}</figcaption></figure>\n"
    )


def _history(records: Sequence[Mapping[str, Any]]) -> str:
    """Evaluations, the latest first."""
    rows = [record for record in records if record.get("kind") == "eval"]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = ["step", *(n for n in names if n not in ("step", "kind", "time"))]
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{_text(_spoken(name))}</th>' for name in columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{_text(_value(row.get(name, '')))}</td>" for name in columns)
        + "</tr>\n"
        for row in reversed(rows)
    )
    return (
        '<div class="scroll card" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _command(command: Any) -> str:
    if command is None:
        return ""
    return f'<pre class="card"><code>{_text(command)}</code></pre>'


def _config(config: Mapping[str, Any]) -> str:
    return f'<div class="config card">{_tree(config)}</div>' if config else ""


def _tree(config: Mapping[str, Any]) -> str:
    """Plain settings as lines, nested ones as parts to unfold."""
    parts = []
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            parts.append(
                f"<details><summary>{_text(name)}</summary>{_tree(value)}</details>"
            )
        else:
            parts.append(f"<p><b>{_text(name)}</b> = {_text(repr(value))}</p>")
    return "".join(parts)


def _spoken(name: Any) -> str:
    return str(name).replace("_", " ")


def _value(value: Any) -> str:
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


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)
