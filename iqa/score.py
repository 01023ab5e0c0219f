"""`--mode=score`: a table of the quality of images, the best first.

Without a reference a run of `iqa.nima` gives the scores; with one there are PSNR, SSIM
and MS-SSIM, too.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

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
from iqa import flags, nima

PAGE, TABLE = "scores.html", "scores"
LIMIT = 400  # images on the page: it stays a few megabytes
_TASK = "nima"
# What is measured against a reference, most like people's judgement first.
_WITH_REFERENCE: Mapping[str, Callable[..., float]] = {
    "ms_ssim": image_metrics.ms_ssim,
    "ssim": image_metrics.ssim,
    "psnr": image_metrics.psnr,
}
_DIGITS = {"ms_ssim": 4, "ssim": 4}


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
      workdir: of a run of NIMA, whose model scores without a reference.

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
    judge = _judge(workdir) if workdir is not None else None
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


def _references(given: str | None, images: Mapping[str, Path]) -> dict[str, Path]:
    """Returns the reference of each image that has one."""
    if given is None:
        return {}
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


def _judge(workdir: str) -> Callable[[Path], dict[str, float]]:
    """Returns what scores a file by the model of a run."""
    config = configs.load(workdir)
    if config is None:
        raise DataError(f"no run to score with: no {workdir}/config.json")
    if config.task != _TASK:
        raise ConfigError(
            f"{workdir} is a run of config.task={config.task}; --mode=score needs one "
            f"of {_TASK}"
        )
    task = nima.Nima(config)
    variables, _ = modes.find_variables(
        modes.on_one_device(task, config), workdir, None
    )

    def judge(path: Path) -> dict[str, float]:
        (shares,) = task.predict_shares(variables, [str(path)])
        return {
            "mean": float(nima.score_mean(shares)),
            "deviation": float(nima.score_deviation(shares)),
        }

    return judge


def _score_all(
    images: Mapping[str, Path],
    references: Mapping[str, Path],
    judge: Callable[[Path], dict[str, float]] | None,
) -> tuple[list[Scored], list[str]]:
    """Returns the scored images, and the names of the others."""
    scored, skipped = [], []
    compared = bool(references) or judge is None
    for name, path in tqdm(
        images.items(), unit="image", disable=not sys.stderr.isatty()
    ):
        try:
            if compared and name not in references:
                raise DataError(f"{name} has no reference")
            scores = judge(path) if judge is not None else {}
            if compared:
                scores |= _compare(path, references[name])
        except DataError as error:
            logging.error("%s", error)
            skipped.append(name)
        else:
            scored.append(Scored(name, path, scores))
    return scored, skipped


def _compare(path: Path, reference: Path) -> dict[str, float]:
    image, target = (_read(p) for p in (path, reference))
    if image.shape != target.shape:
        raise DataError(
            f"{path} is {image.shape[1]} x {image.shape[0]} and its reference "
            f"{reference} {target.shape[1]} x {target.shape[0]} pixels"
        )
    return {name: metric(image, target) for name, metric in _WITH_REFERENCE.items()}


def _read(path: Path) -> np.ndarray:
    try:
        return np.asarray(decode.decode(str(path)))
    except Exception as error:  # Pillow raises many types for broken files.
        raise DataError(f"cannot read image {path}: {error}") from error


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
