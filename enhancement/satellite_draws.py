"""The random numbers of one satellite image: a stream for each stage, and a record."""

from __future__ import annotations

import numbers
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from common.data.degradations.base import Range, draw, ends
from common.errors import ConfigError

Meta = dict[str, float | int | str]


class Draws:
    """All randomness of one call.

    Every stage draws from a stream of its own, which follows from the key and the
    stage's name: switching one stage off leaves what the others draw.

    Attributes:
      meta: what was drawn, `"stage.name"` -> value, and for each stage that may be
        left out `"stage"` -> 1 if it ran, else 0. Plain numbers and text.
    """

    def __init__(self, key: Any):
        """Takes the key.

        Args:
          key: an int of at least 0, a sequence of such, or a JAX random key.

        Raises:
          ConfigError: it is something else.
        """
        self._entropy = _entropy(key)
        self.meta: Meta = {}

    def stage(self, name: str) -> Stage:
        """Returns the stream of a stage, from its start."""
        # The name, not the position: a new stage leaves the others' streams alone.
        spawn_key = (zlib.crc32(name.encode()),)
        seed = np.random.SeedSequence(self._entropy, spawn_key=spawn_key)
        return Stage(name, np.random.default_rng(seed), self.meta)


class Stage:
    """The stream of one stage.

    Attributes:
      rng: NumPy generator.
    """

    def __init__(self, name: str, rng: np.random.Generator, meta: Meta):
        self.rng = rng
        self._name = name
        self._meta = meta

    def runs(self, probability: float) -> bool:
        """Draws whether the stage runs, and records it."""
        # Drawn even where it is certain, so that what follows is the same.
        chosen = self.rng.random() < probability
        self._meta[self._name] = int(chosen)
        return chosen

    def number(self, name: str, value: Range) -> float:
        """Returns the number, or one of its range, and records it."""
        return self.keep(name, draw(value, self.rng))

    def whole(self, name: str, value: Range) -> int:
        """Returns a whole number of a range, its ends included, and records it."""
        low, high = ends(value)
        return self.keep(name, int(self.rng.integers(int(low), int(high) + 1)))

    def choice(
        self, name: str, options: Sequence[str], odds: Sequence[float] | None = None
    ) -> str:
        """Returns one of the options, equally likely without odds, and records it."""
        weights = np.ones(len(options)) if odds is None else np.asarray(odds, float)
        index = self.rng.choice(len(options), p=weights / weights.sum())
        chosen = options[index]
        return self.keep(name, chosen)

    def keep(self, name: str, value: Any) -> Any:
        """Records a value of the stage, and returns it."""
        self._meta[f"{self._name}.{name}"] = value
        return value


def _entropy(key: Any) -> list[int]:
    """Returns whole numbers that tell keys apart.

    Raises:
      ConfigError: not a key.
    """
    words = key
    if hasattr(key, "dtype") and not isinstance(key.dtype, np.dtype):
        import jax  # a typed key, so that JAX is there already

        words = np.asarray(jax.random.key_data(key))
    elif hasattr(key, "dtype"):
        words = np.asarray(key)
    if isinstance(words, np.ndarray):
        words = words.tolist()
    words = list(words) if isinstance(words, Sequence) else [words]
    for word in words:
        whole = isinstance(word, numbers.Integral) and not isinstance(word, bool)
        if not whole or word < 0:
            raise ConfigError(
                f"key={key!r} must be an int of at least 0, a sequence of such or a "
                "JAX random key"
            )
    if not words:
        raise ConfigError("key is an empty sequence")
    # With their number in front: SeedSequence takes [5] and [5, 0] for the same.
    return [len(words), *map(int, words)]
