"""What becomes of every image of a folder: pixels of 8 bits, a JPEG file, a row."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common import atomic, tables
from common.restoration import files as plans
from common.restoration import pictures
from common.restoration.files import Job
from common.restoration.pictures import Picture
from compression import files
from compression.evaluation import Coding, Point, judge

_HEADER = ("image", "width", "height", "bytes", "bpp", "psnr", "ms_ssim")


@dataclasses.dataclass(frozen=True)
class Photo:
    """An image as it goes into a JPEG file.

    Attributes:
      pixels: uint8 `[H, W, 3]` RGB, or `[H, W]` of a grey image; what was transparent
        is on white.
      profile: its ICC profile, or None.
    """

    pixels: np.ndarray
    profile: bytes | None = None

    @property
    def rgb(self) -> np.ndarray:
        """Its pixels as `[H, W, 3]`, which a decoder makes of grey, too."""
        grey = self.pixels.ndim == 2
        return np.repeat(self.pixels[..., None], 3, -1) if grey else self.pixels

    def coded(self, coding: Coding) -> Coding:
        """Returns how this image is coded: with its profile."""
        return dataclasses.replace(coding, profile=self.profile)


@dataclasses.dataclass(frozen=True)
class Row:
    """A file that was written.

    Attributes:
      source: the image.
      result: the file.
      width: pixels.
      height: pixels.
      point: its bytes, and how near it is to the image in 8 bits.
    """

    source: Path
    result: Path
    width: int
    height: int
    point: Point

    def line(self) -> str:
        """Returns what there is to say about it."""
        return (
            f"{self.source} -> {self.result}: {self.width} x {self.height}, "
            f"{self.point.bytes:.0f} bytes, {self.point.bpp:.4g} bpp, "
            f"{self.point.psnr:.2f} dB"
        )


def plan(source: str, output: str) -> list[Job]:
    """Lists the images and the JPEG files to write, and makes the folder for them.

    Raises:
      DataError: no images.
      ConfigError: a file would replace an image, two images have one result, or the
        folder cannot be written.
    """
    jobs = plans.plan(source, output, "jpg", pairs=False, advice="")
    plans.check_writable(output)
    return jobs


def photo(picture: Picture) -> Photo:
    """Returns a picture as JPEG holds it.

    Raises:
      DataError: more pixels per side than JPEG has.
    """
    files.check_fits(*picture.pixels.shape[:2])
    return Photo(pictures.opaque(picture), picture.profile)


def write(job: Job, source: Photo, content: bytes) -> Row:
    """Writes a file, which appears whole or not at all, and measures it.

    Args:
      job: where to.
      source: what the file was made of.
      content: the file.

    Raises:
      DataError: the content is no JPEG file.
      OSError: the file system refused.
    """
    point = judge(source.pixels, content, files.decode(content))
    with atomic.replacing(job.result) as temporary:
        temporary.write_bytes(content)
    height, width = source.pixels.shape[:2]
    return Row(job.source, job.result, width, height, point)


def table(rows: Sequence[Row], output: str) -> tables.Table:
    """Returns the rows for people and programs, files named as they lie in `output`."""
    home = Path(output).expanduser()
    cells = [
        (
            row.result.relative_to(home).as_posix(),
            *(f"{n:.0f}" for n in (row.width, row.height, row.point.bytes)),
            *(
                "" if math.isnan(value) else f"{value:.4f}"
                for value in (row.point.bpp, row.point.psnr, row.point.ms_ssim)
            ),
        )
        for row in rows
    ]
    return [_HEADER, *cells]


def summary(rows: Sequence[Row]) -> str:
    """Returns one line: bytes and bits per pixel of all files, and their mean PSNR."""
    size = sum(row.point.bytes for row in rows)
    bpp = 8 * size / sum(row.width * row.height for row in rows)
    psnr = np.mean([row.point.psnr for row in rows])
    images = "1 image" if len(rows) == 1 else f"{len(rows)} images"
    return f"{images}: {size:.0f} bytes, {bpp:.4g} bpp, mean {psnr:.2f} dB"
