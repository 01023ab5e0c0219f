"""Principal components of data that is partly wrong.

Every example is an expert: the weights move by exponentiated gradient, and mean and
basis are those that are best for the weights, in closed form. The experiment is one of
arXiv 2104.01493's; its protocol was not at hand, and this one is ours.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.config import unknown
from common.errors import ConfigError, DataError
from common.train import reweighting

# Ours: exponentiated gradient, alone, kept from gathering by a cap or by a pull, and
# with steps of gradient in place of the closed form. Then the rivals.
WEIGHTED = ("eg", "eg_cap", "eg_pull", "oja")
METHODS = (*WEIGHTED, "pca", "trimmed", "l1", "oracle")
_RIVAL_STEPS = 100


@dataclasses.dataclass(frozen=True)
class Fit:
    """What `fit` found, float64.

    Attributes:
      mean: `[d]`.
      basis: `[d, k]`, orthonormal.
      weights: `[N]`, sum 1.
      objective: `[T, 2]`, what is minimised, after each step of the weights and after
        each step of mean and basis: the weighted error and, with a pull, its share
        `pull / eta` of the divergence from equal weights. It never rises. Empty for
        methods without weights.
    """

    mean: np.ndarray
    basis: np.ndarray
    weights: np.ndarray
    objective: np.ndarray

    def errors(self, x: np.ndarray) -> np.ndarray:
        """Returns the squared distance of each row to its reconstruction, `[N]`."""
        centred = x - self.mean
        inside = centred @ self.basis
        return np.sum(centred**2, 1) - np.sum(inside**2, 1)


def fit(
    x: np.ndarray,
    components: int,
    method: str = "eg_cap",
    *,
    eta: float | None = None,
    clean_fraction: float = 0.75,
    pull: float | None = None,
    iterations: int = 200,
    tolerance: float = 1e-8,
    clean: np.ndarray | None = None,
) -> Fit:
    """Fits mean and basis.

    Args:
      x: `[N, d]`, finite.
      components: `k`, at least 1 and below both N and d.
      method: "eg"; "eg_pull", which forgets; "eg_cap", with a cap besides; "oja", as
        "eg_cap" with `U <- qr(U + step S U)`; or a rival: "pca", "trimmed" (the
        smallest errors, again and again), "l1" (PCA-L1, non-greedy, Nie et al. 2011),
        "oracle" (PCA of the clean rows).
      eta: rate of the weights in units of 1 / (mean error of plain PCA); by default 1
        with a pull and 0.05 without (our choice).
      clean_fraction: low guess of the share of clean rows: `m / N` of the cap 1 / m,
        and what "trimmed" keeps.
      pull: towards equal weights, in [0, 1); by default 0 for "eg" and else 0.2, our
        choice: without it the weights never recover from a first basis that outliers
        have taken.
      iterations: at most.
      tolerance: it ends when the weights change by less than this in divergence.
      clean: bool `[N]`, for "oracle".

    Raises:
      ConfigError: unknown method, or a number out of range.
      DataError: `x` is no finite matrix, or `clean` no mask of it.
    """
    pull = (0.0 if method == "eg" else 0.2) if pull is None else pull
    eta = (1.0 if pull else 0.05) if eta is None else eta
    x = _check(x, components, method, clean_fraction, pull, clean)
    if not (np.isfinite(eta) and eta > 0 and iterations >= 1):
        raise ConfigError(
            f"eta is above 0 and iterations at least 1, given {eta} and {iterations}"
        )
    inside, span = _in_span(x)
    with jax.enable_x64(True):
        if method == "l1":
            found = _l1(inside, components)
        elif method == "trimmed":
            found = _trimmed(inside, components, clean_fraction)
        elif method in WEIGHTED:
            capped = method in ("eg_cap", "oja")
            found = _weighted(
                inside,
                components,
                eta,
                clean_fraction * len(x) if capped else None,
                pull,
                iterations,
                tolerance,
                method == "oja",
            )
        else:
            rows = np.ones(len(x)) if clean is None or method == "pca" else clean
            found = _plain(inside, rows / np.sum(rows), components)
    if span is None:
        return found
    mean, basis = found.mean @ span, span.T @ found.basis
    return dataclasses.replace(found, mean=mean, basis=basis)


def _in_span(x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns coordinates of at most N numbers, and the directions they are along.

    Means and bases of N rows lie in the span of the rows; where they have more numbers
    than that, one singular value decomposition makes every step cheap.
    """
    if x.shape[1] <= x.shape[0]:
        return x, None
    left, values, span = np.linalg.svd(x, full_matrices=False)
    return left * values, span


def _weighted(x: np.ndarray, *arguments: Any) -> Fit:
    mean, basis, weights, objective, steps = jax.device_get(_alternate(x, *arguments))
    return Fit(mean, basis, weights, objective[:steps])


def _check(x, components, method, clean_fraction, pull, clean) -> np.ndarray:
    if method not in METHODS:
        raise ConfigError(unknown("method of noisy PCA", method, METHODS))
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise DataError(
            f"noisy PCA needs a finite matrix [N, d], given {list(x.shape)}"
        )
    if not 1 <= components < min(x.shape):
        raise ConfigError(
            f"components={components} must be at least 1 and below both sides of "
            f"{list(x.shape)}"
        )
    if not 1 <= clean_fraction * len(x) <= len(x):
        raise ConfigError(
            f"clean_fraction={clean_fraction} of {len(x)} rows: the cap 1 / m needs m "
            f"in [1, {len(x)}]"
        )
    if not 0 <= pull < 1:
        raise ConfigError(f"pull={pull} must be in [0, 1)")
    if method == "oracle":
        if clean is None:
            raise ConfigError("the oracle needs to be told which rows are clean")
        if np.shape(clean) != (len(x),) or np.sum(clean) <= components:
            raise DataError(
                f"clean is a mask of {len(x)} rows with more than {components} True"
            )
    return x


def _solve(x: jax.Array, w: jax.Array, components: int) -> tuple[jax.Array, jax.Array]:
    """Returns the best mean and basis for the weights."""
    mean = w @ x
    scaled = jnp.sqrt(w)[:, None] * (x - mean)
    _, vectors = jnp.linalg.eigh(scaled.T @ scaled)
    return mean, vectors[:, ::-1][:, :components]


def _errors(x: jax.Array, mean: jax.Array, basis: jax.Array) -> jax.Array:
    centred = x - mean
    return jnp.sum((centred - (centred @ basis) @ basis.T) ** 2, 1)


def _oja(x: jax.Array, w: jax.Array, basis: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One step of orthogonal iteration on `I + step S`: the error never rises."""
    mean = w @ x
    centred = x - mean
    moved = centred.T @ (w[:, None] * (centred @ basis))
    step = x.shape[1] / jnp.sum(w[:, None] * centred**2)
    return mean, jnp.linalg.qr(basis + step * moved)[0]


@functools.partial(jax.jit, static_argnums=(1, 3, 5, 7))
def _alternate(
    x: jax.Array,
    components: int,
    eta: float,
    cap: float | None,
    pull: float,
    iterations: int,
    tolerance: float,
    oja: bool,
) -> tuple[jax.Array, ...]:
    """Steps of the weights and of mean and basis in turn."""
    ids = jnp.arange(x.shape[0])
    state = reweighting.init(x.shape[0])
    mean, basis = _solve(x, reweighting.weights(state), components)
    scale = jnp.mean(_errors(x, mean, basis))
    rate = eta / jnp.where(scale > 0, scale, 1.0)

    def body(carry: Any) -> Any:
        step, state, mean, basis, objective, _ = carry
        errors = _errors(x, mean, basis)
        new = reweighting.pull(state, pull)
        new = reweighting.update(new, ids, errors, rate, "full")
        if cap is not None:
            new = reweighting.project_cap(new, cap)
        w, logw = reweighting.weights(new), reweighting.log_weights(new)
        mean, basis = _oja(x, w, basis) if oja else _solve(x, w, components)
        values = jnp.stack([w @ errors, w @ _errors(x, mean, basis)])
        values += pull / rate * _divergence(w, logw, -jnp.log(len(ids)))
        objective = objective.at[step].set(values)
        change = _divergence(w, logw, reweighting.log_weights(state))
        return step + 1, new, mean, basis, objective, change

    def going_on(carry: Any) -> jax.Array:
        return (carry[0] < iterations) & (carry[-1] >= tolerance)

    objective = jnp.zeros((iterations, 2), x.dtype)
    step, change = jnp.zeros((), int), jnp.asarray(jnp.inf, x.dtype)
    start = (step, state, mean, basis, objective, change)
    step, state, mean, basis, objective, _ = jax.lax.while_loop(going_on, body, start)
    return mean, basis, reweighting.weights(state), objective, step


def _divergence(w: jax.Array, logw: jax.Array, other: jax.Array) -> jax.Array:
    """KL; weights that are 0 add nothing, however far their logarithms are apart."""
    return jnp.sum(jnp.where(w > 0, w * (logw - other), 0.0))


_solve_once = jax.jit(_solve, static_argnums=2)


def _plain(x: np.ndarray, weights: np.ndarray, components: int) -> Fit:
    mean, basis = jax.device_get(_solve_once(x, weights, components))
    return Fit(mean, basis, weights, np.zeros((0, 2)))


def _trimmed(x: np.ndarray, components: int, kept: float) -> Fit:
    """PCA of the rows that it fits best, until they are the same ones."""
    count = max(int(kept * len(x)), components + 1)
    weights = np.full(len(x), 1 / len(x))
    found = _plain(x, weights, components)
    for _ in range(_RIVAL_STEPS):
        rows = np.argsort(found.errors(x), kind="stable")[:count]
        new = np.zeros(len(x))
        new[rows] = 1 / count
        if np.array_equal(new, weights):
            break
        weights, found = new, _plain(x, new, components)
    return found


def _l1(x: np.ndarray, components: int) -> Fit:
    """Maximises the sum of absolute projections; the basis begins as PCA's."""
    weights = np.full(len(x), 1 / len(x))
    found = _plain(x, weights, components)
    centred, basis = x - found.mean, found.basis
    for _ in range(_RIVAL_STEPS):
        signs = np.where(centred @ basis < 0, -1.0, 1.0)
        left, _, right = np.linalg.svd(centred.T @ signs, full_matrices=False)
        moved = left @ right
        if np.allclose(moved, basis, atol=1e-12):
            break
        basis = moved
    return Fit(found.mean, basis, weights, found.objective)
