"""`--mode=score`: a table of the quality of images, the best first.

Without a reference a run of `iqa.nima` gives the scores; with one there are PSNR, SSIM
and MS-SSIM, too, and a run of `iqa.preference_task` can score.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
from absl import logging
from tqdm import tqdm

from common import atomic, modes, tables
from common import config as configs
from common.data import decode
from common.data.sources.images import ImagesSource
from common.errors import ConfigError, DataError
from common.logging import page, thumbnails
from common.metrics import image as image_metrics
from common.runtime import setup_runtime
from common.task import Task
from iqa import flags, nima, preference_task

PAGE, TABLE = "scores.html", "scores"
LIMIT = 400  # images on the page: it stays a few megabytes
# What is measured against a reference, most like people's judgement first.
_WITH_REFERENCE: Mapping[str, Callable[..., float]] = {
    "ms_ssim": image_metrics.ms_ssim,
    "ssim": image_metrics.ssim,
    "psnr": image_metrics.psnr,
}
_DIGITS = {"ms_ssim": 4, "ssim": 4, "preference": 4}
# Scores of a file, and of its reference where it has one, by their names.
_Judge = Callable[[Path, Path | None], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Scored:
    """An image and its scores, by their names; NaN for one it has not."""

    name: str
    path: Path
    scores: Mapping[str, float]


def run(workdir: str | None) -> str:
    """Scores the images of `--input`, and returns the table.

    `--output` gets `scores.csv`, `scores.md` and `scores.html`, sorted by the first
    score. Images that cannot be read or have no reference are named and counted, and
    the others scored.

    Args:
      workdir: of a run of NIMA, whose model scores without a reference, or of a
        preference metric, which needs them.

    Raises:
      ConfigError: neither a run nor references are given.
      DataError: there are no images, or none could be scored.
    """
    options = flags.score_options()
    if workdir is None and options.reference is None:
        raise ConfigError(
            "--mode=score needs --workdir=RUN, a run that learned scores (such as of "
            "configs/iqa/rated_photos.py), or --reference=DIR, or both"
        )
    setup_runtime(None, None, None)
    images = _list(Path(options.input).expanduser(), "input")
    references = _references(options.reference, images)
    judge = None if workdir is None else _judge(workdir, bool(options.reference))
    scored, skipped = _score_all(images, references, judge)
    if not scored:
        raise DataError(f"none of the {len(images)} images could be scored")
    first = next(iter(scored[0].scores))
    scored.sort(key=lambda s: _order(s.scores[first]))
    return _write(scored, skipped, Path(options.output).expanduser())


def _list(root: Path, flag: str) -> dict[str, Path]:
    """Returns the images below a folder, or the one, by their names in it."""
    if root.is_file():
        return {root.name: root}
    if not root.is_dir():
        raise DataError(f"--{flag}={root}: no such file or folder")
    return {e.image: root / e.image for e in ImagesSource.find(str(root))}


def _references(
    given: str | None, images: Mapping[str, Path]
) -> dict[str, Path] | None:
    """Returns the reference of each image that has one; None when none are given."""
    if given is None:
        return None
    root = Path(given).expanduser()
    found = _list(root, "reference")
    if root.is_file():
        return dict.fromkeys(images, root)
    by_stem = {str(Path(name).with_suffix("")): path for name, path in found.items()}
    return {
        name: path
        for name in images
        if (path := found.get(name) or by_stem.get(str(Path(name).with_suffix(""))))
    }


def _judge(workdir: str, has_references: bool) -> _Judge:
    """Returns what scores a file by the model of a run."""
    config = configs.load(workdir)
    if config is None:
        raise DataError(f"no run to score with: no {workdir}/config.json")
    if config.task not in _JUDGES:
        raise ConfigError(
            f"{workdir} is a run of config.task={config.task}; --mode=score needs one "
            f"of {' or '.join(_JUDGES)}"
        )
    if config.task == "preference" and not has_references:
        raise ConfigError(
            f"the metric of {workdir} compares with references: --reference=DIR"
        )
    return _JUDGES[config.task](config, workdir)


def _nima(config: ml_collections.ConfigDict, workdir: str) -> _Judge:
    task = nima.Nima(config)
    variables = _variables(task, config, workdir)

    def judge(path: Path, reference: Path | None) -> dict[str, float]:
        del reference
        (shares,) = task.predict_shares(variables, [str(path)])
        return {
            "mean": float(nima.score_mean(shares)),
            "deviation": float(nima.score_deviation(shares)),
        }

    return judge


def _preference(config: ml_collections.ConfigDict, workdir: str) -> _Judge:
    task = preference_task.Preference(config)
    variables = _variables(task, config, workdir)

    def judge(path: Path, reference: Path | None) -> dict[str, float]:
        assert reference is not None
        target, image = _pair(path, reference)
        return {"preference": task.score(variables, target, image)}

    return judge


_JUDGES: Mapping[str, Callable[[ml_collections.ConfigDict, str], _Judge]] = {
    "nima": _nima,
    "preference": _preference,
}


def _variables(task: Task, config: ml_collections.ConfigDict, workdir: str) -> Any:
    experiment = modes.on_one_device(task, config)
    return modes.find_variables(experiment, workdir, None)[0]


def _score_all(
    images: Mapping[str, Path],
    references: Mapping[str, Path] | None,
    judge: _Judge | None,
) -> tuple[list[Scored], list[str]]:
    """Returns the scored images, and the names of the others."""
    scored, skipped = [], []
    for name, path in tqdm(
        images.items(), unit="image", disable=not sys.stderr.isatty()
    ):
        try:
            reference = references.get(name) if references is not None else None
            if references is not None and reference is None:
                raise DataError(f"{name} has no reference")
            scores = judge(path, reference) if judge is not None else {}
            if reference is not None:
                scores |= _compare(path, reference)
        except DataError as error:
            logging.error("%s", error)
            skipped.append(name)
        else:
            scored.append(Scored(name, path, scores))
    return scored, skipped


def _compare(path: Path, reference: Path) -> dict[str, float]:
    target, image = _pair(path, reference)
    return {name: metric(image, target) for name, metric in _WITH_REFERENCE.items()}


def _pair(path: Path, reference: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pixels of a reference and of what is compared with it."""
    image, target = (np.asarray(decode.read(p)) for p in (path, reference))
    if image.shape != target.shape:
        raise DataError(
            f"{path} is {image.shape[1]} x {image.shape[0]} and its reference "
            f"{reference} {target.shape[1]} x {target.shape[0]} pixels"
        )
    return target, image


def _order(score: float) -> tuple[bool, float]:
    """The best first; those without a score last."""
    return math.isnan(score), -score


def _write(scored: Sequence[Scored], skipped: Sequence[str], home: Path) -> str:
    names = list(scored[0].scores)
    rows = [(s.name, *(_text(name, s.scores[name]) for name in names)) for s in scored]
    content = _page(scored, skipped)
    try:
        home.mkdir(parents=True, exist_ok=True)
        text = tables.write({TABLE: [("image", *names), *rows]}, str(home))
        with atomic.replacing(home / PAGE) as temporary:
            temporary.write_text(content, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"--output={home} cannot be written: {error}") from error
    table = text.split("\nimage,")[0]
    left = f"\n{len(skipped)} images were not scored" if skipped else ""
    return f"{table}\n{home / PAGE}{left}"


def _page(scored: Sequence[Scored], skipped: Sequence[str]) -> str:
    first = next(iter(scored[0].scores))
    cards = [
        thumbnails.card(decode.decode(str(s.path)), s.name, _lines(s.scores))
        for s in _ends(scored)
    ]
    left = [(name,) for name in skipped]
    body = [
        page.section(f"By {page.spoken(first)}", thumbnails.grid(cards)),
        page.section("Not scored", page.table(("image",), left) if left else ""),
    ]
    summary = f"{len(scored):,} images, the best first"
    if len(cards) < len(scored):
        summary += f"; the {len(cards) // 2} best and as many of the worst are shown"
    return page.document("Image quality", summary, "".join(body), thumbnails.STYLE)


def _lines(scores: Mapping[str, float]) -> list[str]:
    return [
        f"{page.escape(page.spoken(name))} <b>{_text(name, value) or '-'}</b>"
        for name, value in scores.items()
    ]


def _text(name: str, value: float) -> str:
    return "" if math.isnan(value) else f"{value:.{_DIGITS.get(name, 2)}f}"


def _ends(scored: Sequence[Scored]) -> Sequence[Scored]:
    """Returns all, or the best and the worst of them."""
    if len(scored) <= LIMIT:
        return scored
    return [*scored[: LIMIT // 2], *scored[-(LIMIT // 2) :]]
