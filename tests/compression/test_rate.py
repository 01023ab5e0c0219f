"""Estimated rates against SciPy in float64, hard counts, and what a rate has to be."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import fft, special, stats

from common.errors import ConfigError
from compression import jpeg, learned_cdf, names, rate
from tests.compression.photographs import crop

KEY = jax.random.key(3)
NO_NOISE = tuple(np.zeros((1, 1, 1, 8, 8), np.float32) for _ in range(3))
TABLES = jpeg.quality_tables(50).astype(np.float32)


def own_coefficients(image):
    """The planes' DCT in float64 `[3, N, 64]`, by the text of JFIF and by SciPy."""
    red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = np.stack([luma - 128, (blue - luma) / 1.772, (red - luma) / 1.402])
    rows, columns = planes.shape[1] // 8, planes.shape[2] // 8
    blocks = planes.reshape(3, rows, 8, columns, 8).swapaxes(2, 3)
    return fft.dctn(blocks, axes=(3, 4), norm="ortho").reshape(3, -1, 64)


def own_differences(values):
    values = values.copy()
    values[:, 1:, 0] -= values[:, :-1, 0]
    return values


def own_nats(level, ratio):
    """Minus the logarithm of a Laplace density's mass around a level, in float64."""
    low, high = (ratio * (d - np.abs(level)) for d in (-0.5, 0.5))
    # Far out, SciPy's logarithm is that of zero.
    low, high = (
        np.where(x < -9, x - np.log(2), stats.laplace.logcdf(x)) for x in (low, high)
    )
    return -(high + np.log1p(-np.exp(low - high)))


def per_channel(tables):
    return np.asarray(tables, np.float64)[[0, 1, 1]].reshape(3, 1, 64)


@functools.cache
def photo(height=128, left=130):
    """A crop of the astronaut and its coefficients, without rounded planes."""
    image = crop(height=height, left=left)
    return image, jpeg.coefficients(image[None], rounding="noise")


@functools.cache
def learned():
    return rate.fit("learned_cdf", photo()[1])


def models():
    """All estimators, fitted to the photo."""
    return {n: learned() if n == "learned_cdf" else fitted(n) for n in rate.NAMES}


def fitted(name):
    return rate.fit(name, photo()[1])


dither, logits = jax.jit(rate.dither), jax.jit(learned_cdf.logits)


@jax.jit
def bits(model, coefficients, tables, noise=None):
    return model.bits(coefficients, tables, noise)


@jax.jit
def evaluate(model, coefficients, tables, noise):
    """The bits of one image and their gradients by coefficients and by tables."""
    one = lambda c, t: model.bits(c, t, noise)[0]  # noqa: E731
    return jax.value_and_grad(one, argnums=(0, 1))(coefficients, tables)


def at(model, coefficients, tables=None, step=0):
    """The same with noise."""
    tables = TABLES if tables is None else tables
    return evaluate(model, coefficients, tables, dither(KEY, step, coefficients))


def as_components(values):
    """`[3, N, 64]` as coefficients of one image with one row of ten blocks."""
    padded = np.zeros((3, 10, 64), np.float32)
    padded[:, : values.shape[1]] = values
    return tuple(padded.reshape(3, 1, 1, 10, 8, 8))


# Laplace


def test_laplace_is_that_of_scipy():
    image, coefficients = photo()
    noise = dither(KEY, 5, coefficients)
    values = own_differences(own_coefficients(image))
    scale = np.abs(values).mean(1, keepdims=True)
    levels = values / per_channel(TABLES)
    levels += np.stack([np.reshape(u, (-1, 64)) for u in noise])
    expected = own_nats(levels, per_channel(TABLES) / scale).sum() / np.log(2)
    result, _ = at(fitted("laplace"), coefficients, step=5)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=2e-6)


def test_laplace_in_extremes():
    """Where exponentials leave the range of float32, or hardly differ."""
    size = [0, 1e-4, 0.3, 0.4999, 0.5, 0.5001, 1, 3.7, 50, 900]
    for step, scale in ((1, 0.011), (255, 0.011), (255, 0.7), (1, 30), (1, 900)):
        level = np.array(size)
        values = np.zeros((3, len(size), 64))
        values[0, :, 9] = level * step
        own = own_nats(level, step / scale) / np.log(2)
        model = rate.Laplace(jnp.full((3, 8, 8), scale, jnp.float32))
        others = len(size) * (3 * 64 - 1) * own_nats(0.0, step / scale) / np.log(2)
        tables = np.full((2, 8, 8), step, np.float32)
        arguments = model, as_components(values), tables, NO_NOISE
        expected = own.sum() + others
        found, ((slope, *_), _) = evaluate(*arguments)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        slope = np.reshape(slope, (-1, 64))[:, 9]
        assert np.isfinite(slope).all()
        for place in (2, 7, 8):  # where the logarithm is smooth
            near = [own_nats(level[place] + d, step / scale) for d in (-1e-5, 1e-5)]
            expected = (near[1] - near[0]) / 2e-5 / step / np.log(2)
            np.testing.assert_allclose(slope[place], expected, rtol=2e-3, atol=1e-6)


def test_scale_is_of_clean_coefficients_and_has_no_gradient():
    image, coefficients = photo()
    model = fitted("laplace")
    expected = np.abs(own_differences(own_coefficients(image))).mean(1)
    np.testing.assert_allclose(model.scale.reshape(3, 64), expected, rtol=1e-4)
    total = jax.jit(jax.grad(lambda m, c: m.bits(c, TABLES).sum()))
    by_scale = total(model, coefficients)
    np.testing.assert_array_equal(by_scale.scale, 0)


def test_gradient_is_that_of_the_expectation():
    """T5, in float64: finite differences of the mean over the noise, of all entries."""
    image, coefficients = photo(height=32)
    values = own_differences(own_coefficients(image))[:, :, None]
    scale = np.abs(values).mean(1, keepdims=True)
    offsets = (np.arange(400)[:, None] + 0.5) / 400 - 0.5

    def expectation(tables):
        step = per_channel(tables)[:, :, None]
        nats = own_nats(values / step + offsets, step / scale)
        return nats.mean(2).sum(1) / np.log(2)

    change = 1e-3
    high, low = (expectation(TABLES * (1 + d)) for d in (change, -change))
    expected = (high - low).reshape(3, 8, 8) / (2 * change)
    expected = np.stack([expected[0], expected[1] + expected[2]]) / TABLES
    model = rate.fit("laplace", coefficients)

    @jax.jit
    def mean():
        one = lambda n: at(model, coefficients, step=n)[1][1]  # noqa: E731
        return jax.lax.map(one, jnp.arange(1000)).mean(0)

    found = mean()
    assert (np.abs(expected) > 0).all()
    np.testing.assert_allclose(found, expected, rtol=0.02)


# All of them


def test_gradients_are_finite_and_not_zero():
    _, coefficients = photo()
    for name, model in models().items():
        _, (by_values, by_table) = at(model, coefficients)
        assert by_table.shape == (2, 8, 8), name
        assert np.isfinite(by_table).all(), name
        # T6: a larger step never costs more.
        assert (np.asarray(by_table) < 0).all(), name
        for values in by_values:
            assert np.isfinite(values).all(), name
            assert np.abs(values).max() > 0, name


def test_larger_steps_cost_less():
    """T6, with each entry of both tables one and a half times as large."""
    _, coefficients = photo(height=32)
    several = np.repeat(TABLES[None], 129, axis=0)
    entries = several[:128].reshape(128, 128)
    entries[np.arange(128), np.arange(128)] *= 1.5
    batch = tuple(jnp.repeat(values, 129, axis=0) for values in coefficients)
    for name in ("laplace", "log_magnitude", "nonzero"):
        result = np.asarray(bits(fitted(name), batch, several), np.float64)
        assert (result[:128] < result[128]).all(), name


def test_flat_images_cost_nothing():
    for level, rounding in ((77, "noise"), (128, "hard")):
        image = np.full((1, 128, 64, 3), level, np.uint8)
        coefficients = jpeg.coefficients(image, rounding=rounding)
        # All blocks but the first, whose DC is no difference.
        coefficients = tuple(np.asarray(v - v[:, :1, :1]) for v in coefficients)
        for name in rate.NAMES:
            model = rate.fit(name, coefficients)
            result, (by_values, by_table) = at(model, coefficients)
            for array in (*by_values, by_table):
                assert np.isfinite(array).all(), name
            offset = getattr(model, "intercept", 0) * 128 * 64
            np.testing.assert_allclose(result, offset, atol=0.05, err_msg=name)


def test_what_was_empty_can_be_coded():
    """Models of a grey image are used for one in colour, and the other way round."""
    image, coefficients = photo()
    grey = np.repeat(image[..., 1:2], 3, axis=-1)[None]
    colourless = jpeg.coefficients(grey)
    for name in ("laplace", "learned_cdf"):
        model = rate.fit(name, colourless)
        more, (_, by_table) = at(model, coefficients)
        less, _ = at(model, colourless)
        assert np.isfinite(more), name
        assert more > 1.1 * less, name
        assert np.isfinite(by_table).all(), name


def test_only_the_difference_of_dc_is_coded():
    values = np.zeros((3, 10, 64))
    values[0, :, 0] = [32] * 3 + [32 + 5 * 16] * 7
    for name, first, later in (
        ("nonzero", 1, 1),
        ("log_magnitude", np.log2(3), np.log2(6)),
    ):
        kind = {"nonzero": rate.Nonzero, "log_magnitude": rate.LogMagnitude}[name]
        result, _ = at(kind(1.0, 0.0), as_components(values))
        np.testing.assert_allclose(result, first + later, rtol=1e-6)
    scale = rate.scales(as_components(values))
    np.testing.assert_allclose(scale[0, 0, 0], (32 + 80) / 10)
    found, _ = evaluate(rate.Laplace(scale), as_components(values), TABLES, NO_NOISE)
    own = own_nats(np.array([2, 5] + [0] * 8), 16 / 11.2).sum() / np.log(2)
    np.testing.assert_allclose(found, own, rtol=1e-5)


def test_batch_is_a_loop_and_each_image_may_have_its_tables():
    images = np.stack([crop(height=128, top=t, left=t) for t in (0, 96, 200)])
    coefficients = jpeg.coefficients(images)
    several = np.stack([jpeg.quality_tables(q) for q in (20, 50, 80)])
    several = several.astype(np.float32)
    for name, model in models().items():
        noise = dither(KEY, 0, coefficients)
        together = bits(model, coefficients, several, noise)
        assert together.shape == (3,)
        alone = [
            at(
                model, tuple(np.asarray(v)[i : i + 1] for v in coefficients), several[i]
            )[0]
            for i in range(3)
        ]
        np.testing.assert_allclose(together, alone, rtol=1e-5, err_msg=name)
    three = np.concatenate([several, 2 * several[:, 1:]], axis=1)
    swapped = coefficients[0], coefficients[2], coefficients[1]
    one, two = (
        bits(rate.Nonzero(1.0, 0.0), values, tables)
        for values, tables in ((coefficients, three), (swapped, three[:, [0, 2, 1]]))
    )
    np.testing.assert_allclose(one, two, rtol=1e-6)


def test_halved_chroma():
    image, _ = photo()
    half = jpeg.coefficients(image[None], "4:2:0")
    model, of_full = rate.fit("learned_cdf", half), learned()
    assert half[1].shape == (1, 8, 4, 8, 8)
    ours, theirs = (bits(m, half, TABLES)[0] for m in (model, of_full))
    assert 0 < ours < theirs
    # The chroma's blocks are seen as often as those of the luma, in the same units.
    values, widths = rate._training_data(half, model.scale)
    assert values.shape == (128, 192)
    np.testing.assert_array_equal(values[:32, 64:], values[96:, 64:])
    np.testing.assert_allclose(np.abs(values).mean(0), 1, rtol=1e-5)
    expected = per_channel(TABLES).reshape(192) / np.reshape(model.scale, 192)
    np.testing.assert_allclose(widths, expected, rtol=1e-6)


# Counts


def test_counts_are_exact_on_integers():
    _, coefficients = photo()
    levels = jpeg.quantize(coefficients, TABLES)
    whole = jpeg.dequantize(levels, TABLES)
    codes = [np.array(part, int).reshape(-1, 64) for part in levels]
    for part in codes:
        part[1:, 0] -= part[:-1, 0].copy()
    codes = np.abs(codes)
    pixels = 128 * 64
    magnitude = 3 * np.log2(1 + codes).sum() + 0.5 * pixels
    result, _ = at(rate.LogMagnitude(3.0, 0.5), whole)
    np.testing.assert_allclose(result, magnitude, rtol=1e-5)
    result, _ = at(rate.Nonzero(7.0, -0.25), whole)
    np.testing.assert_allclose(result, 7 * (codes > 0).sum() - 0.25 * pixels, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (rate.LogMagnitude(1.0, 0.0), lambda q: np.log2(1 + np.abs(q))),
        (rate.Nonzero(1.0, 0.0), lambda q: np.abs(q) > 0),
    ],
)
def test_counts_are_expectations_between_integers(model, count):
    values = np.zeros((3, 7, 64))
    values[1, :, 12] = [0.0, 5.0, -9.9, 24.0, -31.0, 160.0, 1000.0]
    step = TABLES[1].ravel()[12]
    offsets = (np.arange(100_000)[:, None] + 0.5) / 100_000 - 0.5
    expected = count(np.round(values[1, :, 12] / step + offsets)).mean(0).sum()
    result, ((_, slope, _), _) = at(model, as_components(values))
    np.testing.assert_allclose(result, expected, rtol=1e-4)
    # The first four are in the dead zone of a rounded level, or near it.
    slope = np.reshape(slope, (-1, 64))[:, 12] * step
    assert slope[0] == 0
    np.testing.assert_allclose(slope[1:3], [1, -1], rtol=1e-5)


def test_pixels_are_those_of_the_luma():
    coefficients = jpeg.coefficients(np.zeros((2, 33, 17, 3), np.uint8), "4:2:0")
    result = bits(rate.Nonzero(0.0, 2.0), coefficients, TABLES)
    np.testing.assert_allclose(result, [2 * 48 * 32] * 2)


# The learned density


def test_learned_distribution_is_monotone():
    model = learned()
    line = jnp.linspace(-200, 200, 4001)[:, None] * jnp.ones(192)
    assert (np.diff(logits(model.params, line), axis=0) > 0).all()
    # So it is with any parameters.
    draw = np.random.default_rng(0).normal
    wild = jax.tree.map(lambda x: draw(size=x.shape, scale=3.0), model.params)
    assert (np.diff(logits(wild, line), axis=0) >= 0).all()


def test_learned_mass_is_a_difference_and_sums_to_one():
    params = learned().params
    width = np.float32(0.5)
    values = width * jnp.arange(-4000, 4001)[:, None] * jnp.ones(192)
    found = np.asarray(jax.jit(learned_cdf.log_mass)(params, values, width / 2))
    np.testing.assert_allclose(np.exp(found).sum(0), 1, rtol=1e-3)
    low, high = (
        special.expit(np.asarray(logits(params, x), np.float64))
        for x in (values - width / 2, values + width / 2)
    )
    np.testing.assert_allclose(np.exp(found), high - low, rtol=1e-3, atol=1e-7)


def test_learned_bits_are_those_of_its_density():
    image, coefficients = photo()
    model, noise = learned(), dither(KEY, 4, coefficients)
    levels = own_differences(own_coefficients(image)) / per_channel(TABLES)
    levels += np.stack([np.reshape(u, (-1, 64)) for u in noise])
    widths = per_channel(TABLES) / np.asarray(model.scale, np.float64).reshape(3, 1, 64)
    low, high = (
        logits(model.params, np.concatenate((levels + d) * widths, axis=1))
        for d in (-0.5, 0.5)
    )
    low, high = (special.expit(np.asarray(x, np.float64)) for x in (low, high))
    expected = -np.log2(np.maximum(high - low, 1e-9)).sum()
    result, _ = at(model, coefficients, step=4)
    np.testing.assert_allclose(result, expected, rtol=1e-3)


def test_learned_beats_laplace_on_what_it_has_not_seen():
    _, held = photo(left=194)
    for quality in (25, 50, 75, 90):
        tables = jpeg.quality_tables(quality).astype(np.float32)
        ours, theirs = (
            at(model, held, tables)[0] for model in (learned(), fitted("laplace"))
        )
        assert ours < 0.98 * theirs, quality


def test_likelihood_has_a_floor():
    model = learned()
    zeros = jax.tree.map(jnp.zeros_like, photo()[1])
    outlier = (zeros[0].at[0, 3, 3, 7, 7].set(1e5), *zeros[1:])
    zero, far = (at(model, values)[0] for values in (zeros, outlier))
    assert 20 < far - zero < -np.log2(1e-9) + 1e-3


# Noise


def test_noise_is_uniform_and_even():
    _, coefficients = photo()
    noise = dither(jax.random.key(1), 0, coefficients)
    assert [u.shape for u in noise] == [(1, 16, 8, 8, 8)] * 3
    values = np.stack([np.reshape(u, (128, 64)) for u in noise])
    assert np.abs(values).max() < 0.5
    # Evenly spread over the blocks, at every frequency: random points are 0.1 apart.
    expected = (np.arange(128) + 0.5)[:, None] / 128 - 0.5
    assert np.abs(np.sort(values, axis=1) - expected).max() < 0.04
    # But not the same at two frequencies, or of two components.
    assert len(np.unique(values[:, 0])) == 3 * 64
    # And over the steps at every place.
    steps = np.stack(
        [dither(jax.random.key(1), n, coefficients)[2][0, 3, 5] for n in range(64)]
    ).reshape(64, 64)
    expected = (np.arange(64) + 0.5)[:, None] / 64 - 0.5
    assert np.abs(np.sort(steps, axis=0) - expected).max() < 0.04


def test_noise_repeats():
    _, coefficients = photo()
    model, key = fitted("laplace"), jax.random.key(7)
    draws = [dither(k, n, coefficients) for k, n in ((key, 3), (key, 3), (key, 4))]
    first, same, other = (evaluate(model, coefficients, TABLES, u)[0] for u in draws)
    assert first == same
    assert first != other
    # Without, it is always the same.
    result = bits(model, coefficients, TABLES)
    np.testing.assert_allclose(result, first, rtol=0.1)
    assert result == bits(model, coefficients, TABLES)


def test_noise_does_not_wear_off():
    """A lattice in float32 would be coarse after some thousand steps and blocks."""
    coefficients = tuple(jnp.zeros((1, 256, 256, 8, 8)) for _ in range(3))
    noise = dither(jax.random.key(0), jnp.int32(2**30), coefficients)[0]
    assert len(np.unique(noise[0, -16:, :, 0, 0])) == 16 * 256


# What is refused


def test_unknown_names_and_shapes():
    _, coefficients = photo()
    with pytest.raises(ConfigError, match="did you mean 'laplace'"):
        rate.fit("laplas", coefficients)
    assert rate.NAMES == names.RATE_MODELS
    for model in (fitted("laplace"), rate.LogMagnitude(), rate.Nonzero()):
        with pytest.raises(ConfigError, match="tables have shape"):
            model.bits(coefficients, np.ones((4, 8, 8)))
