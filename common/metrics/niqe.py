"""NIQE: how natural an image looks, without a reference and without opinions.

Mittal, Soundararajan and Bovik 2013, "Making a 'Completely Blind' Image Quality
Analyzer" (doi 10.1109/LSP.2012.2227726), in the numbers of the authors' MATLAB release.
NumPy float64 on the host.

    model = niqe.load("modelparameters.mat")
    niqe.score(image, model)  # lower is better
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.checkpoint import weights
from common.data import decode
from common.data.sources import folder
from common.errors import ConfigError, DataError
from common.metrics import scene_statistics
from common.metrics.scene_statistics import BLOCK, FEATURES

# Least share of the sharpest block's sharpness that a block of a natural image has to
# have; section II-B.
SHARPNESS = 0.75
# The names of mean and covariance in the authors' file, and in that of BasicSR.
_MAT = ("mu_prisparam", "cov_prisparam")
_NPZ = ("mu_pris_param", "cov_pris_param")
# Of eigenvalues below zero to the largest: rounding.
_NEGATIVE = 1e-6


class Model(NamedTuple):
    """What natural images are like: a Gaussian distribution of features.

    Attributes:
      mean: float64 `[36]`.
      covariance: float64 `[36, 36]`.
    """

    mean: np.ndarray
    covariance: np.ndarray


def score(image: np.ndarray, model: Model, *, luma: str = "ycbcr") -> float:
    """Returns the distance of an image from natural ones: lower is better.

    Args:
      image: `[H, W]`, `[H, W, 1]` or `[H, W, 3]` on the scale [0, 255], of any number
        type. What exceeds a multiple of 96 pixels at the right and below is not looked
        at.
      model: of `load` or `fit`.
      luma: what is looked at of colours, rounded to whole levels. "ycbcr": Y of
        MATLAB's rgb2ycbcr in [16, 235], as BasicSR and most papers on restoration;
        "gray": MATLAB's rgb2gray, as the authors' release.

    Returns:
      0 or more; NaN where fewer than two blocks have features, of an image smaller
      than two blocks or too flat.

    Raises:
      ConfigError: unknown `luma`.
      ValueError: the image has another shape or values that are not finite.
    """
    found, _ = scene_statistics.describe(image, luma)
    complete = found[np.isfinite(found).all(1)]
    if len(complete) < 2:
        return math.nan
    # As in the release: a block without some feature still counts for the others.
    apart = model.mean - np.nanmean(found, axis=0)
    pooled = (model.covariance + np.cov(complete, rowvar=False)) / 2
    # MATLAB's tolerance; NumPy's would keep what is noise of a matrix of this size.
    inverse = np.linalg.pinv(pooled, rcond=FEATURES * np.finfo(np.float64).eps)
    return math.sqrt(max(float(apart @ inverse @ apart), 0.0))


def features(image: np.ndarray, *, luma: str = "ycbcr") -> np.ndarray:
    """Returns what `score` compares: float64 `[blocks, 36]`, row by row of the image.

    The first 18 are of the image, the others of one of half the size: the shape and the
    scale of its distribution, then of the products of neighbours to the right, below
    and on both diagonals the shape, the mean and the scales at the left and at the
    right. NaN where a block is so flat that a side of a distribution is empty.

    Args:
      image: see `score`.
      luma: see `score`.

    Raises:
      ConfigError, ValueError: see `score`.
    """
    return scene_statistics.describe(image, luma)[0]


def fit(
    images: str | os.PathLike[str] | Iterable[np.ndarray | str | os.PathLike[str]],
    *,
    luma: str = "ycbcr",
    sharpness: float = SHARPNESS,
) -> Model:
    """Makes a model from natural images without distortions.

    The authors took 125 photographs of 480 x 320 to 1280 x 720 pixels.

    Args:
      images: a folder whose images are read, or paths, and arrays as for `score`.
      luma: see `score`; scores need the same.
      sharpness: blocks count whose mean local deviation is above this share of the
        largest one in their image.

    Raises:
      ConfigError: unknown `luma` or a `sharpness` outside [0, 1).
      DataError: a file cannot be read, or there are too few sharp blocks: 37 have a
        covariance that can be inverted, thousands a good one.
      ValueError: an image has another shape or values that are not finite.
    """
    if not 0 <= sharpness < 1:
        raise ConfigError(f"sharpness={sharpness} is not in [0, 1)")
    rows, count = [np.empty((0, FEATURES))], 0
    for image in _listed(images):
        if not isinstance(image, np.ndarray):
            image = np.asarray(decode.read(image))
        found, deviation = scene_statistics.describe(image, luma)
        rows.append(found[deviation > sharpness * deviation.max(initial=0)])
        count += 1
    selected = np.concatenate(rows)
    complete = selected[np.isfinite(selected).all(1)]
    if len(complete) <= FEATURES:
        raise DataError(
            f"a model of NIQE needs more than {FEATURES} sharp blocks of {BLOCK} x "
            f"{BLOCK} pixels, found {len(complete)} in {count} images"
        )
    return Model(np.nanmean(selected, axis=0), np.cov(complete, rowvar=False))


def save(path: str | os.PathLike[str], model: Model) -> None:
    """Writes a model that `load` reads, and BasicSR.

    Args:
      path: `.npz`.
      model: of `fit`.

    Raises:
      ConfigError: the suffix is another.
    """
    if Path(path).suffix != ".npz":
        raise ConfigError(f"a model of NIQE is written to .npz, not to {path}")
    weights.save(path, dict(zip(_NPZ, model, strict=True)))


def load(path: str | os.PathLike[str]) -> Model:
    """Reads a model.

    Args:
      path: the authors' `modelparameters.mat`, which holds `mu_prisparam` and
        `cov_prisparam`, or a `.npz` of `save` or of BasicSR, which holds
        `mu_pris_param` and `cov_pris_param`. Other content is not looked at.

    Raises:
      ConfigError: another suffix, a broken file, or an array that is missing, of
        another shape, not finite or no covariance.
      DataError: there is no such file.
    """
    path = Path(path)
    names = _MAT if path.suffix == ".mat" else _NPZ
    arrays = _read_mat(path) if path.suffix == ".mat" else _read_npz(path)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ConfigError(f"{path}: {' and '.join(missing)} missing")
    mean, covariance = (arrays[name] for name in names)
    shapes = ((FEATURES,), (FEATURES, FEATURES))
    for name, array, shape in zip(names, (mean, covariance), shapes, strict=True):
        if array.size != math.prod(shape) or array.shape[-1:] != (FEATURES,):
            raise ConfigError(
                f"{path}: {name} has shape {list(array.shape)}, expected {list(shape)}"
            )
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ConfigError(f"{path}: {name} has values that are not finite numbers")
    model = Model(
        mean.astype(np.float64).reshape(shapes[0]),
        covariance.astype(np.float64).reshape(shapes[1]),
    )
    _check_covariance(f"{path}: {names[1]}", model.covariance)
    return model


def _read_mat(path: Path) -> dict[str, np.ndarray]:
    from scipy import io

    if not path.is_file():
        raise DataError(f"no model of NIQE at {path}")
    try:
        return io.loadmat(path, variable_names=_MAT)
    except Exception as error:
        # Of a file that is cut off or none of MATLAB's, SciPy raises many types.
        raise ConfigError(f"{path} is broken or no .mat before 7.3: {error}") from error


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    if path.suffix != ".npz":
        raise ConfigError(f"a model of NIQE is a .mat or .npz file, given {path}")
    return weights.load(path, select=lambda names: [n for n in names if n in _NPZ])


def _check_covariance(where: str, matrix: np.ndarray) -> None:
    scale = np.abs(matrix).max()
    symmetric = np.allclose(matrix, matrix.T, rtol=0, atol=_NEGATIVE * scale)
    if not symmetric or np.linalg.eigvalsh(matrix)[0] < -_NEGATIVE * scale:
        raise ConfigError(f"{where} is no covariance: not symmetric, or not positive")


def _listed(
    images: str | os.PathLike[str] | Iterable[np.ndarray | str | os.PathLike[str]],
) -> Iterable[np.ndarray | str | os.PathLike[str]]:
    """Returns the images in a folder, sorted, or what is given."""
    if not isinstance(images, str | os.PathLike):
        return images
    root = Path(images)
    if not root.is_dir():
        raise DataError(f"no folder {root}")
    return sorted(p for p in root.iterdir() if p.suffix.lower() in folder.EXTENSIONS)
