"""Schedules against known values and identities, in float64."""

import numpy as np
import pytest

from common.errors import ConfigError
from deblur_diffusion import schedule

# Ten steps from 1e-6 to 0.5: beta, alpha_bar, variance, coef_x0, coef_xt.
TEN = np.array(
    [
        [0.0000010000, 0.9999990000, 0, 1, 0],
        [0.0555564444, 0.9444426111, 0.0000010000, 0.9999825006, 0.0000174923],
        [0.1111118889, 0.8395038086, 0.0384625103, 0.6727962875, 0.3263627954],
        [0.1666673333, 0.6995859475, 0.0890420139, 0.5083251276, 0.4877010497],
        [0.2222227778, 0.5441220150, 0.1464401603, 0.4077185684, 0.5811647089],
        [0.2777782222, 0.3929767690, 0.2086130641, 0.3375522685, 0.6382320334],
        [0.3333336667, 0.2619843817, 0.2741693730, 0.2831372865, 0.6715742275],
        [0.3888891111, 0.1601015084, 0.3417153866, 0.2369936351, 0.6869082975],
        [0.4444445556, 0.0889452646, 0.4097320362, 0.1951959634, 0.6871412737],
        [0.5000000000, 0.0444726323, 0.4767287501, 0.1560588096, 0.6741962640],
    ]
)


def test_known_coefficients():
    made = schedule.linear(1e-6, 0.5, 10)
    names = ("beta", "alpha_bar", "variance", "coef_x0", "coef_xt")
    for column, name in enumerate(names):
        values = getattr(made, name)
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, TEN[:, column], atol=1e-9, err_msg=name)


def test_levels_of_training():
    made = schedule.linear(*schedule.TRAINING).alpha_bar
    known = {
        1: 0.999999,
        2: 0.999992998,
        100: 0.9754425257,
        500: 0.5352504087,
        1000: 0.08178379205,
        1500: 0.003556003666,
        2000: 4.385978236e-05,
    }
    for step, value in known.items():
        assert made[step - 1] == pytest.approx(value, rel=1e-9)
    assert schedule.training_range() == (pytest.approx(4.385978236e-05, rel=1e-9), 1)


@pytest.mark.parametrize(
    ("steps", "beta_max", "last"),
    [(10, 0.01, 0.951), (30, 0.05, 0.466), (100, 0.1, 5.7e-3), (500, 0.02, 6.5e-3)],
)
def test_last_levels(steps, beta_max, last):
    made = schedule.linear(1e-6, beta_max, steps)
    assert made.alpha_bar[-1] == pytest.approx(last, rel=0.02)


@pytest.mark.parametrize("steps", [1, 10, 500])
def test_both_forms_of_the_mean_are_one(steps):
    """From the estimate of the signal, and from that of the noise."""
    made = schedule.linear(1e-6, 0.2, steps)
    rng = np.random.default_rng(0)
    z, noise = rng.normal(size=(2, steps))
    left = np.sqrt(1 - made.alpha_bar)
    z0 = (z - left * noise) / np.sqrt(made.alpha_bar)
    ours = made.coef_x0 * z0 + made.coef_xt * z
    theirs = (z - made.beta / left * noise) / np.sqrt(1 - made.beta)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_ddim_with_all_noise_is_the_posterior():
    made = schedule.linear(1e-6, 0.5, 10)
    z0, noise = 0.3, -1.2
    for t in range(2, 11):
        level, previous = made.alpha_bar[t - 1], made.alpha_bar[t - 2]
        root, direction, sigma = schedule.ddim(level, previous, 1.0)
        z = np.sqrt(level) * z0 + np.sqrt(1 - level) * noise
        ours = root * z0 + direction * noise
        expected = made.coef_x0[t - 1] * z0 + made.coef_xt[t - 1] * z
        assert ours == pytest.approx(expected, rel=1e-9)
        assert sigma**2 == pytest.approx(made.variance[t - 1], rel=1e-9)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((0.0, 0.5, 10), "beta_min"),
        ((0.1, 1.0, 10), "beta_max"),
        ((0.5, 0.1, 10), "rising"),
        ((1e-6, float("nan"), 10), "beta_max"),
        ((1e-6, 0.5, 0), "steps"),
        ((1e-6, 0.5, 2.0), "steps"),
    ],
)
def test_no_schedule(args, message):
    with pytest.raises(ConfigError, match=message):
        schedule.linear(*args)
