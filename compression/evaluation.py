"""Tables judged by real files: bytes, PSNR and MS-SSIM, beside those of Annex K.

Rates are bits per pixel of whole files, headers included.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from common.metrics import bjontegaard
from common.metrics import image as metrics
from compression import files, jpeg

# The ladder of reference: libjpeg's tables at these qualities.
QUALITIES = tuple(range(5, 100, 5))
# The same step everywhere: a strong baseline where PSNR counts.
FLAT = (4, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclasses.dataclass(frozen=True)
class Coding:
    """How files are written.

    Attributes:
      subsampling: of the chroma.
      optimize_huffman: whether each file gets its own Huffman tables.
      profile: ICC profile that each carries, and is as large with.
    """

    subsampling: str = "4:4:4"
    optimize_huffman: bool = True
    profile: bytes | None = None

    def encode(self, image: np.ndarray, tables: np.ndarray) -> bytes:
        """Returns a JPEG file, see `files.encode`."""
        return files.encode(
            image, tables, self.subsampling, self.optimize_huffman, self.profile
        )


@dataclasses.dataclass(frozen=True)
class Point:
    """One file, or the mean of several.

    Attributes:
      bytes: its size.
      bpp: bits per pixel, header included.
      psnr: of the decoded image, in decibels.
      ms_ssim: likewise; NaN for small images, and where it was not asked for.
      top1: share of decoded images that a classifier knows; NaN without one.
    """

    bytes: float
    bpp: float
    psnr: float
    ms_ssim: float = math.nan
    top1: float = math.nan


Classify = Callable[[np.ndarray], np.ndarray]
"""From decoded images `[N, H, W, 3]` to whether each is known, `[N]`."""


def judge(
    image: np.ndarray, content: bytes, decoded: np.ndarray, with_ms_ssim: bool = True
) -> Point:
    """Returns what a file is worth as a copy of an image.

    Args:
      image: uint8 `[H, W, 3]`, or `[H, W]` if it is grey.
      content: the file.
      decoded: what is in it, `[H, W, 3]`.
      with_ms_ssim: whether to measure that, too.
    """
    decoded = decoded if image.ndim == 3 else decoded[..., 0]
    return Point(
        bytes=len(content),
        bpp=8 * len(content) / (image.shape[0] * image.shape[1]),
        psnr=metrics.psnr(decoded, image),
        ms_ssim=metrics.ms_ssim(decoded, image) if with_ms_ssim else math.nan,
    )


def curve(
    image: np.ndarray,
    ladder: Iterable[np.ndarray],
    coding: Coding,
    classify: Classify | None = None,
    with_ms_ssim: bool = True,
) -> list[Point]:
    """Returns the points of several tables, in their order."""
    contents = [coding.encode(image, tables) for tables in ladder]
    decoded = [files.decode(content) for content in contents]
    points = [
        judge(image, content, pixels, with_ms_ssim)
        for content, pixels in zip(contents, decoded, strict=True)
    ]
    if classify is None:
        return points
    known = classify(np.stack(decoded))
    return [
        dataclasses.replace(point, top1=float(hit))
        for point, hit in zip(points, known, strict=True)
    ]


def annex_k(qualities: Sequence[int] = QUALITIES) -> list[np.ndarray]:
    """Returns libjpeg's tables of some qualities."""
    return [jpeg.quality_tables(quality) for quality in qualities]


def flat(steps: Sequence[int] = FLAT) -> list[np.ndarray]:
    """Returns tables with one step for all frequencies."""
    return [np.full((2, 8, 8), step, np.int32) for step in steps]


def bd_rate(
    reference: Sequence[Point], points: Sequence[Point], score: str = "psnr"
) -> float:
    """Returns the mean change of bytes at equal score in percent.

    Negative is a saving; NaN where the curves do not overlap.

    Args:
      reference: points of one image, or means.
      points: of the same.
      score: which attribute of a point.
    """
    return _compare(
        bjontegaard.bd_rate, _front(reference, score), _front(points, score)
    )


def bd_score(
    reference: Sequence[Point], points: Sequence[Point], score: str = "psnr"
) -> float:
    """Returns the mean change of the score at equal bytes; see `bd_rate`."""
    return _compare(
        bjontegaard.bd_psnr, _front(reference, score), _front(points, score)
    )


def _front(points: Sequence[Point], score: str) -> tuple[list[float], list[float]]:
    """Returns rates and scores without points that cost more and are no better."""
    rates: list[float] = []
    scores: list[float] = []
    for point in sorted(points, key=lambda point: point.bpp):
        value = getattr(point, score)
        if math.isfinite(value) and (
            not rates or (point.bpp > rates[-1] and value > scores[-1])
        ):
            rates.append(point.bpp)
            scores.append(value)
    return rates, scores


def _compare(metric: Callable[..., float], reference: Any, points: Any) -> float:
    try:
        return metric(*reference, *points)
    except ValueError:  # too few points, or no overlap
        return math.nan


def mean_difference(
    reference: Sequence[Point], points: Sequence[Point], score: str
) -> float:
    """Returns the mean difference of a score over the rates that both curves have.

    Unlike `bd_score` it needs no score that rises with the rate: an accuracy may not.
    Curves are straight along the logarithm of the rate. NaN without overlap.
    """
    known = [[point.bpp for point in curve] for curve in (reference, points)]
    low, high = max(map(min, known)), min(map(max, known))
    if not low < high:
        return math.nan
    rates = np.geomspace(low, high, 1001)[1:-1]
    return float(
        np.mean(
            [at_rate(points, r, score) - at_rate(reference, r, score) for r in rates]
        )
    )


def at_rate(points: Sequence[Point], bpp: float, score: str) -> float:
    """Interpolates a score along the logarithm of the rate; NaN outside the curve."""
    ordered = sorted(points, key=lambda point: point.bpp)
    rates = np.log([point.bpp for point in ordered])
    scores = [getattr(point, score) for point in ordered]
    wanted = math.log(bpp)
    return float(np.interp(wanted, rates, scores, left=math.nan, right=math.nan))


def saving(image: np.ndarray, size: float, psnr: float, coding: Coding) -> float:
    """Returns the share of bytes that a file saves against Annex K at equal PSNR.

    The two neighbouring qualities are searched for, and bytes interpolated between.

    Args:
      image: uint8 `[H, W, 3]` or `[H, W]`.
      size: of the file in bytes.
      psnr: of the file in decibels.
      coding: of the files to compare with.

    Returns:
      At most 1; NaN where no quality comes as low or as high.
    """

    def at(quality: int) -> Point:
        content = coding.encode(image, jpeg.quality_tables(quality))
        return judge(image, content, files.decode(content), with_ms_ssim=False)

    low, high = 1, 100
    below, above = at(low), at(high)
    if not below.psnr <= psnr <= above.psnr:
        return math.nan
    while high - low > 1:
        middle = (low + high) // 2
        found = at(middle)
        if found.psnr <= psnr:
            low, below = middle, found
        else:
            high, above = middle, found
    span = above.psnr - below.psnr
    share = (psnr - below.psnr) / span if span else 0.0
    same = below.bytes ** (1 - share) * above.bytes**share
    return 1 - size / same
