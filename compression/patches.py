"""Images of any sizes as one array of equal patches, for tables do not need them whole.

Everything is then compiled once for all the images of a folder.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIDE = 128
# Of one image; half a megapixel. A table has 64 entries: more pixels tell no more.
MOST = 32


def cut(image: np.ndarray, most: int = MOST) -> np.ndarray:
    """Returns patches that cover an image, or are spread over a large one.

    Their number is a power of two, for which some may come twice, and they start at
    multiples of 16 pixels, where the blocks of the image do.

    Args:
      image: uint8 `[H, W, 3]`.
      most: so many at most.

    Returns:
      `[N, 128, 128, 3]`, or the whole image `[1, H, W, 3]` if it is lower or narrower.
    """
    if min(image.shape[:2]) < SIDE:
        return image[None]
    places = [(y, x) for y in _starts(image.shape[0]) for x in _starts(image.shape[1])]
    count = min(most, 1 << (len(places) - 1).bit_length())
    chosen = np.linspace(0, len(places) - 1, count).round().astype(int)
    corners = [places[index] for index in chosen]
    return np.stack([image[y : y + SIDE, x : x + SIDE] for y, x in corners])


def _starts(length: int) -> list[int]:
    """Returns evenly spread starts of patches that cover a side."""
    last = (length - SIDE) // 16
    count = -(-length // SIDE)
    return sorted({16 * round(last * i / max(count - 1, 1)) for i in range(count)})


def of_images(images: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Returns patches of several images, at most `most`, as many of each.

    Images lower or narrower than a patch are left out unless all of them are; then
    they are padded to the largest by repeating their last pixels.
    """
    large = [image for image in images if min(image.shape[:2]) >= SIDE]
    if large:
        each = min(MOST, 1 << max(most // len(large), 1).bit_length() - 1)
        return np.concatenate([cut(image, each) for image in large])[:most]
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    return np.stack(
        [
            np.pad(
                image,
                ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)),
                "edge",
            )
            for image in images[:most]
        ]
    )
