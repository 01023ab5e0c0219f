"""Megapixels per second of the exact bit counter, `compression.huffman`.

    JAX_PLATFORMS=cpu python -m benchmarks.bit_counter

Rows are photographs, tiled to 4 megapixels each, at several qualities. `scan_bits`
counts coefficients that are there; `count_bits` computes them from the image as well.
Beside them, Pillow writing the whole file, and the floor of `scan_bits`: reading every
coefficient once. The four take turns, so a slow moment of the machine hits all.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from common.data.decode import decode
from common.data.sources.bundled import open_bundled
from compression import huffman, jpeg

QUALITIES = (10, 50, 90)
SIDE = 2048
ROUNDS = 9


def photographs() -> dict[str, np.ndarray]:
    """Returns uint8 `[SIDE, SIDE, 3]` by name."""
    source, images = open_bundled("photos", "eval"), {}
    for index in range(len(source)):
        path = source[index]["image"]
        image = np.asarray(decode(path))
        repeats = [-(-SIDE // side) for side in image.shape[:2]]
        images[Path(path).stem] = np.tile(image, (*repeats, 1))[:SIDE, :SIDE]
    return images


def seconds(call: Callable[[], Any]) -> float:
    """Times one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def programs(
    image: np.ndarray, quality: int, subsampling: str
) -> dict[str, Callable[[], Any]]:
    """Returns what is compared, by name."""
    tables = jpeg.quality_tables(quality)
    coefficients = jpeg.coefficients(image[None], subsampling)
    levels = [
        np.asarray(component[0], np.int16)
        for component in jpeg.quantize(coefficients, tables)
    ]
    picture = Image.fromarray(image)
    settings = {"quality": quality, "subsampling": subsampling}
    return {
        "scan_bits": lambda: huffman.scan_bits(levels, subsampling),
        "count_bits": lambda: huffman.count_bits(image, tables, subsampling),
        "Pillow": lambda: picture.save(io.BytesIO(), "JPEG", **settings),
        "floor": lambda: [component.max() for component in levels],
    }


def speeds(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Returns the median megapixels per second of each, after a call to compile."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(1 + ROUNDS):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return {
        name: SIDE**2 / 1e6 / statistics.median(values[1:])
        for name, values in times.items()
    }


def main() -> None:
    """Prints one row per photograph, subsampling and quality."""
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {SIDE} x {SIDE}")
    print("megapixels/s, medians     scan_bits count_bits     Pillow      floor")
    for name, image in photographs().items():
        for subsampling in jpeg.SUBSAMPLINGS:
            for quality in QUALITIES:
                row = speeds(programs(image, quality, subsampling))
                numbers = " ".join(f"{speed:10.0f}" for speed in row.values())
                print(f"{name:9s} {subsampling} quality {quality} {numbers}")


if __name__ == "__main__":
    main()
