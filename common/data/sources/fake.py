"""Noise with labels, and noisy pairs: for smoke runs and speed without data."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from common.errors import ConfigError
from common.size import Size, height_width

NUM_CLASSES = 10
# As many as ImageNet-1k trains on, so that epochs keep their length; none is stored.
# Evaluation is shorter, our choice.
NUM_EXAMPLES = {"train": 1_281_167, "eval": 1024}
# Our choice: pairs are for tasks whose evaluation is slow.
NUM_PAIRS = {"train": 10_000, "eval": 16}
# Of the Gaussian noise, in 8-bit levels; a usual value in tests of denoising.
SIGMA = 25.0


class FakeSource:
    """Deterministic uint8 noise whose mean depends on the class.

    Example `i` has label `i % num_classes`. Class means are spread over
    `[64, 192]` and the noise has a standard deviation of about 37, so a model can
    learn the classes and still has an error to reduce.
    """

    def __init__(
        self,
        split: str,
        *,
        image_size: Size = 224,
        num_classes: int = NUM_CLASSES,
        num_examples: int | None = None,
    ):
        """Describes the source; images are made when they are read.

        Args:
          split: `"train"` or `"eval"`; the noise of the two differs.
          image_size: side, or (height, width), in pixels.
          num_classes: number of labels, at least 1.
          num_examples: length of the source, at least 1; None: as in NUM_EXAMPLES.

        Raises:
          ConfigError: a size or count below 1.
        """
        if num_examples is None:
            num_examples = NUM_EXAMPLES[split]
        if num_classes < 1 or num_examples < 1:
            raise ConfigError(
                "the fake source needs num_classes and num_examples of at least 1, "
                f"given {num_classes} and {num_examples}"
            )
        self.class_names = tuple(f"class_{i}" for i in range(num_classes))
        self._shape = (*height_width(image_size), 3)
        self._num_examples = num_examples
        self._stream = 0 if split == "train" else 1

    def __len__(self) -> int:
        return self._num_examples

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns a uint8 image `[H, W, 3]` and its label."""
        classes = len(self.class_names)
        label = index % classes
        mean = 64 + 128 * label // max(classes - 1, 1)
        rng = np.random.default_rng((self._stream, index))
        # Uniform in mean +- 64 stays inside [0, 255]: no clipping is needed.
        image = rng.integers(mean - 64, mean + 64, self._shape, dtype=np.uint8)
        return {"image": image, "label": label, "id": index, "name": f"fake[{index}]"}


class FakePairs:
    """Deterministic smooth colours as `"target"`, and with noise as `"image"`.

    The target is a random 4 x 4 grid of colours, enlarged; the noise is Gaussian of
    standard deviation `SIGMA`, rounded and clipped to uint8. So a model can learn to
    remove it.
    """

    class_names = ()

    def __init__(
        self, split: str, *, image_size: Size = 256, num_examples: int | None = None
    ):
        """Describes the source; images are made when they are read.

        Args:
          split: `"train"` or `"eval"`; their images differ.
          image_size: side, or (height, width), in pixels.
          num_examples: length of the source, at least 1; None: as in NUM_PAIRS.

        Raises:
          ConfigError: a size or count below 1.
        """
        if num_examples is None:
            num_examples = NUM_PAIRS[split]
        if num_examples < 1:
            raise ConfigError(
                f"fake pairs need num_examples of at least 1, given {num_examples}"
            )
        self._height, self._width = height_width(image_size)
        self._num_examples = num_examples
        self._stream = 0 if split == "train" else 1

    def __len__(self) -> int:
        return self._num_examples

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns two uint8 images `[H, W, 3]`."""
        rng = np.random.default_rng((self._stream, index))
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        size = self._width, self._height
        target = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
        noise = SIGMA * rng.standard_normal(target.shape, dtype=np.float32)
        image = np.rint(np.clip(target + noise, 0, 255)).astype(np.uint8)
        name = f"fake pair[{index}]"
        return {"image": image, "target": target, "id": index, "name": name}
