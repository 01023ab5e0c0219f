"""FID and KID: how far two sets of images are apart, as a network sees them.

    describe = distribution.pooled_features("inception_v2", variables, side=224)
    ours, theirs = distribution.Moments(), distribution.Moments()
    for batch in restored:
        ours.add(describe(batch))
    ...
    distribution.fid(ours, theirs)

FID is of Heusel et al. 2017 (arXiv 1706.08500), KID of Binkowski et al. 2018 (arXiv
1801.01401). Published numbers are of one network, the Inception of 2015 as TensorFlow
has it, on images that its own bilinear resize brought to 299 x 299 pixels; features of
another network or another resize give other numbers, which compare only among
themselves. What is here is what follows the network; it is NumPy float64 on the host.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from common.checkpoint import matching
from common.data import normalization
from common.errors import ConfigError, DataError
from common.models import registry
from common.size import Size, height_width

# Of eigenvalues below zero, or of asymmetry, to the largest: rounding.
_NEGATIVE = 1e-6


class Moments:
    """Mean and covariance of features that come in batches.

    Attributes:
      count: features seen.
      mean: float64 `[D]`, None before the first.
      scatter: float64 `[D, D]`, the sum of outer products of differences from the mean.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = None
        self.scatter: Any = None

    def add(self, features: Any) -> None:
        """Takes features `[N, D]`, of any float type.

        Raises:
          ValueError: they have another form or width.
          DataError: some are not finite.
        """
        batch = Moments()
        values = _check(features)
        if len(values):
            apart = values - values.mean(0)
            batch.count, batch.mean = len(values), values.mean(0)
            batch.scatter = apart.T @ apart
            self.merge(batch)

    def merge(self, other: Moments) -> None:
        """Takes what another, as of another process, has seen.

        The update of Chan et al. 1979, which subtracts no large numbers.

        Raises:
          ValueError: its features have another width.
        """
        if not other.count:
            return
        if not self.count:
            self.mean, self.scatter = np.zeros_like(other.mean), 0.0
        if self.mean.shape != other.mean.shape:
            raise ValueError(
                f"features of {len(self.mean)} and of {len(other.mean)} numbers"
            )
        count, gap = self.count + other.count, other.mean - self.mean
        between = self.count * other.count / count * np.outer(gap, gap)
        self.scatter = self.scatter + other.scatter + between
        self.mean = self.mean + gap * (other.count / count)
        self.count = count

    @property
    def covariance(self) -> np.ndarray:
        """float64 `[D, D]`, with the correction for sample size.

        Raises:
          DataError: fewer than two features were seen.
        """
        if self.count < 2:
            raise DataError(f"a covariance needs 2 samples or more, given {self.count}")
        return self.scatter / (self.count - 1)


class Kid(NamedTuple):
    """A kernel distance.

    Attributes:
      mean: over subsets; around 0, and as often below, where the sets are of one kind.
      std: of subsets, not of the mean.
    """

    mean: float
    std: float


def frechet_distance(mean_a: Any, cov_a: Any, mean_b: Any, cov_b: Any) -> float:
    """Returns the squared Wasserstein-2 distance of two Gaussian distributions.

    `|mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((sqrt(A) B sqrt(A))^(1/2))` (Dowson and
    Landau 1982). The last trace is the sum of the singular values of `sqrt(A) sqrt(B)`:
    so written, no matrix has to be regular and nothing is complex.

    Args:
      mean_a: `[D]`.
      cov_a: `[D, D]`, symmetric, without negative eigenvalues but for rounding.
      mean_b: `[D]`.
      cov_b: `[D, D]`.

    Returns:
      0 or more.

    Raises:
      ValueError: the shapes do not fit.
      DataError: a value is not finite, or a matrix is no covariance.
    """
    means = [np.asarray(mean, np.float64) for mean in (mean_a, mean_b)]
    covariances = [np.asarray(cov, np.float64) for cov in (cov_a, cov_b)]
    size = means[0].size
    shapes = [array.shape for array in (*means, *covariances)]
    if shapes != [(size,), (size,), (size, size), (size, size)]:
        raise ValueError(f"means [D] and covariances [D, D] are given as {shapes}")
    if not all(np.isfinite(array).all() for array in (*means, *covariances)):
        raise DataError("a mean or covariance has values that are not finite")
    roots = [_root(covariance) for covariance in covariances]
    shared = np.linalg.svd(roots[0] @ roots[1], compute_uv=False).sum()
    apart = np.square(means[0] - means[1]).sum()
    traces = sum(np.trace(covariance) for covariance in covariances)
    return max(float(apart + traces - 2 * shared), 0.0)


def fid(a: Any, b: Any) -> float:
    """Returns the Frechet distance of two sets of features.

    With few samples it is too large, by an amount that depends on the network and falls
    about as one over their number: people take 50,000 and compare only equal numbers.
    With fewer samples than features a covariance does not even have full rank.

    Args:
      a: `[N, D]` features, or `Moments` of them.
      b: the same of the other set; N may differ.

    Raises:
      ValueError: the features have another form or width.
      DataError: fewer than two samples in a set, or values that are not finite.
    """
    a, b = (_moments(which) for which in (a, b))
    return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)


def kid(
    features_a: Any,
    features_b: Any,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> Kid:
    """Returns the squared maximum mean discrepancy with the kernel `(x y / D + 1)^3`.

    Unlike that of FID its expectation does not depend on the number of samples: pairs
    of a sample with itself do not count. Papers often give 1000 times this.

    Args:
      features_a: `[N, D]`.
      features_b: `[M, D]`.
      subsets: that are drawn, each without repetition, from both sets.
      subset_size: samples of each; no more than the smaller set has. When both sets
        have just these, all subsets are the same and their deviation says nothing.
      seed: of the draws.

    Raises:
      ConfigError: fewer than one subset, or than two samples in it.
      ValueError: the features have another form or width.
      DataError: fewer than two samples in a set, or values that are not finite.
    """
    if subsets < 1 or subset_size < 2:
        raise ConfigError(
            f"subsets={subsets} must be at least 1, subset_size={subset_size} 2"
        )
    a, b = _check(features_a), _check(features_b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features of {a.shape[1]} and of {b.shape[1]} numbers")
    size = min(subset_size, len(a), len(b))
    if size < 2:
        raise DataError(
            f"KID needs 2 samples or more in a set, given {len(a)} and {len(b)}"
        )
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(subsets):
        drawn = (which[rng.permutation(len(which))[:size]] for which in (a, b))
        found.append(_discrepancy(*drawn))
    return Kid(float(np.mean(found)), float(np.std(found)))


def patches(
    images: Sequence[np.ndarray] | np.ndarray,
    size: Size = 64,
    stride: Size | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Cuts patches, of which few images have many: for the FID of patches.

    Args:
      images: `[H, W, C]` each, of any and of different sizes; one `[B, H, W, C]` too.
      size: side of a patch, in pixels, or (height, width).
      stride: from one to the next; None: `size`, so that they do not overlap.
      limit: so many are drawn where there are more. From images of the same sizes the
        same places are drawn, with the same seed.
      seed: of that draw.

    Returns:
      `[P, *size, C]`, copies, image by image and row by row. What a stride leaves
      at the right and below is not in any, nor are images smaller than a patch.

    Raises:
      ConfigError: a number is less than 1.
      ValueError: an image has another form.
      DataError: no image is as large as a patch.
    """
    height, width = height_width(size, "the size of patches")
    down, right = height_width(size if stride is None else stride, "stride")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit={limit} must be at least 1")
    places = []
    for number, image in enumerate(images):
        if image.ndim != 3:
            raise ValueError(f"an image is [H, W, C], given {image.shape}")
        rows = range(0, image.shape[0] - height + 1, down)
        columns = range(0, image.shape[1] - width + 1, right)
        places += [(number, row, column) for row in rows for column in columns]
    if not places:
        raise DataError(f"none of {len(images)} images has {height} x {width} pixels")
    if limit is not None and limit < len(places):
        drawn = np.random.default_rng(seed).permutation(len(places))[:limit]
        places = [places[index] for index in np.sort(drawn)]
    return np.stack(
        [images[n][row : row + height, col : col + width] for n, row, col in places]
    )


def load(backbone: str, path: str, side: int = 224) -> dict[str, Any]:
    """Reads published weights of a network of the registry, without its classifier.

    Args:
      backbone: a key of `common.models.registry.BACKBONES`.
      path: a file, or what this network's reader knows.
      side: of the images, in pixels, where the network depends on it.

    Raises:
      ConfigError: unknown name, or weights that do not fit.
      DataError: there is no such file.
    """
    network = registry.backbone(backbone, image_size=side)
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    target = jax.eval_shape(network.init, jax.random.key(0), images)
    found = registry.read_weights(backbone, path, target)
    variables, report = matching.match(target, found)
    report.raise_if_any()
    return variables


def pooled_features(
    backbone: str, variables: Mapping[str, Any], side: int | None = None
) -> Callable[[Any], np.ndarray]:
    """Returns a function from images to the features before the classifier.

    Args:
      backbone: a key of `common.models.registry.BACKBONES`.
      variables: of it, with `num_classes=0`, as `load` reads them.
      side: images are resized to it, bilinear and antialiased, as Pillow does and
        TensorFlow and PyTorch do not unless told to. None: they are taken as they are.

    Returns:
      A function of `[B, H, W, 3]` in [0, 1], or uint8, to float32 `[B, D]`. Images are
      normalised as the published weights expect it. It compiles for each shape.

    Raises:
      ConfigError: unknown name.
    """
    network = registry.backbone(backbone, image_size=side or 224)
    style = registry.normalization(backbone)

    @jax.jit
    def describe(variables: Mapping[str, Any], images: jax.Array) -> jax.Array:
        x = normalization.to_unit(images).astype(jnp.float32)
        if side is not None:
            shape = (len(x), side, side, x.shape[-1])
            x = jax.image.resize(x, shape, "bilinear", antialias=True)
        x = normalization.normalize(x * 255, style)
        return jnp.asarray(network.apply(variables, x))

    # As an argument the variables do not become constants of the program.
    held = functools.partial(describe, jax.tree.map(jnp.asarray, variables))
    return lambda images: np.asarray(held(jnp.asarray(images)))


def _moments(which: Any) -> Moments:
    if isinstance(which, Moments):
        return which
    found = Moments()
    found.add(which)
    return found


def _check(features: Any) -> np.ndarray:
    values = np.asarray(features, np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"features are [N, D], given {list(values.shape)}")
    if not np.isfinite(values).all():
        raise DataError("features have values that are not finite")
    return values


def _root(covariance: np.ndarray) -> np.ndarray:
    """Returns the symmetric root of a covariance."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    scale = np.abs(values).max()
    asymmetry = np.abs(covariance - covariance.T).max()
    if max(asymmetry, -values[0]) > _NEGATIVE * scale:
        raise DataError("a matrix is no covariance: not symmetric, or not positive")
    # With fewer samples than features most values are 0 but for rounding, whose root
    # would be large.
    noise = len(values) * np.finfo(np.float64).eps * scale
    return (vectors * np.sqrt(np.where(values > noise, values, 0))) @ vectors.T


def _discrepancy(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the unbiased estimate from as many samples of each, `[N, D]`."""
    count, width = a.shape
    within = 0.0
    for which in (a, b):
        kernel = (which @ which.T / width + 1) ** 3
        within += kernel.sum() - np.trace(kernel)
    across = ((a @ b.T / width + 1) ** 3).mean()
    return within / (count * (count - 1)) - 2 * across
