"""JPEG files of any baseline tables, written and read through Pillow."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from common.config import unknown
from common.errors import ConfigError, DataError
from common.restoration.pictures import LONGEST
from compression import tables as table_pairs
from compression.names import SUBSAMPLINGS

_one_at_a_time = threading.Lock()


def encode(
    image: np.ndarray,
    tables: np.ndarray | Sequence[Any],
    subsampling: str = "4:4:4",
    optimize_huffman: bool = False,
    profile: bytes | None = None,
) -> bytes:
    """Returns a baseline JPEG file.

    Args:
      image: uint8 `[H, W, 3]` RGB, or `[H, W]`, which becomes a file of one component
        with the luma table.
      tables: as for `compression.tables.check`.
      subsampling: of the chroma, one of `SUBSAMPLINGS`.
      optimize_huffman: codes fitted to the image in place of those of Annex K.
      profile: ICC profile of the file.

    Raises:
      ConfigError: tables or subsampling that cannot be, or no such image.
      DataError: more pixels per side than JPEG has.
    """
    _check_image(image)
    if subsampling not in SUBSAMPLINGS:
        raise ConfigError(unknown("subsampling", subsampling, SUBSAMPLINGS))
    pair = table_pairs.check(tables)
    if image.ndim == 2:
        pair, subsampling = pair[:1], "4:4:4"
    file = io.BytesIO()
    with _room(image, profile) if optimize_huffman else contextlib.nullcontext():
        Image.fromarray(image).save(
            file,
            "JPEG",
            # Natural order, which Pillow turns to zigzag.
            qtables=[table.ravel().tolist() for table in pair],
            subsampling=subsampling,
            optimize=optimize_huffman,
            icc_profile=profile,
        )
    return file.getvalue()


def decode(content: bytes) -> np.ndarray:
    """Returns the pixels of a JPEG file: uint8 `[H, W, 3]`, also of a grey one.

    Raises:
      DataError: it is none, or broken.
    """
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"no JPEG file: {error}") from error


def check_fits(height: int, width: int) -> None:
    """Refuses what JPEG cannot hold, before the work on it.

    Raises:
      DataError: more pixels per side than libjpeg allows.
    """
    longest, limit = max(height, width), LONGEST[".jpg"]
    if longest > limit:
        raise DataError(f"{longest} pixels per side are too many for JPEG ({limit})")


def _check_image(image: np.ndarray) -> None:
    known = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not known or not image.size:
        raise ConfigError(
            f"an image is {image.dtype} {list(image.shape)}; expected uint8 [H, W] or "
            "[H, W, 3]"
        )
    check_fits(*image.shape[:2])


@contextlib.contextmanager
def _room(image: np.ndarray, profile: bytes | None) -> Generator[None, None, None]:
    """Makes Pillow's buffer large enough for the whole file.

    Fitted codes are known at the end, and then libjpeg writes everything at once.
    Pillow gives it 2 bytes per pixel, which noise and fine tables exceed: the file is
    refused. A coefficient needs 16 bits on average at most: 8 for a symbol, whose code
    is fitted, and 8 for its value, as all coefficients together have the energy of the
    pixels. The other half is for 0xFF bytes, which are written as two. What is not used
    costs no memory.
    """
    height, width = (-(-side // 16) * 16 for side in image.shape[:2])
    channels = 3 if image.ndim == 3 else 1
    with _one_at_a_time:
        usual = ImageFile.MAXBLOCK
        ImageFile.MAXBLOCK += 4 * channels * height * width + len(profile or b"")
        try:
            yield
        finally:
            ImageFile.MAXBLOCK = usual
