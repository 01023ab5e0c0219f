"""Exact size of a baseline JPEG scan under the Huffman codes of Annex K.

What is counted are the bits of symbols and values. A file has besides: its header, the
byte that is stuffed behind each 0xFF, and the bits that fill the last byte.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.config import unknown
from common.errors import ConfigError, DataError
from compression import color, jpeg
from compression import tables as table_pairs

# ITU-T T.81, tables K.3 to K.6, as a DHT segment holds them: how many codes have each
# length from 1 to 16, then the symbols in the order of their codes. Luma and chroma.
DC_CODES = (
    bytes.fromhex("00010501010101010100000000000000000102030405060708090a0b"),
    bytes.fromhex("00030101010101010101010000000000000102030405060708090a0b"),
)
AC_CODES = (
    bytes.fromhex(
        "0002010303020403050504040000017d"
        "01020300041105122131410613516107227114328191a1082342b1c11552d1f024336272"
        "82090a161718191a25262728292a3435363738393a434445464748494a53545556575859"
        "5a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3"
        "a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2"
        "e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
    ),
    bytes.fromhex(
        "00020102040403040705040400010277"
        "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d1"
        "0a162434e125f11718191a262728292a35363738393a434445464748494a535455565758"
        "595a636465666768696a737475767778797a82838485868788898a92939495969798999a"
        "a2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9da"
        "e2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
    ),
)
_END_OF_BLOCK, _SIXTEEN_ZEROS = 0x00, 0xF0
# T.81, tables F.1 and F.2 for 8 bits: sizes of DC differences and of AC coefficients.
_DC_SIZES, _AC_SIZES = 11, 10
_LARGEST_DC, _LARGEST_AC = 2**_DC_SIZES - 1, 2**_AC_SIZES - 1
# What stands for the first coefficient of a block among the AC coefficients, and its
# size: one more than theirs.
_START, _START_SIZE = 2**_AC_SIZES, _AC_SIZES + 1
# Blocks at a time: what one step makes of them is still in the cache for the next.
_CHUNK = 4096


def scan_bits(levels: Sequence[Any], subsampling: str = "4:4:4") -> int:
    """Counts the bits of one image's quantised coefficients.

    Args:
      levels: of Y, Cb and Cr, whole numbers `[rows, columns, 8, 8]` in natural order;
        those of Y are whole MCUs. Or of Y alone: a grey image.
      subsampling: of the chroma, a key of `color.SUBSAMPLINGS`: it decides in which
        order blocks of Y are coded, and so the differences of their DC coefficients.

    Raises:
      ConfigError: no such subsampling.
      DataError: shapes that do not belong together, or coefficients that a baseline
        file cannot hold: AC beyond 1023, DC differences beyond 2047.
    """
    if subsampling not in color.SUBSAMPLINGS:
        raise ConfigError(unknown("subsampling", subsampling, color.SUBSAMPLINGS))
    components = [_whole(component) for component in levels]
    _check_shapes([component.shape for component in components], subsampling)
    bits = 0
    for index, component in enumerate(components):
        # A scan of one component has no MCUs; in 4:4:4 they are single blocks, too.
        interleaved = index == 0 and len(components) == 3
        factors = color.SUBSAMPLINGS[subsampling] if interleaved else (1, 1)
        bits += _dc_bits(in_coding_order(component[..., 0, 0], factors), min(index, 1))
        bits += _ac_bits(component.reshape(-1, 64), min(index, 1))
    return bits


def count_bits(
    image: np.ndarray, tables: np.ndarray | Sequence[Any], subsampling: str = "4:4:4"
) -> int:
    """Counts the bits of an image's scan.

    Coefficients are those of `jpeg.coefficients`, whose transform is real where
    libjpeg's is of integers: a file differs by up to about one percent.

    Args:
      image: uint8 `[H, W, 3]` RGB, or `[H, W]`, whose file has one component.
      tables: as for `compression.tables.check`.
      subsampling: of the chroma, one of `jpeg.SUBSAMPLINGS`.

    Raises:
      ConfigError: no such image, tables or subsampling.
    """
    grey = image.ndim == 2
    known = image.size and (grey or image.shape[2:] == (3,))
    if image.dtype != np.uint8 or not known:
        raise ConfigError(
            f"an image is {image.dtype} {list(image.shape)}; expected uint8 [H, W] or "
            "[H, W, 3]"
        )
    if grey:
        # Its Y is itself.
        image, subsampling = np.stack([image] * 3, axis=-1), "4:4:4"
    levels = _levels(image, table_pairs.check(tables), subsampling)
    y, cb, cr = (np.asarray(component) for component in levels)
    y = _without_dummies(y, *image.shape[:2])
    return scan_bits((y,) if grey else (y, cb, cr), subsampling)


@functools.partial(jax.jit, static_argnums=2)
def _levels(image: jax.Array, tables: jax.Array, subsampling: str) -> jpeg.Components:
    coefficients = jpeg.coefficients(image[None], subsampling)
    # Halves go to the even side, as in the counts we are compared with. `jpeg.quantize`
    # rounds as libjpeg does: up to 1 % more bits at quality 95, nearly those of a file.
    y, cb, cr = (
        jnp.round(component[0] / step).astype(jnp.int16)
        for component, step in zip(
            coefficients, jpeg.per_component(tables), strict=True
        )
    )
    return y, cb, cr


def _without_dummies(y: np.ndarray, height: int, width: int) -> np.ndarray:
    """Makes blocks that only fill an MCU as cheap as libjpeg does.

    Outside the image its jccoefct.c codes no AC coefficients, and the DC coefficient of
    the block that was coded before.
    """
    rows, columns = -(-height // 8), -(-width // 8)
    if (rows, columns) == y.shape[:2]:
        return y
    y = y.copy()
    y[rows:, :] = y[:, columns:] = 0
    if columns < y.shape[1]:
        y[:, -1, 0, 0] = y[:, -2, 0, 0]
    if rows < y.shape[0]:
        y[-1, :, 0, 0] = y[-2, 1::2, 0, 0].repeat(2)
    return y


def _whole(component: Any) -> np.ndarray:
    """Returns coefficients as int16, and refuses other numbers."""
    values = np.asarray(component)
    if values.dtype == np.int16:
        return values
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int16)
    if not np.array_equal(whole, values):
        bad = values[whole != values][0]
        raise DataError(f"{bad:g} is no whole number of 16 bits, as coefficients are")
    return whole


def _check_shapes(shapes: list[tuple[int, ...]], subsampling: str) -> None:
    expected = "[rows, columns, 8, 8] of Y, or of Y, Cb and Cr"
    blocks = all(
        len(shape) == 4 and 0 not in shape and shape[2:] == (8, 8) for shape in shapes
    )
    if len(shapes) == 3 and blocks:
        vertical, horizontal = color.SUBSAMPLINGS[subsampling]
        rows, columns = shapes[1][:2]
        luma = (rows * vertical, columns * horizontal, 8, 8)
        known = shapes[0] == luma and shapes[1] == shapes[2]
        expected = f"{list(luma)} of Y in {subsampling}"
    else:
        known = len(shapes) == 1 and blocks
    if not known:
        raise DataError(f"coefficients have shapes {shapes}; expected {expected}")


def in_coding_order(blocks: np.ndarray, factors: tuple[int, int]) -> np.ndarray:
    """Returns `[rows, columns]` MCU by MCU, each of `factors` blocks: T.81, A.2.3."""
    rows, columns = blocks.shape
    vertical, horizontal = factors
    units = blocks.reshape(rows // vertical, vertical, columns // horizontal, -1)
    return units.swapaxes(1, 2).ravel()


def _dc_bits(values: np.ndarray, table: int) -> int:
    differences = np.diff(values.astype(np.int32), prepend=0)
    _check_size("DC difference", differences, _LARGEST_DC)
    return int(_dc_costs(table)[_sizes()[differences]].sum())


def _ac_bits(blocks: np.ndarray, table: int) -> int:
    """Counts what `[N, 64]` blocks cost without their DC coefficients."""
    costs, sizes, bits = _ac_costs(table), _sizes(), 0
    for first in range(0, len(blocks), _CHUNK):
        scanned = np.take(blocks[first : first + _CHUNK], _zigzag(), axis=1)
        scanned[:, 0] = 0
        _check_size("AC coefficient", scanned, _LARGEST_AC)
        # With a mark where each block starts, the distance from one that is not zero to
        # the next tells the run before it; that to a mark, whether a block has ended
        # early. The first mark serves as the one behind the last block.
        scanned[:, 0] = _START
        places = np.flatnonzero(scanned != 0)
        ends = np.roll(sizes.take(scanned.ravel().take(places)), -1)
        bits += int(costs[ends, np.diff(places, append=scanned.size)].sum())
    return bits


def _check_size(what: str, values: np.ndarray, largest: int) -> None:
    for value in (values.min(), values.max()):
        if abs(int(value)) > largest:
            raise DataError(
                f"{what} {value} cannot be coded in a baseline JPEG file: at most "
                f"{largest} either way"
            )


@functools.cache
def _zigzag() -> np.ndarray:
    """Returns the natural index of each place of a scan: T.81, figure 5."""
    row, column = np.divmod(np.arange(64), 8)
    # Upwards on even diagonals, downwards on odd ones.
    along = np.where((row + column) % 2, row, column)
    return np.lexsort((along, row + column))


@functools.cache
def _sizes() -> np.ndarray:
    """Returns how many bits a value takes; negative ones index from the end."""
    count = 2 * (_LARGEST_DC + 1)
    magnitudes = np.abs(np.fft.fftfreq(count, 1 / count).astype(int))
    return np.array([int(value).bit_length() for value in magnitudes])


def _lengths(codes: bytes) -> np.ndarray:
    """Returns the length of each symbol's code, 0 where there is none."""
    lengths = np.zeros(256, np.int64)
    lengths[list(codes[16:])] = np.repeat(np.arange(1, 17), list(codes[:16]))
    return lengths


@functools.cache
def _dc_costs(table: int) -> np.ndarray:
    """Returns the bits of a difference by its size."""
    sizes = np.arange(_DC_SIZES + 1)
    return _lengths(DC_CODES[table])[sizes] + sizes


@functools.cache
def _ac_costs(table: int) -> np.ndarray:
    """Returns bits by the size of a coefficient and its distance from the last one."""
    lengths = _lengths(AC_CODES[table])
    runs = np.arange(-1, 64)  # distances 0, which there is not, to 64
    zeros, rest = np.divmod(runs, 16)
    costs = np.zeros((_START_SIZE + 1, 65), np.uint8)
    for size in range(1, _AC_SIZES + 1):
        costs[size] = zeros * lengths[_SIXTEEN_ZEROS] + lengths[rest * 16 + size] + size
    costs[_START_SIZE] = np.where(runs > 0, lengths[_END_OF_BLOCK], 0)
    return costs
