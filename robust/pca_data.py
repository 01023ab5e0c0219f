"""Data for noisy PCA: a made protocol, and real pictures with wrong ones among them."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np

from common.config import unknown
from common.errors import ConfigError, DataError

SETS = (
    "synthetic",
    "faces_occluded",
    "faces_foreign",
    "digits_occluded",
    "digits_foreign",
)
RATE = 0.3  # of wrong pictures; the synthetic protocol has 0.2


@dataclasses.dataclass(frozen=True)
class NoisyData:
    """Rows to fit, and clean ones to measure on.

    Attributes:
      train: `[N, d]`, in random order.
      noisy: bool `[N]`, which of them are wrong.
      test: `[M, d]`, clean.
      shape: of a row as a picture, or None.
    """

    train: np.ndarray
    noisy: np.ndarray
    test: np.ndarray
    shape: tuple[int, int] | None = None

    @property
    def clean_train(self) -> np.ndarray:
        """The clean rows of `train`."""
        return self.train[~self.noisy]


def make(name: str, seed: int) -> NoisyData:
    """Returns a data set.

    Args:
      name: "synthetic": 500 rows of 50 numbers, five directions and a little noise, a
        fifth of them outliers. "faces_occluded", "faces_foreign": the faces of the LFW
        subset in scikit-image, of which 30 % have a block of noise over them or are
        pictures of other things. "digits_occluded", "digits_foreign": the threes of
        scikit-learn's digits, the foreign ones being other digits.
      seed: of what is drawn.

    Raises:
      ConfigError: unknown name.
      DataError: scikit-image does not ship its faces.
    """
    if name not in SETS:
        raise ConfigError(unknown("data set of noisy PCA", name, SETS))
    rng = np.random.default_rng((seed, SETS.index(name)))
    if name == "synthetic":
        return _synthetic(rng)
    kind, _, noise = name.partition("_")
    own, others = _faces() if kind == "faces" else _digits()
    shape = own.shape[1:]
    own = own[rng.permutation(len(own))]
    held_out = len(own) // 5
    test, train = own[:held_out], own[held_out:]
    count = int(RATE * len(train))
    train = train.copy()
    if noise == "foreign":
        train[:count] = others[rng.permutation(len(others))[:count]]
    else:
        for picture in train[:count]:
            _occlude(picture, rng)
    noisy = np.arange(len(train)) < count
    order = rng.permutation(len(train))
    return NoisyData(_rows(train)[order], noisy[order], _rows(test), shape)


def _rows(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1)


def _synthetic(rng: np.random.Generator) -> NoisyData:
    """The protocol that acceptance is measured with: our own, not the paper's."""
    size, rows, outliers = 50, 500, 100
    basis = np.linalg.qr(rng.normal(size=(size, 5)))[0]
    spread = np.array([5, 4, 3, 2, 1.5])

    def clean(count: int) -> np.ndarray:
        inside = rng.normal(size=(count, 5)) * spread @ basis.T
        return inside + 0.1 * rng.normal(size=(count, size))

    x, test = clean(rows), clean(rows)
    other = np.linalg.qr(rng.normal(size=(size, 3)))[0]
    shift = rng.normal(size=size) * 6 / np.sqrt(size)
    x[:outliers] = 6 * rng.normal(size=(outliers, 3)) @ other.T + shift
    order = rng.permutation(rows)
    return NoisyData(x[order], (np.arange(rows) < outliers)[order], test)


def _occlude(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Puts a square of noise, half as wide as the picture, somewhere over it."""
    side = picture.shape[0] // 2
    top, left = rng.integers(0, picture.shape[0] - side + 1, 2)
    picture[top : top + side, left : left + side] = rng.random((side, side))


def _faces() -> tuple[np.ndarray, np.ndarray]:
    """Returns 100 faces and 100 other pictures, `[100, 25, 25]` in [0, 1]."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise DataError("scikit-image is not installed; it ships lfw_subset.npy")
    path = Path(spec.origin).parent / "data/lfw_subset.npy"
    if not path.is_file():
        raise DataError(f"the installed scikit-image does not ship {path}")
    pictures = np.load(path, allow_pickle=False)
    return pictures[:100], pictures[100:]


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns the threes and the other digits, `[N, 8, 8]` in [0, 1]."""
    from sklearn import datasets

    pictures, labels = datasets.load_digits(return_X_y=True)
    pictures = pictures.reshape(-1, 8, 8) / 16
    return pictures[labels == 3], pictures[labels != 3]
