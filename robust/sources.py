"""Training data with something wrong, and with the knowledge of what it is."""

from __future__ import annotations

import copy
from typing import Any

import ml_collections
import numpy as np
from absl import logging

from common.config import unknown
from common.data import decode, sources
from common.data.sources import Source
from common.data.sources.chosen import Chosen
from common.data.sources.fake import FakeSource
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
      data: `config.data`, with the number of classes.
      noise: `config.noise`, checked.
      data_dir: where the data is.

    Returns:
      A source; where the truth is known, with `noise_mask`, bool `[N]`, and
      `true_labels`, int `[N]`.

    Raises:
      ConfigError: the noise does not fit the classes, or the source has no people's
        labels.
      DataError: a label is missing or is no class.
    """
    if noise.everything:
        plain = Joined(plain, sources.open_source(data, "eval", data_dir))
    if noise.kind == "none":
        return plain
    truth = _classes_of(plain, data.num_classes)
    if noise.kind in noises.IMAGE_KINDS:
        rng = np.random.default_rng((noise.seed, 1))
        mask = noises.exactly(len(plain), noise.rate, rng)
        spoilt = Corrupted(plain, truth, truth, mask, noise.kind, noise.seed)
    elif noise.kind == "human":
        labels = _human(data, noise.label_field, data_dir)
        spoilt = Corrupted(plain, labels, truth, labels != truth)
    else:
        noisy = noises.label_noise(
            noise.kind, truth, data.num_classes, noise.rate, noise.seed
        )
        spoilt = Corrupted(plain, noisy.labels, truth, noisy.mask)
    return Clean(spoilt) if noise.oracle else spoilt


def labels_of(source: Source) -> np.ndarray:
    """Reads the label of every example, int64 `[N]`, without decoding images.

    Raises:
      DataError: the data has no labels.
    """
    if not len(source) or "label" not in source[0]:
        raise DataError("config.noise needs data with labels")
    if isinstance(source, Joined):
        return np.concatenate([labels_of(part) for part in source.parts])
    if isinstance(source, FakeSource):
        # It would paint every image it is asked for, an hour for ImageNet's number.
        return np.arange(len(source)) % len(source.class_names)
    logging.info("reading the labels of %d examples", len(source))
    return np.array([source[i]["label"] for i in range(len(source))], np.int64)


def _classes_of(source: Source, num_classes: int) -> np.ndarray:
    """Reads all labels and refuses what is no class."""
    labels = labels_of(source)
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise DataError(
            f"config.noise needs labels in [0, {num_classes}), "
            f"{source[int(wrong[0])]['name']} has {labels[wrong[0]]}"
        )
    return labels


def _human(
    data: ml_collections.ConfigDict, field: str, data_dir: str | None
) -> np.ndarray:
    """Reads people's labels; generated data, for a trial run, stands for itself."""
    if data.source not in ("tfds", "fake"):
        raise ConfigError(
            "config.noise.kind=human: only config.data.source=tfds has people's "
            f"labels, given {data.source!r}"
        )
    if field == data.label_field:
        raise ConfigError(
            f"config.noise.label_field={field!r} is config.data.label_field, which "
            "names the true labels"
        )
    labelled = copy.deepcopy(data)
    labelled.label_field = field
    source = sources.open_source(labelled, "train", data_dir)
    return _classes_of(source, data.num_classes)


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
        example: dict[str, Any] = {
            **self._source[index],
            "label": int(self._labels[index]),
        }
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
        self.class_names = first.class_names
        self.parts = (first, second)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns an example of either."""
        first, second = self.parts
        if index < len(first):
            return first[index]
        return {**second[index - len(first)], "id": index}
