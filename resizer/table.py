"""`--mode=table`: results in the form of the paper's, and what a resizer costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common import tables
from resizer import cost, published

_RESULTS = ("network", "resizer", "published", "input", "ours", "input of ours")
_COSTS = ("features", "blocks", "kernels", "trainable")
_OUTPUT = 224


def run(workdir: str | None) -> str:
    """Returns tables of results and of costs as Markdown and as CSV.

    A published number that was not read in a source has a question mark.

    Args:
      workdir: where `imagenet`, `ava` and `cost`, `.md` and `.csv`, are written too, if
        anywhere.

    Raises:
      DataError: the file of our results has a mistake.
    """
    ours = published.read_results()
    content: dict[str, tables.Table] = {}
    for task, metric in published.METRICS.items():
        header = tuple(
            name.replace("ours", f"ours, {metric}", 1) if name == "ours" else name
            for name in _RESULTS
        )
        content[task] = [header, *results(task, ours)]
    sizes = (f"GFLOPs {side} to {_OUTPUT}" for side in published.INPUT_SIZES)
    content["cost"] = [(*_COSTS, *sizes), *costs()]
    return tables.write(content, workdir)


def results(task: str, ours: Sequence[published.Result]) -> Iterator[tuple[str, ...]]:
    """Yields two rows for each network of a task."""
    digits = 1 if task == "imagenet" else 3
    for backbone, known in published.TASKS[task].items():
        for resizer in published.RESIZERS:
            value = getattr(known, resizer)
            learned = resizer == "learned"
            mine = [
                r
                for r in ours
                if (r.task, r.backbone, r.resizer) == (task, backbone, resizer)
            ]
            yield (
                backbone,
                resizer,
                f"{value:.{digits}f}" + ("" if known.checked else " ?"),
                str(known.input_size or "") if learned else "",
                "; ".join(f"{r.value:.{digits + 1}f}" for r in mine) or "not run",
                "; ".join(str(r.input_size) for r in mine),
            )


def costs() -> Iterator[tuple[str, ...]]:
    """Yields parameters and FLOPs of the paper's eight resizers."""
    for features in (16, 32):
        for blocks in (1, 2, 3, 4):
            counts = (
                cost.flops(features, blocks, side, _OUTPUT)
                for side in published.INPUT_SIZES
            )
            yield (
                str(features),
                str(blocks),
                str(cost.kernel_parameters(features, blocks)),
                str(cost.trainable_parameters(features, blocks)),
                *(f"{count / 1e9:.3f}" for count in counts),
            )
