"""The sampler with networks whose answer is known, and noise that belongs to pixels."""

import logging

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common.errors import ConfigError, DataError
from deblur_diffusion import noise, sampler, schedule

TRACED = []


class Gaussian(nn.Module):
    """The best denoiser of a residual of independent pixels with a known variance."""

    variance: float
    size_multiple: int = 8

    def predict(self, blurry):
        return jnp.zeros_like(blurry)

    def denoise(self, z, alpha_bar, blurry):
        TRACED.append(z.shape)
        level = alpha_bar[:, None, None, None]
        return jnp.sqrt(1 - level) * z / (level * self.variance + 1 - level)


def draw(variance, steps, beta_max, num_samples=1, side=128, **options):
    blurry = jnp.full((1, side, side, 3), 0.5)
    key = jax.random.key(0)
    model = Gaussian(variance)
    return sampler.sample(
        key, model, {}, blurry, steps, beta_max, num_samples, **options
    )


@pytest.mark.parametrize(
    ("variance", "steps", "beta_max", "eta", "expected"),
    [
        (0.0025, 10, 0.5, 1.0, 1.00808e-4),
        (0.0025, 100, 0.1, 1.0, 1.33691e-3),
        (0.25, 10, 0.5, 1.0, 0.142855),
        (0.0025, 10, 0.5, 0.0, 1.26921e-4),
        (0.0025, 100, 0.1, 0.0, 1.6154e-3),
        (0.25, 10, 0.5, 0.0, 0.177042),
    ],
)
def test_variance_of_samples_is_the_known_one(variance, steps, beta_max, eta, expected):
    found = 2 * draw(variance, steps, beta_max, eta=eta)  # in [-1, 1]
    # Of 49,152 values the estimate of a variance deviates by 0.64 %.
    assert float(found.var()) == pytest.approx(expected, rel=0.02)


def test_one_program_for_all_steps():
    draw(0.25, 10, 0.5, side=16)
    TRACED.clear()
    for steps, beta_max in ((1, 0.5), (37, 0.01), (500, 0.02)):
        draw(0.25, steps, beta_max, side=16, eta=0.5)
    assert not TRACED


def test_an_image_has_its_result_whatever_the_batch():
    rng = np.random.default_rng(0)
    blurry = jnp.asarray(rng.random((3, 16, 24, 3)), jnp.float32)
    keys = jax.random.split(jax.random.key(1), 3)
    model = Gaussian(0.1)
    together = sampler.sample(keys, model, {}, blurry, 5, 0.3, 2)
    alone = sampler.sample(keys[1:2], model, {}, blurry[1:2], 5, 0.3, 2)
    np.testing.assert_allclose(together[:, 1:2], alone, atol=1e-6)
    # More samples leave the first ones as they are, and differ from each other.
    more = sampler.sample(keys[1:2], model, {}, blurry[1:2], 5, 0.3, 3)
    np.testing.assert_allclose(more[:2], alone, atol=1e-6)
    assert np.abs(more[1] - more[2]).max() > 0.1
    # A larger image has the same noise where the smaller one is.
    wide = jnp.pad(blurry[1:2], ((0, 0), (0, 8), (0, 8), (0, 0)))
    wide = sampler.sample(keys[1:2], model, {}, wide, 5, 0.3, 2)
    np.testing.assert_allclose(wide[:, :, :16, :24], alone, atol=1e-6)


def test_averages_come_nearer_to_the_mean():
    samples = draw(0.25, 50, 0.1, 8, side=32)
    assert samples.shape == (8, 1, 32, 32, 3)
    single = jnp.square(samples - 0.5).mean()
    mean = jnp.square(samples.mean(0) - 0.5).mean()
    assert float(single / mean) == pytest.approx(8, rel=0.15)
    spread = sampler.deviation(samples)
    assert spread.shape == (1, 32, 32)
    np.testing.assert_allclose(
        spread, np.std(np.asarray(samples), 0, ddof=1).max(-1), atol=1e-6
    )
    with pytest.raises(ConfigError, match="two samples"):
        sampler.deviation(samples[:1])


def test_tables_hold_no_more_than_the_network_knows():
    made = schedule.linear(1e-6, 0.5, 500)
    rows = sampler.table(made)
    assert np.isfinite(rows).all()
    low, high = schedule.training_range()
    assert rows[:, 0].min() >= np.float32(low)
    assert rows[:, 0].max() <= high
    with pytest.raises(ConfigError, match="more than 500"):
        sampler.table(schedule.linear(1e-6, 0.5, 501))
    with pytest.raises(ConfigError, match="eta"):
        sampler.table(made, 1.5)


def test_what_was_not_trained_is_clamped_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        assert sampler.clamp(600, 0.9) == (500, 0.5)
        assert sampler.clamp(0, 0.0) == (1, 1e-6)
    assert "steps=600: 500 are taken" in caplog.text
    assert "beta_max=0.9: 0.5 is taken" in caplog.text
    caplog.clear()
    assert sampler.clamp(10, 0.2) == (10, 0.2)
    assert not caplog.text


def test_arguments_that_cannot_be():
    with pytest.raises(DataError, match="multiples of 8"):
        draw(0.1, 5, 0.1, side=12)
    with pytest.raises(ConfigError, match="num_samples"):
        draw(0.1, 5, 0.1, 0, side=16)
    with pytest.raises(ConfigError, match="numbers"):
        draw(0.1, 5, float("nan"), side=16)
    with pytest.raises(DataError, match="images"):
        sampler.check_images(np.zeros((8, 8, 3)), 8)


def test_windows_of_noise_agree_and_are_normal():
    key = jax.random.key(5)
    whole = np.asarray(noise.field(key, 64, 80))
    window = noise.field(key, 20, 30, (13, 41))
    np.testing.assert_array_equal(window, whole[13:33, 41:71])
    assert stats.kstest(whole.ravel(), "norm").pvalue > 0.01
    flat = whole.reshape(-1, 3)
    others = [np.roll(whole, 1, axis).reshape(-1, 3) for axis in (0, 1)]
    for ours, theirs in [(flat, x) for x in others] + [(flat, flat[:, [1, 2, 0]])]:
        assert abs(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]) < 0.02
    other = noise.field(jax.random.key(6), 64, 80)
    assert abs(np.corrcoef(whole.ravel(), np.ravel(other))[0, 1]) < 0.02
