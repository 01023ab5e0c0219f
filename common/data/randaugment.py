"""RandAugment (arXiv 1909.13719) with EfficientNet's operations and level scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from common.data.transforms import Example, RandomMap
from common.errors import ConfigError

# Constants of the EfficientNet scripts, which MaxViT's training followed.
MAX_LEVEL = 10.0  # nominal; recipes go beyond
GREY = (128, 128, 128)
ROTATE_DEGREES = 30.0
SHEAR = 0.3
POSTERIZE_BITS = 4
SOLARIZE_THRESHOLD = 256
SOLARIZE_ADD = 110
TRANSLATE_PIXELS = 100
CUTOUT_PIXELS = 40

_NEAREST = Image.Resampling.NEAREST
_AFFINE = Image.Transform.AFFINE


@dataclasses.dataclass(frozen=True)
class RandAugment(RandomMap):
    """Applies `num_layers` operations drawn with replacement, at one magnitude.

    Magnitudes above the nominal 10 extrapolate the level scale linearly; where the
    result would be invalid it is clipped (see `level_value`). At the recipe's 15:
    rotation 45 degrees, shear 0.45, translation 150 pixels, cutout of 120 x 120
    pixels, enhancement factor 2.8, 6 bits, and solarize changes nothing.

    Shifts and cutout are in pixels whatever the image size, as in the original, which
    ran on 224-pixel images.
    """

    num_layers: int = 2
    magnitude: float = 10.0

    def __post_init__(self):
        if self.num_layers < 0 or self.magnitude < 0:
            raise ConfigError(
                "RandAugment needs num_layers and magnitude of at least 0, given "
                f"{self.num_layers} and {self.magnitude}"
            )

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:
        """Replaces the PIL RGB image by the augmented one, of the same size."""
        image = element["image"]
        for _ in range(self.num_layers):
            name = NAMES[rng.integers(len(NAMES))]
            image = apply(name, image, self.magnitude, rng)
        return {**element, "image": image}


def level_value(name: str, magnitude: float) -> float:
    """Returns the argument of an operation at a magnitude.

    Whole-number arguments are truncated, as in the original. Clipped are: bits to
    [1, 8] (0 bits would erase the image) and the solarize threshold to 256 (above it
    no pixel is inverted). AutoContrast, Equalize and Invert have no argument: 0.
    """
    level = magnitude / MAX_LEVEL
    match name:
        case "Rotate":
            return level * ROTATE_DEGREES
        case "Posterize":
            return min(max(int(level * POSTERIZE_BITS), 1), 8)
        case "Solarize":
            return min(int(level * SOLARIZE_THRESHOLD), SOLARIZE_THRESHOLD)
        case "SolarizeAdd":
            return int(level * SOLARIZE_ADD)
        case "Color" | "Contrast" | "Brightness" | "Sharpness":
            return level * 1.8 + 0.1
        case "ShearX" | "ShearY":
            return level * SHEAR
        case "TranslateX" | "TranslateY":
            return level * TRANSLATE_PIXELS
        case "Cutout":
            return int(level * CUTOUT_PIXELS)
    return 0.0


def apply(
    name: str, image: Image.Image, magnitude: float, rng: np.random.Generator
) -> Image.Image:
    """Applies one operation; geometric ones in a random direction.

    Args:
      name: one of `NAMES`.
      image: RGB.
      magnitude: 0 and above, nominally up to 10.
      rng: draws the direction, or the place of the cutout.
    """
    value = level_value(name, magnitude)
    if name == "Cutout":
        center = int(rng.integers(image.width)), int(rng.integers(image.height))
        return cutout(image, int(value), center)
    if name in _DIRECTED and rng.random() < 0.5:
        value = -value
    return _OPERATIONS[name](image, value)


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Rotates counter-clockwise about the centre; grey comes in."""
    return image.rotate(degrees, _NEAREST, fillcolor=GREY)


# Pillow samples at pixel centres, half a pixel from the corner; the shears take that
# half back, so that they fix the first row or column like the original.


def shear_x(image: Image.Image, factor: float) -> Image.Image:
    """Moves row `y` by `-factor * y` pixels; the top row stays, grey comes in."""
    return _affine(image, (1, factor, -factor / 2, 0, 1, 0))


def shear_y(image: Image.Image, factor: float) -> Image.Image:
    """Moves column `x` by `-factor * x` pixels; the left one stays, grey comes in."""
    return _affine(image, (1, 0, 0, factor, 1, -factor / 2))


def translate_x(image: Image.Image, pixels: float) -> Image.Image:
    """Moves the image to the left; grey comes in."""
    return _affine(image, (1, 0, pixels, 0, 1, 0))


def translate_y(image: Image.Image, pixels: float) -> Image.Image:
    """Moves the image up; grey comes in."""
    return _affine(image, (1, 0, 0, 0, 1, pixels))


def posterize(image: Image.Image, bits: float) -> Image.Image:
    """Keeps the highest `bits` bits of each value."""
    return ImageOps.posterize(image, int(bits))


def solarize(image: Image.Image, threshold: float) -> Image.Image:
    """Inverts values of at least `threshold`."""
    return ImageOps.solarize(image, int(threshold))


def solarize_add(image: Image.Image, addition: float) -> Image.Image:
    """Adds to values below 128, up to 255."""
    table = [min(v + int(addition), 255) if v < 128 else v for v in range(256)]
    return image.point(table * 3)


def cutout(image: Image.Image, half: int, center: tuple[int, int]) -> Image.Image:
    """Greys a box that reaches `half` pixels from `center` (x, y), clipped."""
    if not half:
        return image
    x, y = center
    result = image.copy()
    # The corners belong to Pillow's rectangle, so the far ones are one less.
    box = (x - half, y - half, x + half - 1, y + half - 1)
    ImageDraw.Draw(result).rectangle(box, fill=GREY)
    return result


def _affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, _AFFINE, matrix, _NEAREST, fillcolor=GREY)


_Operation = Callable[[Image.Image, float], Image.Image]

# Contrast is about the image's mean grey, as in Pillow. (The original computed that
# mean as pixels / 256, whatever the image showed.)
_OPERATIONS: dict[str, _Operation] = {
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Invert": lambda image, _: ImageOps.invert(image),
    "Rotate": rotate,
    "Posterize": posterize,
    "Solarize": solarize,
    "Color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "Contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "Brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "Sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
    "SolarizeAdd": solarize_add,
}
NAMES = (*_OPERATIONS, "Cutout")
_DIRECTED = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
