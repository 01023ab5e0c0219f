"""Noise schedules of the diffusion, in float64.

A schedule is a list of variances `beta` of the steps t = 1 to T, with what follows from
it. It is computed in float64, since in float32 `1 - alpha_bar` of the first step is off
by more than 1 %, and rounded at the end.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from common.errors import ConfigError

# Of training (SR3's, arXiv 2104.07636, which the code bases around this paper share).
TRAINING = (1e-6, 1e-2, 2000)
# Longest of the inference schedules of the paper's search; sizes the sampler's tables.
MAX_STEPS = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """Coefficients of every step; float64 `[T]`, entry t - 1 is of step t.

    With `alpha_bar_0 = 1`, the reverse step from the estimate `z0` of the clean signal
    is `z_{t-1} = coef_x0 z0 + coef_xt z_t + sqrt(variance) n`, the posterior of the
    forward process (arXiv 2112.02475, equations 3 and 4).

    Attributes:
      beta: variance that step t adds.
      alpha_bar: share of the signal's variance that is left after step t, the product
        of `1 - beta` so far.
      variance: of the reverse step; 0 for t = 1.
      coef_x0: of the estimate of the clean signal.
      coef_xt: of the noisy signal.
    """

    beta: np.ndarray
    alpha_bar: np.ndarray
    variance: np.ndarray
    coef_x0: np.ndarray
    coef_xt: np.ndarray

    @property
    def steps(self) -> int:
        """T."""
        return len(self.beta)


def linear(beta_min: float, beta_max: float, steps: int) -> Schedule:
    """Returns a schedule whose variances rise linearly.

    Args:
      beta_min: of the first step.
      beta_max: of the last, less than 1 and at least `beta_min`.
      steps: T, at least 1; of a single step the variance is `beta_max`.

    Raises:
      ConfigError: numbers that make no schedule.
    """
    if type(steps) is not int or steps < 1:
        raise ConfigError(f"steps={steps!r} must be a whole number from 1 on")
    if not 0 < beta_min <= beta_max < 1:
        raise ConfigError(
            f"beta_min={beta_min} and beta_max={beta_max} must be rising in (0, 1)"
        )
    if steps == 1:
        return from_beta(np.array([beta_max]))
    return from_beta(np.linspace(beta_min, beta_max, steps))


def from_beta(beta: np.ndarray) -> Schedule:
    """Returns a schedule of given variances `[T]`, each in (0, 1)."""
    beta = np.asarray(beta, np.float64)
    alpha = 1 - beta
    after = np.cumprod(alpha)
    before = np.concatenate([[1.0], after[:-1]])
    left = 1 - after
    return Schedule(
        beta=beta,
        alpha_bar=after,
        variance=beta * (1 - before) / left,
        coef_x0=beta * np.sqrt(before) / left,
        coef_xt=(1 - before) * np.sqrt(alpha) / left,
    )


def training_range() -> tuple[float, float]:
    """Returns the lowest and the highest `alpha_bar` that training shows."""
    return float(linear(*TRAINING).alpha_bar[-1]), 1.0


def ddim(alpha_bar: float, previous: float, eta: float) -> tuple[float, float, float]:
    """Returns a step between two levels (arXiv 2010.02502, equation 12).

    `z_p = sqrt(previous) z0 + direction * noise_hat + sigma * n`. On neighbouring
    levels of a schedule `eta=1` is the posterior's step.

    Args:
      alpha_bar: of the noisier level.
      previous: of the level to go to, higher.
      eta: 0 for none of the randomness, 1 for all.

    Returns:
      `sqrt(previous)`, `direction` and `sigma`.
    """
    sigma = eta * math.sqrt((1 - previous) / (1 - alpha_bar))
    sigma *= math.sqrt(1 - alpha_bar / previous)
    direction = math.sqrt(max(1 - previous - sigma**2, 0.0))
    return math.sqrt(previous), direction, sigma
