"""Host transforms of one example: crops, resizes, flips, conversion to an array.

Each is a Grain transform of the example dict and touches only its `"image"`, a PIL
RGB image until `ToArray`. Resizing is Pillow's bicubic (a = -0.5) with antialiasing
unless a class says otherwise. A `size` is one side or (height, width).
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any

import grain
import numpy as np
from PIL import Image

from common.errors import ConfigError
from common.size import Size, height_width

Example = dict[str, Any]
_BICUBIC = Image.Resampling.BICUBIC
_CROP_ATTEMPTS = 10


class Map(grain.transforms.Map):
    """A transform without randomness; gives Grain's base class its types."""

    @abc.abstractmethod
    def map(self, element: Example) -> Example:  # pyrefly: ignore[bad-override]
        """Returns the transformed example."""


class RandomMap(grain.transforms.RandomMap):
    """A random transform; gives Grain's base class its types."""

    @abc.abstractmethod
    def random_map(  # pyrefly: ignore[bad-override]
        self, element: Example, rng: np.random.Generator
    ) -> Example:
        """Returns the transformed example; all randomness comes from `rng`."""


def _with_image(example: Example, image: Any) -> Example:
    return {**example, "image": image}


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop(RandomMap):
    """Crops a random area and aspect ratio and resizes it: one resampling.

    The area fraction is uniform in `area` and the logarithm of the aspect ratio
    (width / height) uniform in that of `ratio`; the defaults are those of the
    MaxViT recipe (arXiv 2204.01697, official utilities). A draw that does not fit
    is repeated up to ten times, then the largest centred crop of an allowed ratio is
    taken.
    """

    size: Size
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self):
        height_width(self.size)
        if not (0 < self.area[0] <= self.area[1] <= 1):
            raise ConfigError(f"a crop's area range is in (0, 1], given {self.area}")
        if not (0 < self.ratio[0] <= self.ratio[1]):
            raise ConfigError(f"a crop's ratio range is positive, given {self.ratio}")

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:
        """Replaces the image by the resized crop."""
        image = element["image"]
        height, width = height_width(self.size)
        box = self._box(image.width, image.height, rng)
        return _with_image(element, image.resize((width, height), _BICUBIC, box))

    def _box(
        self, width: int, height: int, rng: np.random.Generator
    ) -> tuple[int, int, int, int]:
        """Draws (left, top, right, bottom) inside the image."""
        log_ratio = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(_CROP_ATTEMPTS):
            area = width * height * rng.uniform(*self.area)
            ratio = math.exp(rng.uniform(*log_ratio))
            w = max(round(math.sqrt(area * ratio)), 1)
            h = max(round(math.sqrt(area / ratio)), 1)
            if w <= width and h <= height:
                left = int(rng.integers(width - w + 1))
                top = int(rng.integers(height - h + 1))
                return left, top, left + w, top + h
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w = min(width, max(round(height * ratio), 1))
        h = min(height, max(round(width / ratio), 1))
        left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h


@dataclasses.dataclass(frozen=True)
class RandomCrop(RandomMap):
    """Crops a random place, all equally likely; pixels stay as they are.

    Attributes:
      size: of the crop.
      resize: pixels of either side that the whole image is resized to before, its
        shape changing, as for NIMA (arXiv 1709.05424); 0 leaves it as it is.
        What is smaller than the crop then is enlarged, so that no black comes in.
    """

    size: Size
    resize: int = 0

    def __post_init__(self):
        height, width = height_width(self.size)
        if self.resize and self.resize < max(height, width):
            raise ConfigError(
                f"a crop of {height} x {width} does not fit into {self.resize} x "
                f"{self.resize} pixels"
            )

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:
        """Replaces the image by the crop."""
        image, (height, width) = element["image"], height_width(self.size)
        if self.resize:
            image = image.resize((self.resize, self.resize), _BICUBIC)
        image = _at_least(image, height, width)
        left = int(rng.integers(image.width - width + 1))
        top = int(rng.integers(image.height - height + 1))
        return _with_image(element, image.crop((left, top, left + width, top + height)))


def _at_least(image: Image.Image, height: int, width: int) -> Image.Image:
    """Enlarges an image that is lower or narrower, and keeps its shape."""
    factor = max(height / image.height, width / image.width)
    if factor <= 1:
        return image
    goal = (
        max(round(image.width * factor), width),
        max(round(image.height * factor), height),
    )
    return image.resize(goal, _BICUBIC)


@dataclasses.dataclass(frozen=True)
class PaddedCrop(RandomMap):
    """Shifts the picture by up to `padding` pixels; black comes in from outside.

    Padding and a random crop of the old size: how CIFAR is augmented (He et al.,
    arXiv 1512.03385, section 4.2). The picture is resized first where its size differs.
    """

    size: Size
    padding: int

    def __post_init__(self):
        height_width(self.size)
        if self.padding < 0:
            raise ConfigError(f"a padding is at least 0 pixels, given {self.padding}")

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:
        """Replaces the image by the crop."""
        image = Resize(self.size).map(element)["image"]
        left, top = (int(n) for n in rng.integers(2 * self.padding + 1, size=2))
        left, top = left - self.padding, top - self.padding
        box = (left, top, left + image.width, top + image.height)
        return _with_image(element, image.crop(box))


@dataclasses.dataclass(frozen=True)
class RandomFlip(RandomMap):
    """Mirrors left and right with probability 1/2."""

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:
        """Mirrors the image or leaves it."""
        if rng.random() < 0.5:
            return element
        flip = Image.Transpose.FLIP_LEFT_RIGHT
        return _with_image(element, element["image"].transpose(flip))


@dataclasses.dataclass(frozen=True)
class RandomAffine(RandomMap):
    """Rotates, shifts and scales about the centre: for digits, where a flip lies.

    Bilinear; what comes in from outside is black.

    Attributes:
      degrees: rotation, uniform in `[-degrees, degrees]`.
      translate: largest shift along each axis, as a fraction of the side.
      scale: range of the uniform scale factor; above 1 enlarges.
    """

    degrees: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self):
        if not (0 < self.scale[0] <= self.scale[1]):
            raise ConfigError(f"a scale range is positive, given {self.scale}")

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:
        """Replaces the image by its transformed version of the same size."""
        image = element["image"]
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        shift_x = image.width * rng.uniform(-self.translate, self.translate)
        shift_y = image.height * rng.uniform(-self.translate, self.translate)
        scale = rng.uniform(*self.scale)
        # Pillow maps output to input coordinates: the inverse transform.
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        x, y = image.width / 2, image.height / 2
        dx, dy = x + shift_x, y + shift_y
        matrix = (cos, sin, x - cos * dx - sin * dy, -sin, cos, y + sin * dx - cos * dy)
        moved = image.transform(
            image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
        return _with_image(element, moved)


@dataclasses.dataclass(frozen=True)
class CenterCrop(Map):
    """The crop that evaluation sees.

    Attributes:
      size: of the result.
      crop: how to get there:
        `"official"`: crop the centre, `side / (side + 32)` of the short edge, then
          resize (the 224-pixel MaxViT checkpoints, arXiv 2204.01697's code);
        a fraction in (0, 1], timm's `crop_pct`: resize the short edge to
          `side / crop_pct`, then crop the centre;
        `"squash"`: resize the whole image and let its shape change (the 384- and
          512-pixel checkpoints);
        `"native"`: crop the centre of the pixels as they are, for what resizing would
          hide; smaller images are enlarged.
    """

    size: Size
    crop: str | float = "official"

    def __post_init__(self):
        height_width(self.size)
        named = self.crop in ("official", "squash", "native")
        if not named and not (
            isinstance(self.crop, float | int) and 0 < self.crop <= 1
        ):
            raise ConfigError(
                "a centre crop is 'official', 'squash', 'native' or a fraction in "
                f"(0, 1], given {self.crop!r}"
            )

    def map(self, element: Example) -> Example:
        """Replaces the image by its evaluation crop."""
        image, (height, width) = element["image"], height_width(self.size)
        if self.crop == "squash":
            return _with_image(element, image.resize((width, height), _BICUBIC))
        if self.crop == "native":
            image = _at_least(image, height, width)
            left, top = (image.width - width) // 2, (image.height - height) // 2
            box = (left, top, left + width, top + height)
            return _with_image(element, image.crop(box))
        if self.crop == "official":
            return _with_image(element, _official_crop(image, height, width))
        return _with_image(element, _timm_crop(image, height, width, float(self.crop)))


def _official_crop(image: Image.Image, height: int, width: int) -> Image.Image:
    """Crops, then resizes; for a square size exactly the official arithmetic."""
    side = min(height, width)
    short = side / (side + 32) * min(image.width / width, image.height / height)
    w, h = max(int(short * width), 1), max(int(short * height), 1)
    left, top = (image.width - w + 1) // 2, (image.height - h + 1) // 2
    # Not resize(box=...): that would let the kernel see pixels outside the crop.
    cropped = image.crop((left, top, left + w, top + h))
    return cropped.resize((width, height), _BICUBIC)


def _timm_crop(
    image: Image.Image, height: int, width: int, fraction: float
) -> Image.Image:
    """Resizes, then crops, with the roundings of timm and torchvision."""
    goal_h, goal_w = int(height / fraction), int(width / fraction)
    if image.width * goal_h <= image.height * goal_w:
        goal_h = int(goal_w * image.height / image.width)
    else:
        goal_w = int(goal_h * image.width / image.height)
    resized = image.resize((goal_w, goal_h), _BICUBIC)
    left, top = round((goal_w - width) / 2), round((goal_h - height) / 2)
    return resized.crop((left, top, left + width, top + height))


@dataclasses.dataclass(frozen=True)
class Resize(Map):
    """Resizes the whole image, changing its shape where the aspect ratio differs."""

    size: Size

    def __post_init__(self):
        height_width(self.size)

    def map(self, element: Example) -> Example:
        """Replaces the image by the resized one."""
        height, width = height_width(self.size)
        image = element["image"].resize((width, height), _BICUBIC)
        return _with_image(element, image)


@dataclasses.dataclass(frozen=True)
class ToArray(Map):
    """Turns the PIL image into a contiguous uint8 array `[H, W, 3]`."""

    def map(self, element: Example) -> Example:
        """Replaces the image by its array."""
        return _with_image(element, np.asarray(element["image"]))
