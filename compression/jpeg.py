"""JPEG that can be differentiated: everything a file goes through but entropy coding.

Coefficients of the three components Y, Cb and Cr are a tuple of arrays
`[B, rows, columns, 8, 8]`, whose last axes are the vertical and the horizontal
frequency, as in a quantisation table. Sides are padded to whole MCUs (8 pixels, 16
where the chroma is halved) by repeating the last one, and cropped at the end.

With `rounding="hard"` every stage rounds as libjpeg does, and a decoded image is that
of a real file but for the integer DCT: 48 dB and more apart. The other roundings are
for gradients: only coefficients are rounded, and clipping lets gradients pass.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.config import unknown
from common.errors import ConfigError
from compression import color
from compression.rounding import ROUNDINGS, check, clip

Components = tuple[jax.Array, jax.Array, jax.Array]
SUBSAMPLINGS = tuple(color.SUBSAMPLINGS)

# ITU-T T.81, tables K.1 and K.2.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *[(99,) * 8] * 4,
)


def quality_tables(quality: int) -> np.ndarray:
    """Returns the luma and the chroma table of a quality, equal to libjpeg's.

    They are the tables of Annex K, scaled as jcparam.c does.

    Args:
      quality: a whole number from 1 to 100.

    Returns:
      int32 `[2, 8, 8]`, entries in [1, 255].

    Raises:
      ConfigError: any other quality.
    """
    whole = not isinstance(quality, bool) and float(quality).is_integer()
    if not (whole and 1 <= quality <= 100):
        raise ConfigError(f"quality={quality} must be a whole number from 1 to 100")
    quality = int(quality)
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    base = np.array([_LUMA, _CHROMA], np.int32)
    return np.clip((base * scale + 50) // 100, 1, 255).astype(np.int32)


def coefficients(
    images: jax.Array | np.ndarray,
    subsampling: str = "4:4:4",
    rounding: str = "hard",
) -> Components:
    """Returns the orthonormal DCT of an image's planes, not yet divided by tables.

    Args:
      images: `[B, H, W, 3]` RGB in [0, 255], of any size.
      subsampling: of the chroma, a key of `SUBSAMPLINGS`.
      rounding: a key of `ROUNDINGS`; `"hard"` rounds the planes.

    Raises:
      ConfigError: no such subsampling or rounding, or images of another shape.
    """
    _check_images(images)
    _check_subsampling(subsampling)
    if rounding not in ROUNDINGS:
        raise ConfigError(unknown("rounding", rounding, ROUNDINGS))
    return _coefficients(jnp.asarray(images), subsampling, rounding == "hard")


def quantize(
    coefficients: Components,
    tables: jax.Array | np.ndarray | Sequence[Any],
    rounding: str = "hard",
    key: jax.Array | None = None,
) -> Components:
    """Divides by the tables and rounds.

    libjpeg's integer DCT (jfdctint.c) ends in eighths, so that a quotient is often a
    half and is rounded up; `"hard"` does the same. It matters most in large files,
    which have 1 % fewer bits without.

    Args:
      coefficients: as `coefficients` returns them.
      tables: `[2, 8, 8]` for Y and for Cb and Cr, or `[3, 8, 8]`, positive; or with a
        leading `[B]`, one set for each image.
      rounding: a key of `ROUNDINGS`.
      key: for `"noise"`.

    Raises:
      ConfigError: unknown rounding, no key for noise, or tables of another shape.
    """
    check(rounding, key)
    if rounding == "hard":
        y, cb, cr = (jnp.floor(8 * values + 0.5) / 8 for values in coefficients)
        coefficients = y, cb, cr
    steps = per_component(tables)
    keys = [()] * 3
    if rounding == "noise" and key is not None:
        keys = [(k,) for k in jax.random.split(key, 3)]
    y, cb, cr = (
        ROUNDINGS[rounding](values / step, *extra)
        for values, step, extra in zip(coefficients, steps, keys, strict=True)
    )
    return y, cb, cr


def dequantize(
    levels: Components, tables: jax.Array | np.ndarray | Sequence[Any]
) -> Components:
    """Multiplies by the tables; see `quantize` for their shape."""
    y, cb, cr = (
        values * step
        for values, step in zip(levels, per_component(tables), strict=True)
    )
    return y, cb, cr


def decode(
    coefficients: Components,
    size: tuple[int, int],
    subsampling: str = "4:4:4",
    rounding: str = "hard",
) -> jax.Array:
    """Returns images `[B, H, W, 3]` of dequantised coefficients.

    Args:
      coefficients: as `dequantize` returns them.
      size: height and width of the images, without padding.
      subsampling: with which the coefficients were made.
      rounding: `"hard"` rounds and clips planes and images to bytes; with the others
        the image is clipped to [0, 255], and gradients pass.

    Raises:
      ConfigError: no such subsampling.
    """
    _check_subsampling(subsampling)
    exact, (height, width) = rounding == "hard", size
    planes = [_from_blocks(values) for values in coefficients]
    if exact:
        planes = [jnp.clip(jnp.floor(plane + 0.5), -128, 127) for plane in planes]
    vertical, horizontal = color.SUBSAMPLINGS[subsampling]
    rows, columns = -(-height // vertical), -(-width // horizontal)
    y, cb, cr = planes[0], *(plane[:, :rows, :columns] for plane in planes[1:])
    cb, cr = (color.upsample(plane, subsampling, exact) for plane in (cb, cr))
    y, cb, cr = (plane[:, :height, :width] for plane in (y, cb, cr))
    image = color.to_rgb(y, cb, cr, exact)
    return jnp.clip(image, 0, 255) if exact else clip(image, 0, 255)


def roundtrip(
    images: jax.Array | np.ndarray,
    tables: jax.Array | np.ndarray | Sequence[Any],
    subsampling: str = "4:4:4",
    rounding: str = "hard",
    key: jax.Array | None = None,
) -> jax.Array:
    """Encodes and decodes images.

    Differentiable in images and tables unless rounding is hard. For a quality, give
    `quality_tables(quality)`.

    Args:
      images: `[B, H, W, 3]` RGB in [0, 255], of any size.
      tables: as for `quantize`.
      subsampling: of the chroma, one of `SUBSAMPLINGS`.
      rounding: a key of `ROUNDINGS`.
      key: for `"noise"`.

    Returns:
      float32 of the same shape, in [0, 255].

    Raises:
      ConfigError: an argument that cannot be; the message says what can.
    """
    _check_images(images)
    _check_subsampling(subsampling)
    check(rounding, key)
    return _roundtrip(
        jnp.asarray(images), jnp.asarray(tables), subsampling, rounding, key
    )


@functools.partial(jax.jit, static_argnums=(2, 3))
def _roundtrip(images, tables, subsampling, rounding, key):
    transformed = _coefficients(images, subsampling, rounding == "hard")
    levels = quantize(transformed, tables, rounding, key)
    size = images.shape[1:3]
    return decode(dequantize(levels, tables), size, subsampling, rounding)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _coefficients(images: jax.Array, subsampling: str, exact: bool) -> Components:
    vertical, horizontal = color.SUBSAMPLINGS[subsampling]
    height, width = images.shape[1:3]
    pad = (0, -height % (8 * vertical)), (0, -width % (8 * horizontal))
    planes = color.to_planes(images.astype(jnp.float32), exact)
    y, cb, cr = (jnp.pad(plane, ((0, 0), *pad), "edge") for plane in planes)
    cb, cr = (color.downsample(plane, subsampling, exact) for plane in (cb, cr))
    return _to_blocks(y), _to_blocks(cb), _to_blocks(cr)


def _dct_matrix() -> np.ndarray:
    """Returns the orthonormal DCT-II `[8, 8]`: frequency by position."""
    frequency, position = np.mgrid[:8, :8]
    matrix = 0.5 * np.cos((2 * position + 1) * frequency * math.pi / 16)
    matrix[0] = math.sqrt(1 / 8)
    return matrix


# Rows and columns at once: a block of 64 pixels to its 64 coefficients. One product
# with 64 terms runs several times faster on a CPU than two with 8.
_DCT = np.kron(_dct_matrix(), _dct_matrix()).astype(np.float32)


def _to_blocks(plane: jax.Array) -> jax.Array:
    """Cuts a plane into blocks and transforms them."""
    batch, height, width = plane.shape
    rows, columns = height // 8, width // 8
    blocks = plane.reshape(batch, rows, 8, columns, 8).swapaxes(2, 3)
    transformed = _product(blocks.reshape(batch, rows, columns, 64), _DCT.T)
    return transformed.reshape(batch, rows, columns, 8, 8)


def _from_blocks(values: jax.Array) -> jax.Array:
    """Transforms blocks back and joins them to a plane."""
    batch, rows, columns = values.shape[:3]
    blocks = _product(values.reshape(batch, rows, columns, 64), _DCT)
    blocks = blocks.reshape(batch, rows, columns, 8, 8).swapaxes(2, 3)
    return blocks.reshape(batch, rows * 8, columns * 8)


def _product(blocks: jax.Array, matrix: np.ndarray) -> jax.Array:
    # Accelerators would round the factors to half precision.
    return jnp.matmul(blocks, matrix, precision=jax.lax.Precision.HIGHEST)


def per_component(tables: jax.Array | np.ndarray | Sequence[Any]) -> Components:
    """Returns the table of each component, to be divided by.

    Args:
      tables: `[2, 8, 8]` or `[3, 8, 8]`, or either with a leading `[B]`.

    Returns:
      Three float32 arrays, `[8, 8]` or `[B, 1, 1, 8, 8]`.

    Raises:
      ConfigError: another shape.
    """
    steps = jnp.asarray(tables, jnp.float32)
    if steps.ndim not in (3, 4) or steps.shape[-3:] not in ((2, 8, 8), (3, 8, 8)):
        raise ConfigError(
            f"tables have shape {list(steps.shape)}; expected [2, 8, 8] for luma and "
            "chroma, or [3, 8, 8], or these for every image"
        )
    if steps.ndim == 4:
        steps = jnp.moveaxis(steps, 1, 0)[:, :, None, None]
    return steps[0], steps[1], steps[-1]


def _check_images(images: jax.Array | np.ndarray) -> None:
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:3]:
        raise ConfigError(
            f"images have shape {list(images.shape)}; expected [B, H, W, 3]"
        )


def _check_subsampling(subsampling: str) -> None:
    if subsampling not in SUBSAMPLINGS:
        raise ConfigError(unknown("subsampling", subsampling, SUBSAMPLINGS))
