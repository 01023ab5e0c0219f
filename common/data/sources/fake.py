"""Noise images with labels, for smoke runs and speed measurements without data."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.errors import ConfigError
from common.size import Size, height_width

NUM_CLASSES = 10
# As many as ImageNet-1k trains on, so that epochs keep their length; none is stored.
# Evaluation is shorter, our choice.
NUM_EXAMPLES = {"train": 1_281_167, "eval": 1024}


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
