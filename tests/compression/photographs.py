"""Crops of the photographs that scikit-image bundles, for the tests of this folder."""

import functools

import numpy as np
from PIL import Image

from common.data.sources.bundled import open_bundled


@functools.cache
def photograph(name):
    """Returns uint8 `[H, W, 3]`."""
    for split in ("train", "eval"):
        source = open_bundled("photos", split)
        for index in range(len(source)):
            path = source[index]["image"]
            if path.endswith(f"{name}.png"):
                return np.asarray(Image.open(path).convert("RGB"))
    raise KeyError(name)


def crop(name="astronaut", height=64, width=64, top=96, left=160):
    """Returns a window; that of the astronaut has hair, skin and a dark background."""
    return photograph(name)[top : top + height, left : left + width]
