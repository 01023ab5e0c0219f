"""Decoding to RGB, and what happens when an image cannot be read."""

from __future__ import annotations

import io
import os
import threading
from functools import cached_property
from typing import Any

import numpy as np
from absl import logging
from PIL import Image, ImageOps

from common.config import unknown
from common.data.sources import Source
from common.errors import ConfigError, DataError

ON_ERROR = ("next", "mask")

# Larger images are refused before they are decoded: a small file can expand to
# gigabytes. The value is Pillow's own warning threshold (1 GiB of 24-bit / 4).
MAX_PIXELS = 89_478_485

_BLANK_SIZE = (256, 256)
# What of an example is an image; a target only in paired data.
PICTURES = ("image", "target")


class Decoded:
    """A source whose `"image"` is a PIL RGB image, whatever it was stored as.

    So is its `"target"`, where there is one: the image as it should be. Both must be
    readable, and of one size: another size means that they are no pair.

    Bad images do not change how many examples there are or their order:
    with `on_error="next"` (training) the next readable example stands in; with
    `on_error="mask"` (evaluation) the image is black and every example carries
    `"mask"`, False for the unreadable ones.

    Each distinct bad example is logged once and counted. The count is kept by each
    worker process for itself and starts anew when a run resumes, so a run may meet
    up to `max_bad_examples` of them per process.
    """

    def __init__(self, source: Source, max_bad_examples: int, on_error: str):
        """Wraps a source.

        Args:
          source: gives encoded bytes, paths or uint8 arrays.
          max_bad_examples: how many distinct examples may be unreadable.
          on_error: `"next"` or `"mask"`.

        Raises:
          ConfigError: unknown `on_error` or a negative limit.
          DataError: the source is empty.
        """
        if on_error not in ON_ERROR:
            raise ConfigError(unknown("on_error", on_error, ON_ERROR))
        if max_bad_examples < 0:
            raise ConfigError(f"max_bad_examples is negative: {max_bad_examples}")
        if not len(source):
            raise DataError("the source has no examples")
        self.class_names = source.class_names
        self._source = source
        self._limit = max_bad_examples
        self._on_error = on_error
        self._bad: set[int] = set()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """A worker process gets its own lock and its own count."""
        return self.__dict__ | {"_lock": None, "_bad": set()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __repr__(self) -> str:
        return f"Decoded({type(self._source).__name__}, {len(self)} examples)"

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns example `index` with a PIL image, or two.

        Raises:
          DataError: more than `max_bad_examples` images could not be read, or none
            could, or an image and its target differ in size.
        """
        example, pictures = self._read(index)
        if self._on_error == "mask":
            shown = self._blank_pictures(example) if pictures is None else pictures
            return {**example, **shown, "mask": pictures is not None}
        for step in range(1, len(self)):
            if pictures is not None:
                return {**example, **pictures}
            example, pictures = self._read((index + step) % len(self))
        if pictures is not None:
            return {**example, **pictures}
        raise DataError(f"none of the {len(self)} images can be read")

    def blank(self) -> dict[str, Any]:
        """Returns a stand-in for an example that does not exist (mask False, id -1).

        It has the keys and the image size of a real example.
        """
        example = self._source[0]
        pictures = self._blank_pictures(example)
        return {**example, **pictures, "id": -1, "mask": False}

    def _blank_pictures(self, example: dict[str, Any]) -> dict[str, Image.Image]:
        return {key: self._blank_image for key in PICTURES if key in example}

    @cached_property
    def _blank_image(self) -> Image.Image:
        """A black image of the size of the first readable one.

        Sources of one fixed size may go without a resize, and then a stand-in must
        fit into the batch.
        """
        for index in range(min(len(self), self._limit + 1)):
            # Not counted: whoever asks for that example will count it.
            image = _try_decode(self._source[index]["image"])[0]
            if image is not None:
                return Image.new("RGB", image.size)
        return Image.new("RGB", _BLANK_SIZE)

    def _read(self, index: int) -> tuple[dict[str, Any], dict[str, Image.Image] | None]:
        """Returns an example and its images; None when one cannot be read."""
        example = self._source[index]
        pictures: dict[str, Image.Image] = {}
        for key in filter(example.__contains__, PICTURES):
            picture, error = _try_decode(example[key])
            if picture is None:
                self._count(index, _name(example, key), error)
                return example, None
            pictures[key] = picture
        check_pair(example, pictures)
        return example, pictures

    def _count(self, index: int, name: str, error: Exception | None) -> None:
        with self._lock:
            known = index in self._bad
            self._bad.add(index)
            count = len(self._bad)
        if count > self._limit:
            raise DataError(
                f"{count} images cannot be read and max_bad_examples is "
                f"{self._limit}; the last one is {name}: {error!r}"
            ) from error
        if not known:
            logging.warning("Cannot read image %d, %s: %r", count, name, error)


def decode(image: bytes | str | np.ndarray) -> Image.Image:
    """Decodes one image completely.

    The camera's orientation tag is applied. Grey, palette, CMYK and 16-bit images
    become 8-bit RGB; transparency is composited on white, as a viewer shows it. 16-bit
    grey is scaled, rounding value / 257; of 16-bit colour Pillow keeps the high byte,
    which is the same to one level. Of an animation the first frame is taken. Colour
    profiles are not applied.

    Args:
      image: encoded bytes, a path, or a uint8 array `[H, W]` or `[H, W, 3]`.

    Returns:
      A loaded PIL image of mode RGB.

    Raises:
      OSError, ValueError, SyntaxError: missing, truncated or corrupt file, no pixels,
        or more than `MAX_PIXELS`.
      DataError: an array of another shape or type.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    file = io.BytesIO(image) if isinstance(image, bytes) else image
    with Image.open(file) as opened:
        check_size(opened.width, opened.height)
        opened.load()
        turn_upright(opened)
        return _to_rgb(opened)


def read(path: str | os.PathLike[str]) -> Image.Image:
    """Decodes a file that somebody named; see `decode`.

    Raises:
      DataError: it cannot be read; the message names it.
    """
    try:
        return decode(os.fspath(path))
    except Exception as error:  # Pillow raises many types for broken files.
        raise DataError(f"cannot read image {path}: {error}") from error


def _name(example: dict[str, Any], key: str) -> str:
    """Returns what a message calls one of the images of an example."""
    name = example["name"] if "name" in example else f"example {example['id']}"
    if key == "image":
        return name
    picture = example[key]
    return picture if isinstance(picture, str) else f"the {key} of {name}"


def check_pair(example: dict[str, Any], pictures: dict[str, Image.Image]) -> None:
    """Refuses an image and a target of different sizes: a mistake in the data."""
    if len({picture.size for picture in pictures.values()}) < 2:
        return
    named = (
        f"{_name(example, key)} has {picture.width} x {picture.height} pixels"
        for key, picture in pictures.items()
    )
    raise DataError(f"an image and its target differ in size: {', '.join(named)}")


def check_size(width: int, height: int) -> None:
    """Refuses an image without pixels, or with more than `MAX_PIXELS`.

    Raises:
      ValueError: it is one of the two.
    """
    if not width * height:
        raise ValueError(f"an image of {width} x {height} pixels is empty")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels are too many")


def turn_upright(image: Image.Image) -> None:
    """Applies the orientation tag in place; without a copy when upright."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    # A camera's tags can be garbage where the pixels are fine, and Pillow's parsers
    # raise nearly anything on them.
    except Exception as error:
        logging.log_first_n(logging.WARNING, "Ignoring broken EXIF: %r", 1, error)


def _try_decode(
    image: bytes | str | np.ndarray,
) -> tuple[Image.Image | None, Exception | None]:
    """Returns the image, or why it cannot be read."""
    try:
        return decode(image), None
    except DataError:  # an array of a wrong kind: the source is wrong, not a file
        raise
    # Pillow's readers raise nearly any exception on broken data.
    except Exception as error:
        return None, error


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or not (
        array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    ):
        raise DataError(
            "an image array is uint8 [H, W] or [H, W, 3], given "
            f"{array.dtype} {list(array.shape)}"
        )
    check_size(array.shape[1], array.shape[0])
    return Image.fromarray(array).convert("RGB")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    # Pillow scales grey PPM files of more than 8 bits to 16 bits, in 32-bit pixels.
    if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM"):
        return _from_sixteen_bits(image)
    if image.mode in ("I", "F"):
        raise ValueError(f"no known value range for pixels of mode {image.mode!r}")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """Scales grey of 16 bits to 8; the one transparent value, if any, is white."""
    wide = np.asarray(image).astype(np.uint32)
    narrow = (wide + 128) // 257
    if "transparency" in image.info:
        narrow[wide == image.info["transparency"]] = 255
    return Image.fromarray(narrow.astype(np.uint8)).convert("RGB")
