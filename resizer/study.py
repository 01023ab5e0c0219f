"""`--mode=study`: a learned resizer beside its control, over seeds.

A network is trained behind the bilinear resize. From there it is trained on for as many
epochs, at the same rates and with the same order of images: once with a learned
resizer, once with the bilinear resize as before. The second is the control, since the
gain over the network before would partly come from the epochs. A study that was stopped
goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
from tqdm import tqdm

from common import tables
from common.task import Task
from resizer import flags, phases
from resizer.runs import Point, Runs, scale_of, spread

Results = Mapping[str, Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]]


def run(
    task: Task, config: ml_collections.ConfigDict, workdir: str, data_dir: str | None
) -> str:
    """Runs what the flags say, and returns the tables.

    `workdir` gets `study.md` and `study.csv` with means and standard deviations over
    the seeds, `study_runs.csv` with every run, and `resized.png` with what the resizer
    of the first seed does.

    Raises:
      ConfigError: flags that cannot be.
    """
    options = flags.study_options()
    runs = Runs(type(task), config, Path(workdir), data_dir, options.pretrained)
    backbone = phases.section(config).backbone
    grid = {
        resizer: [Point(backbone, resizer, seed) for seed in range(options.seeds)]
        for resizer in options.resizers
    }
    points = [point for seeds in zip(*grid.values(), strict=True) for point in seeds]
    runs.check([p for point in points for p in (point.before, point)])
    for point in tqdm(points, unit="run"):
        runs.run(point)
    results = {
        resizer: [(runs.run(point.before), runs.run(point)) for point in seeds]
        for resizer, seeds in grid.items()
    }
    text = write(results, task.monitor.metric, workdir)
    learned = next((r for r in options.resizers if r in phases.LEARNED), None)
    if learned is None:
        return text
    shown = runs.draw(Point(backbone, learned, 0), Path(workdir) / "resized.png")
    return f"{text}\n\nwhat the resizer does: {shown}"


def write(results: Results, metric: str, workdir: str) -> str:
    """Writes the tables of a study.

    Args:
      results: resizer -> of each seed the result of phase 0 and of phase 1; "bilinear"
        is the control.
      metric: that counts.
      workdir: where they go.

    Returns:
      The first table as text.
    """
    scale, name = scale_of(metric)
    control = [after[metric] for _, after in results["bilinear"]]
    header = ("resizer", "seeds", f"before: {name}", name, "gain over bilinear")
    rows = [(*header, "better in", "seconds per run")]
    single = [("resizer", "seed", "before", metric, "seconds")]
    for resizer, pairs in results.items():
        before = [first[metric] for first, _ in pairs]
        after = [second[metric] for _, second in pairs]
        gains = [a - c for a, c in zip(after, control, strict=True)]
        same = resizer == "bilinear"
        seconds = [second["seconds"] for _, second in pairs]
        rows.append(
            (
                *(
                    resizer,
                    str(len(pairs)),
                    spread(before, scale),
                    spread(after, scale),
                ),
                "" if same else spread(gains, scale, signed=True),
                "" if same else f"{sum(g > 0 for g in gains)} of {len(gains)}",
                f"{sum(seconds) / len(seconds):.0f}",
            )
        )
        for seed, (b, a, s) in enumerate(zip(before, after, seconds, strict=True)):
            single.append((resizer, str(seed), f"{b:.4f}", f"{a:.4f}", f"{s:.0f}"))
    tables.write({"study_runs": single}, workdir)
    return tables.write({"study": rows}, workdir)
