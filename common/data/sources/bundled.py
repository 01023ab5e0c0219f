"""Small real data that ships inside installed packages: no download, ever.

`digits` comes with scikit-learn; `photos`, and `photo_tiles` cut from them, with
scikit-image and scikit-learn.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from common.config import unknown
from common.data.sources import Source, photo_tiles
from common.data.sources.folder import ListSource
from common.errors import ConfigError, DataError

SETS = ("digits", "photos", "photo_tiles")

# Files inside the wheels of scikit-image 0.25 and later and scikit-learn. Photographs
# only, in colour and in grey: drawings, scans and the second view of the motorcycle
# stereo pair are left out.
_TRAIN_PHOTOS = (
    ("skimage", "data/brick.png"),
    ("skimage", "data/camera.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coins.png"),
    ("skimage", "data/grass.png"),
    ("skimage", "data/gravel.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/moon.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/retina.jpg"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)
# Our choice: three everyday photographs (a portrait, a cup, a building) that no
# training patch comes from.
_EVAL_PHOTOS = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/coffee.png"),
    ("sklearn", "datasets/images/china.jpg"),
)
# Photographs that are alike all over, so that a tile can tell which one it is from, and
# how much smaller each is made: the JPEG files at least by half again.
_TILED_PHOTOS = (
    ("skimage", "data/brick.png", 1.25),
    ("skimage", "data/chelsea.png", 1.25),
    ("skimage", "data/coins.png", 1.25),
    ("skimage", "data/grass.png", 1.25),
    ("skimage", "data/gravel.png", 1.25),
    ("skimage", "data/hubble_deep_field.jpg", 2.0),
    ("skimage", "data/ihc.png", 1.25),
    ("skimage", "data/moon.png", 1.25),
    ("skimage", "data/retina.jpg", 3.0),
    ("sklearn", "datasets/images/flower.jpg", 1.5),
)


class DigitsSource:
    """Scikit-learn's 1,797 handwritten digits, uint8 `[8, 8]`, 80/20 stratified.

    The original values are integers in `[0, 16]`; here they are scaled to
    `[0, 255]`. An example's name holds its position in scikit-learn's own order.
    """

    def __init__(self, split: str, split_seed: int = 0):
        """Loads and splits the digits.

        Args:
          split: `"train"` (1,437 examples) or `"eval"` (360 examples).
          split_seed: seed of the split; both splits must use the same.
        """
        from sklearn import datasets, model_selection

        digits: Any = datasets.load_digits()
        chosen = model_selection.train_test_split(
            np.arange(len(digits.target)),
            test_size=0.2,
            random_state=split_seed,
            stratify=digits.target,
        )[0 if split == "train" else 1]
        self._positions = np.sort(chosen)
        self._images = np.rint(digits.images[self._positions] * (255 / 16)).astype(
            np.uint8
        )
        self._labels = digits.target[self._positions]
        self.class_names = tuple(str(name) for name in digits.target_names)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns one digit and its class."""
        return {
            "image": self._images[index],
            "label": int(self._labels[index]),
            "id": index,
            "name": f"digits[{self._positions[index]}]",
        }


def open_bundled(name: str, split: str, split_seed: int = 0) -> Source:
    """Opens `digits`, `photos` or `photo_tiles`.

    Every photograph of `photos` is a class of its own and an example is the path
    of its file; thirteen are for training and three for evaluation. Of `photo_tiles`,
    which ten of them are cut to, both splits have every class.

    Raises:
      ConfigError: unknown name.
      DataError: an installed package lacks a file it used to ship.
    """
    if name == "digits":
        return DigitsSource(split, split_seed)
    if name == "photo_tiles":
        tiled = [(_installed(p, file), factor) for p, file, factor in _TILED_PHOTOS]
        return photo_tiles.PhotoTiles(tiled, split, split_seed)
    if name != "photos":
        raise ConfigError(unknown("bundled data set", str(name), SETS))
    photos = _TRAIN_PHOTOS + _EVAL_PHOTOS
    names = tuple(Path(file).stem for _, file in photos)
    chosen = _TRAIN_PHOTOS if split == "train" else _EVAL_PHOTOS
    files = [(_installed(*photo), photos.index(photo)) for photo in chosen]
    return ListSource(files, names)


def _installed(package: str, file: str) -> str:
    """Returns the path of a file inside an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise DataError(f"package {package!r} is not installed; it ships {file}")
    path = Path(spec.origin).parent / file
    if not path.is_file():
        raise DataError(f"the installed {package!r} does not ship {path}")
    return str(path)
