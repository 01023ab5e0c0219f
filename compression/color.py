"""Colour planes of JPEG: JFIF's YCbCr, and chroma at half resolution.

With `exact`, values are whole numbers at every stage, rounded as libjpeg rounds them;
without, they are real and every function is linear.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

Planes = tuple[jax.Array, jax.Array, jax.Array]

# JFIF 1.02, in the digits of libjpeg's jccolor.c. Rows: Y, Cb, Cr.
RGB_TO_YCBCR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168735892, -0.331264108, 0.5],
        [0.5, -0.418687589, -0.081312411],
    ]
)
# libjpeg's jdcolor.c. Rows: R, G, B.
YCBCR_TO_RGB = np.array(
    [[1.0, 0.0, 1.402], [1.0, -0.344136286, -0.714136286], [1.0, 1.772, 0.0]]
)
# Vertical and horizontal factor of the chroma.
SUBSAMPLINGS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}


def to_planes(images: jax.Array, exact: bool) -> Planes:
    """Returns Y, Cb and Cr `[B, H, W]`, centred on zero, of RGB in [0, 255]."""
    red, green, blue = (images[..., channel] for channel in range(3))
    y, cb, cr = (
        float(r) * red + float(g) * green + float(b) * blue for r, g, b in RGB_TO_YCBCR
    )
    if exact:
        y, cb, cr = (jnp.floor(plane + 0.5) for plane in (y, cb, cr))
    return y - 128, cb, cr


def to_rgb(y: jax.Array, cb: jax.Array, cr: jax.Array, exact: bool) -> jax.Array:
    """Returns RGB `[B, H, W, 3]`, not clipped, of planes centred on zero."""
    channels = [(y + 128) + float(b) * cb + float(r) * cr for _, b, r in YCBCR_TO_RGB]
    image = jnp.stack(channels, axis=-1)
    return jnp.floor(image + 0.5) if exact else image


def downsample(plane: jax.Array, subsampling: str, exact: bool) -> jax.Array:
    """Averages the pixels under each chroma sample; sides must be divisible."""
    vertical, horizontal = SUBSAMPLINGS[subsampling]
    if vertical * horizontal == 1:
        return plane
    batch, height, width = plane.shape
    rows, columns = height // vertical, width // horizontal
    # A product for the sum of two columns: XLA's own sum over a short last axis takes
    # several times as long on a CPU.
    total = plane[:, ::2] + plane[:, 1::2] if vertical == 2 else plane
    pairs = total.reshape(batch, rows, columns, horizontal)
    share = np.full((horizontal, 1), 1 / (vertical * horizontal), np.float32)
    mean = jnp.matmul(pairs, share, precision=jax.lax.Precision.HIGHEST)[..., 0]
    if not exact:
        return mean
    # libjpeg's jcsample.c rounds halves down and up in turn: 0, 1 of 2 or 1, 2 of 4.
    bias = np.array([0.0, 0.5] if vertical == 1 else [0.25, 0.5], np.float32)
    return jnp.floor(mean + np.resize(bias, columns))


def upsample(plane: jax.Array, subsampling: str, exact: bool) -> jax.Array:
    """Interpolates with libjpeg's triangle, 3/4 and 1/4: its "fancy upsampling".

    Two columns and fewer are repeated instead, as jdsample.c does.
    """
    vertical, horizontal = SUBSAMPLINGS[subsampling]
    if vertical * horizontal == 1:
        return plane
    if plane.shape[2] <= 2:
        return plane.repeat(vertical, axis=1).repeat(horizontal, axis=2)
    if vertical == 2:
        plane = _double(plane, axis=1)
    image = _double(plane, axis=2)
    if not exact:
        return image
    # Columns are rounded with 1, 2 of 4, or with 8, 7 of 16 where rows are doubled.
    bias = np.array([1 / 4, 2 / 4] if vertical == 1 else [8 / 16, 7 / 16], np.float32)
    return jnp.floor(image + np.resize(bias, image.shape[2]))


def _double(plane: jax.Array, axis: int) -> jax.Array:
    """Doubles an axis: the edges are repeated, for want of a neighbour."""
    size = plane.shape[axis]

    def part(start: int, stop: int) -> jax.Array:
        return jax.lax.slice_in_dim(plane, start, stop, axis=axis)

    before = jnp.concatenate([part(0, 1), part(0, size - 1)], axis)
    after = jnp.concatenate([part(1, size), part(size - 1, size)], axis)
    both = [0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after]
    shape = tuple(2 * n if a == axis else n for a, n in enumerate(plane.shape))
    return jnp.stack(both, axis=axis + 1).reshape(shape)
