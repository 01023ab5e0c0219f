"""Training data with something wrong, and with the knowledge of what it is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from common.config import unknown
from common.data import decode, sources
from common.data.sources import Source
from common.data.sources.chosen import Chosen
from common.errors import ConfigError, DataError
from robust import noise as noises

KINDS = ("none", "human", *noises.LABEL_KINDS, *noises.IMAGE_KINDS)


def check(noise: ml_collections.ConfigDict) -> None:
    """Checks `config.noise` without data.

    Raises:
      ConfigError: a field is unknown or out of range, or fields do not go together.
    """
    if noise.kind not in KINDS:
        raise ConfigError(unknown("config.noise.kind", noise.kind, KINDS))
    noises.check_rate(noise.rate)
    if not 0 <= noise.seed < 2**32:
        raise ConfigError(f"config.noise.seed={noise.seed} must be in [0, 2**32)")
    if (noise.kind == "human") != bool(noise.label_field):
        raise ConfigError(
            "config.noise.label_field names the feature with people's labels, for "
            f"kind=human and for no other, given {noise.label_field!r} and {noise.kind}"
        )
    if noise.kind == "none" and noise.oracle:
        raise ConfigError("config.noise.oracle needs a kind of noise to leave out")
    if noise.kind == "human" and noise.everything:
        raise ConfigError(
            "config.noise.everything: evaluation examples have no people's labels"
        )


def open_train(
    plain: Source,
    data: ml_collections.ConfigDict,
    noise: ml_collections.ConfigDict,
    data_dir: str | None,
) -> Source:
    """Returns the training data with its noise.

    Args:
      plain: the training data as it is.
      data: `config.data`.
      noise: `config.noise`, checked.
      data_dir: where the data is.

    Returns:
      A source; where the truth is known, with `noise_mask`, bool `[N]`, and
      `true_labels`, int `[N]`.

    Raises:
      ConfigError: the noise does not fit the classes.
      DataError: the data has no labels, or other examples with people's labels.
    """
    if noise.everything:
        plain = Joined(plain, sources.open_source(data, "eval", data_dir))
    if noise.kind == "none":
        return plain
    truth = labels_of(plain)
    if noise.kind in noises.IMAGE_KINDS:
        rng = np.random.default_rng((noise.seed, 1))
        mask = noises.exactly(len(plain), noise.rate, rng)
        spoilt = Corrupted(plain, truth, truth, mask, noise.kind, noise.seed)
    elif noise.kind == "human":
        labels = _human(data, noise.label_field, data_dir, len(plain))
        spoilt = Corrupted(plain, labels, truth, labels != truth)
    else:
        noisy = noises.label_noise(
            noise.kind, truth, data.num_classes, noise.rate, noise.seed
        )
        spoilt = Corrupted(plain, noisy.labels, truth, noisy.mask)
    return Clean(spoilt) if noise.oracle else spoilt


def labels_of(source: Source) -> np.ndarray:
    """Reads the label of every example, `[N]`, without decoding images.

    Raises:
      DataError: the data has no labels.
    """
    if "label" not in source[0]:
        raise DataError("label noise needs data with labels")
    return np.array([source[i]["label"] for i in range(len(source))], np.int64)


def _human(
    data: ml_collections.ConfigDict, field: str, data_dir: str | None, count: int
) -> np.ndarray:
    labelled = copy.deepcopy(data)
    labelled.label_field = field
    labels = labels_of(sources.open_source(labelled, "train", data_dir))
    if len(labels) != count:
        raise DataError(f"{len(labels)} labels in {field}, {count} training examples")
    return labels


class Corrupted:
    """A source with other labels, or with spoilt pictures.

    What happens to a picture follows from the seed and its id alone.
    """

    def __init__(
        self,
        source: Source,
        labels: np.ndarray,
        true_labels: np.ndarray,
        noise_mask: np.ndarray,
        kind: str | None = None,
        seed: int = 0,
    ):
        """Takes what is wrong with a source.

        Args:
          source: as it should be.
          labels: `[N]`, that training sees.
          true_labels: `[N]`.
          noise_mask: bool `[N]`, which examples are wrong.
          kind: of `noise.IMAGE_KINDS`, what is wrong with their pictures.
          seed: of the pictures' noise.
        """
        self.class_names = source.class_names
        self.true_labels = true_labels
        self.noise_mask = noise_mask
        self._source = source
        self._labels = labels
        self._kind = kind
        self._seed = seed

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns an example as training sees it."""
        example = {**self._source[index], "label": int(self._labels[index])}
        if self._kind is None or not self.noise_mask[index]:
            return example
        try:
            image = np.asarray(decode.decode(example["image"]))
        except Exception:  # left to the reader of all images, which counts them
            return example
        rng = np.random.default_rng((self._seed, 2, index))
        return example | {"image": noises.corrupt(image, self._kind, rng)}


class Clean(Chosen):
    """The right examples of a source: what an oracle would train on."""

    def __init__(self, source: Corrupted):
        """Takes a source that knows which of its examples are wrong.

        Raises:
          DataError: all are.
        """
        kept = np.flatnonzero(~source.noise_mask)
        if not len(kept):
            raise DataError("config.noise.oracle: no example is clean")
        super().__init__(source, kept)
        self.true_labels = source.true_labels[kept]
        self.noise_mask = np.zeros(len(kept), bool)


class Joined:
    """Two sources as one; ids of the second go on after those of the first."""

    def __init__(self, first: Source, second: Source):
        """Takes sources of the same classes."""
        self.class_names: Sequence[str] = first.class_names
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns an example of either."""
        if index < len(self._first):
            return self._first[index]
        example = self._second[index - len(self._first)]
        return {**example, "id": index}
