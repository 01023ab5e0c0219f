"""Small image files for tests, made from a fixed seed."""

import io

import numpy as np
from PIL import Image


def pixels(height, width, seed=0):
    """Smooth colour content, so that JPEG keeps it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height)))


def encoded(image, kind, **options):
    """Returns the bytes of an image file."""
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_folder(root, counts, kind="png"):
    """Writes `root/<class>/<number>.<kind>` with `counts` images per class."""
    for seed, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            path = root / name / f"{number:02d}.{kind}"
            Image.fromarray(pixels(24, 32, 100 * seed + number)).save(path)
    return root
