"""Image files with all that restoration must not lose: depth, alpha, colour profile."""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from PIL import Image, ImageOps, UnidentifiedImageError

from common import atomic
from common.data import decode
from common.errors import DataError

# Files that hold 16 bits; the others are written with 8.
_WIDE = (".png", ".tif", ".tiff")
_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 258
_SAVE: dict[str, dict[str, Any]] = {
    ".png": {},
    # No less for colour than for brightness: a restored picture is not a preview.
    ".jpg": {"quality": 95, "subsampling": "4:4:4"},
    # Without `exact`, colour is lost where the picture is transparent.
    ".webp": {"lossless": True, "exact": True},
    ".tif": {"compression": "tiff_deflate"},
    ".bmp": {},
}
_SAVE |= {".jpeg": _SAVE[".jpg"], ".tiff": _SAVE[".tif"]}
SUFFIXES = tuple(_SAVE)
# Pixels per side, where that is less than `decode.MAX_PIXELS` allows.
LONGEST = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383}


@dataclasses.dataclass(frozen=True)
class Picture:
    """An upright image and how its file held it.

    Attributes:
      pixels: float32 `[H, W, 3]`; in [0, 1] when read. Under transparent pixels they
        are what the file says, too.
      bits: 8 or 16 per channel.
      grey: whether the file had one channel of brightness.
      alpha: its opacity `[H, W]`, uint8 or uint16, or None.
      profile: its ICC profile, or None.
    """

    pixels: np.ndarray
    bits: int = 8
    grey: bool = False
    alpha: np.ndarray | None = None
    profile: bytes | None = None


def read(path: str | os.PathLike[str]) -> Picture:
    """Reads a file, of an animation the first frame.

    Depths of 8 bits and less, and 16 bits in PNG and TIFF. CMYK and palettes become
    RGB. The orientation tag is applied. Other tags are not kept.

    Raises:
      DataError: the file is missing, broken, no image, or too large; the message
        says why, and not which one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _read(Path(path).read_bytes())
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many types for broken files.
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "no image of a known kind" if unknown else error
        raise DataError(f"cannot be read: {reason}") from error


def _read(content: bytes) -> Picture:
    with Image.open(io.BytesIO(content)) as image:
        decode.check_size(image.width, image.height)
        if (frames := getattr(image, "n_frames", 1)) > 1:
            logging.warning("only the first of %d images in a file", frames)
        wide, profile = _is_wide(image), image.info.get("icc_profile")
        orientation = image.getexif().get(_ORIENTATION)
        if wide:
            return _read_wide(content, image.format, orientation, profile)
        image.load()
        decode.turn_upright(image)
        if image.mode in ("I", "F") or image.mode.startswith("I;"):
            raise ValueError(f"no known value range for pixels of mode {image.mode!r}")
        grey = image.mode in ("1", "L", "LA", "La")
        mode = "L" if grey else "RGB"
        alpha = None
        if image.has_transparency_data:
            image = image.convert(mode + "A")
            alpha = np.asarray(image.getchannel("A"))
        pixels = _to_float(np.asarray(image.convert(mode)))
        return Picture(pixels, 8, grey, alpha, _fitting(profile, grey))


def _is_wide(image: Any) -> bool:
    """Whether a file holds 16 bits per channel, which Pillow says nowhere."""
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) == 16
    return image.format == "PNG" and any(";16" in str(x.args) for x in image.tile)


def _read_wide(
    content: bytes, kind: str | None, orientation: int | None, profile: bytes | None
) -> Picture:
    """Reads 16 bits with OpenCV; Pillow keeps 8 of colour."""
    import cv2

    array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise ValueError("broken, or not supported with 16 bits per channel")
    if kind == "PNG" and orientation is not None:  # of TIFF, OpenCV knows it
        array = _upright(array, orientation)
    if array.ndim == 2:
        return Picture(_to_float(array), 16, True, None, _fitting(profile, True))
    alpha = array[..., 3] if array.shape[2] == 4 else None
    colour = array[..., 2::-1]  # BGR
    # Grey with alpha comes as colour.
    grey = alpha is not None and bool((colour == colour[..., :1]).all())
    profile = _fitting(profile, grey)
    return Picture(_to_float(colour), 16, grey, alpha, profile)


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turns pixels as Pillow turns an image of their numbers."""
    size, channels = array.shape[:2], array.shape[2:]
    numbers = np.arange(size[0] * size[1], dtype=np.int32).reshape(size)
    image = Image.fromarray(numbers)
    image.getexif()[_ORIENTATION] = orientation
    order = np.asarray(ImageOps.exif_transpose(image))
    return array.reshape(-1, *channels)[order]


def _to_float(levels: np.ndarray) -> np.ndarray:
    pixels = levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)


def _fitting(profile: bytes | None, grey: bool) -> bytes | None:
    """Keeps a profile unless it is of other channels, as those of CMYK are."""
    channels = b"GRAY" if grey else b"RGB "
    return profile if profile and profile[16:20] == channels else None


def to_levels(pixels: np.ndarray, bits: int = 8) -> np.ndarray:
    """Returns clipped pixels as integers, rounded to the nearest level.

    MAXIM's official script cuts the fraction off instead, which darkens by half a
    level on average.

    Args:
      pixels: of [0, 1], any shape.
      bits: 8 or 16.

    Raises:
      DataError: not all are finite.
    """
    bad = pixels.size - np.count_nonzero(np.isfinite(pixels))
    if bad:
        raise DataError(f"{bad} of {pixels.size} restored values are not finite")
    highest = 2**bits - 1
    levels = np.rint(np.clip(pixels, 0, 1) * np.float32(highest))
    return levels.astype(np.uint8 if bits == 8 else np.uint16)


def enlarge_alpha(alpha: np.ndarray | None, scale: int) -> np.ndarray | None:
    """Returns opacity `[H, W]` for a picture `scale` times as large, bilinear."""
    if alpha is None or scale == 1:
        return alpha
    import cv2

    size = (alpha.shape[1] * scale, alpha.shape[0] * scale)
    return cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)


def check_fits(picture: Picture, path: Path, scale: int = 1) -> None:
    """Refuses a picture that a format cannot hold, before the work on it.

    Args:
      picture: before the work.
      path: of the result.
      scale: how many times as long its sides will be.

    Raises:
      DataError: it has too many pixels per side.
    """
    longest = scale * max(picture.pixels.shape[:2])
    limit = LONGEST.get(path.suffix.lower())
    if limit and longest > limit:
        raise DataError(
            f"{longest} pixels per side are too many for {path.suffix} ({limit}); use "
            "--format=png"
        )


def write(path: Path, picture: Picture) -> None:
    """Writes a picture in the format of the suffix; the file appears whole or not.

    Grey is the mean of the channels. JPEG shows transparency on white.

    Raises:
      DataError: values that are not finite, or that the format cannot hold.
      OSError: the file system refused.
    """
    suffix = path.suffix.lower()
    bits = picture.bits if suffix in _WIDE else 8
    levels = _levels(picture, bits)
    try:
        encode = _encode if bits == 8 else _encode_wide
        content = encode(levels, suffix, picture.profile)
    except Exception as error:  # The encoders raise many types, too.
        raise DataError(f"cannot be encoded as {suffix}: {error}") from error
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(content)


def opaque(picture: Picture) -> np.ndarray:
    """Returns a picture as JPEG shows it: 8 bits, transparency on white.

    Returns:
      uint8 `[H, W, 3]`, or `[H, W]` when it is grey.

    Raises:
      DataError: values that are not finite.
    """
    return np.asarray(_on_white(_image(_levels(picture, 8))))


def _levels(picture: Picture, bits: int) -> np.ndarray:
    """Returns integers `[H, W, C]` with the opacity as the last channel, if any."""
    pixels = picture.pixels.mean(-1, keepdims=True) if picture.grey else picture.pixels
    levels = to_levels(pixels, bits)
    if picture.alpha is None:
        return levels
    alpha = to_levels(picture.alpha / np.float32(2**picture.bits - 1), bits)
    return np.concatenate([levels, alpha[..., None]], axis=-1)


def _image(levels: np.ndarray) -> Image.Image:
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[levels.shape[2]]
    return Image.frombytes(mode, levels.shape[1::-1], levels.tobytes())


def _on_white(image: Image.Image) -> Image.Image:
    if not image.mode.endswith("A"):
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert(image.mode[:-1])


def _encode(levels: np.ndarray, suffix: str, profile: bytes | None) -> bytes:
    image = _image(levels)
    if suffix in (".jpg", ".jpeg", ".bmp"):
        image = _on_white(image)
    if suffix == ".webp" and image.mode == "LA":  # which it does not know
        image = image.convert("RGBA")
    buffer = io.BytesIO()
    kind = Image.registered_extensions()[suffix]
    image.save(buffer, kind, icc_profile=profile, **_SAVE[suffix])
    return buffer.getvalue()


def _encode_wide(levels: np.ndarray, suffix: str, profile: bytes | None) -> bytes:
    """Encodes 16 bits; OpenCV knows no profiles, and no grey with alpha."""
    import cv2

    if levels.shape[2] == 2:
        levels = levels[..., [0, 0, 0, 1]]
    order = [2, 1, 0, 3][: levels.shape[2]] if levels.shape[2] > 1 else [0]
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(levels[..., order]))
    if not done:
        raise ValueError("of 16 bits")
    content = encoded.tobytes()
    return _with_profile(content, profile) if suffix == ".png" and profile else content


def _with_profile(png: bytes, profile: bytes) -> bytes:
    """Puts an iCCP chunk where it belongs: right behind the header."""
    body = b"iCCPICC profile\0\0" + zlib.compress(profile)
    length, check = (struct.pack(">I", x) for x in (len(body) - 4, zlib.crc32(body)))
    header = 8 + 25  # signature, IHDR
    return png[:header] + length + body + check + png[header:]
