"""The page a run ends with: one HTML file that needs nothing but itself."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from common import atomic
from common.logging import page, plots

_CURVES = "curves.png"


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
        page.section("Results", page.cards(metrics)),
        page.section("Facts", page.facts(facts)),
        page.section("Pictures", "".join(_picture(workdir, *p) for p in pictures)),
        page.section("Evaluations", _history(records)),
        page.section("Reproduce", _command(command)),
        page.section("Config", _config(config)),
    ]
    path = workdir / "report.html"
    with atomic.replacing(path) as temporary:
        text = page.document(title, summary, "".join(sections))
        temporary.write_text(text, encoding="utf-8", errors="replace")
    return path


def _picture(workdir: Path, caption: str, path: str | os.PathLike[str]) -> str:
    path = workdir / path
    if path.suffix.lower() not in page.TYPES:
        logging.warning("The report leaves out %s: no picture format it knows", path)
        return ""
    try:
        return page.figure(path, caption, wide=path.name == _CURVES)
    except OSError as error:
        logging.warning("The report leaves out %s: %s", path, error.strerror)
        return ""


def _history(records: Sequence[Mapping[str, Any]]) -> str:
    """Evaluations, the latest first."""
    rows = [record for record in records if record.get("kind") == "eval"]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = ["step", *(n for n in names if n not in ("step", "kind", "time"))]
    if not rows:
        return ""
    cells = ([row.get(name, "") for name in columns] for row in reversed(rows))
    return page.table(columns, cells)


def _command(command: Any) -> str:
    if command is None:
        return ""
    return f'<pre class="card"><code>{page.escape(command)}</code></pre>'


def _config(config: Mapping[str, Any]) -> str:
    return f'<div class="config card">{_tree(config)}</div>' if config else ""


def _tree(config: Mapping[str, Any]) -> str:
    """Plain settings as lines, nested ones as parts to unfold."""
    parts = []
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            parts.append(
                f"<details><summary>{page.escape(name)}</summary>{_tree(value)}</details>"
            )
        else:
            parts.append(
                f"<p><b>{page.escape(name)}</b> = {page.escape(repr(value))}</p>"
            )
    return "".join(parts)
