"""CX and CoBi in chunks against their whole matrices, and how much memory they take."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.losses.contextual import cobi, contextual

LOSSES = {"cx": contextual, "cobi": cobi}
NAME = "conv3_2"


def maps(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def flat(x):
    return x.reshape(len(x), -1, x.shape[-1])


def matrix(x, y, center):
    """Distances `[B, N, M]` of the definition."""
    x, y = flat(x), flat(y)
    mean = y.mean((0, 1) if center == "batch" else (1,), keepdims=True)
    x, y = x - mean, y - mean
    x /= jnp.linalg.norm(x, axis=-1, keepdims=True)
    y /= jnp.linalg.norm(y, axis=-1, keepdims=True)
    return (1 - jnp.einsum("bic,bjc->bij", x, y)) / 2


def whole_cx(x, y, center="batch", sigma=0.5):
    d = matrix(x, y, center)
    w = jnp.exp((1 - d / (d.min(2, keepdims=True) + 1e-5)) / sigma)
    cx = w / w.sum(2, keepdims=True)
    return -jnp.log(cx.max(1).mean(1))


def whole_cobi(x, y, center="batch", spatial_weight=0.1):
    def grid(height, width):
        rows, columns = (np.arange(side) for side in (height, width))
        places = [
            ((r + 0.5) / height, (c + 0.5) / width) for r in rows for c in columns
        ]
        return np.array(places)

    offsets = grid(*x.shape[1:3])[:, None] - grid(*y.shape[1:3])
    apart = np.linalg.norm(offsets, axis=-1)
    return (matrix(x, y, center) + spatial_weight * apart).min(2).mean(1)


WHOLE = {"cx": whole_cx, "cobi": whole_cobi}


@functools.cache
def compiled(kind, whole, options):
    """Returns the value, what each image adds to it, and the slope."""

    def loss(x, y, **arrays):
        if whole:
            layer = 3 * WHOLE[kind](x, y, **dict(options))
            return layer.mean(), layer
        value, layers = LOSSES[kind](
            {NAME: x}, {NAME: y}, {NAME: 3.0}, **dict(options), **arrays
        )
        return value, layers[NAME]

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def chunked(kind, x, y, key=None, **options):
    (value, layer), slope = compiled(kind, False, tuple(options.items()))(x, y, key=key)
    return value, layer, slope


def whole(kind, x, y, **options):
    """Returns the same of the whole matrix, in float64."""
    with jax.enable_x64(True):
        x, y = (jnp.asarray(v, jnp.float64) for v in (x, y))
        (value, layer), slope = compiled(kind, True, tuple(options.items()))(x, y)
    return np.asarray(value), np.asarray(layer), np.asarray(slope)


def check(kind, x, y, chunk, tolerance=1e-5, **options):
    value, layer, slope = chunked(kind, x, y, chunk=chunk, **options)
    expected, layers, slopes = whole(kind, x, y, **options)
    np.testing.assert_allclose(value, expected, rtol=tolerance)
    np.testing.assert_allclose(layer, layers, rtol=tolerance)
    largest = np.abs(slopes).max()
    assert largest > 1e-4
    np.testing.assert_allclose(slope, slopes, atol=tolerance * largest)


@pytest.mark.parametrize("kind", LOSSES)
# Chunks that do not fit, and one larger than the matrix; below there are some that fit.
@pytest.mark.parametrize(("center", "chunk"), [("batch", 9), ("image", 100)])
def test_chunks_are_the_whole(kind, center, chunk):
    x, y = maps(0, 2, 8, 7, 5), maps(1, 2, 5, 6, 5)
    check(kind, x, y, chunk, center=center)


def test_rows_that_fill_up_a_chunk_do_not_count():
    """They would be alike to all targets, and here nothing else is to most."""
    y = maps(1, 2, 5, 6, 5)
    x = y[:, :1, :1] + 0.3 * maps(0, 2, 8, 7, 5)
    check("cx", x, y, 9, 1e-4, center="batch")


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [("cx", "sigma", 0.1), ("cobi", "spatial_weight", 0.9)],
)
def test_constants(kind, option, value):
    x, y = maps(0, 2, 4, 4, 5), maps(1, 2, 4, 4, 5)
    check(kind, x, y, 4, 2e-5, **{option: value})


def test_layers_add_up():
    x, y = (
        {f"conv{k}_1": maps(seed + k, 2, 4, 4, 5) for k in range(2)} for seed in (0, 9)
    )
    weights = {"conv0_1": 1.0, "conv1_1": 0.25}
    for kind, loss in LOSSES.items():
        value, layers = jax.jit(loss)(x, y, weights)
        np.testing.assert_allclose(value, sum(layers.values()).mean(), rtol=1e-6)
        for name, weight in weights.items():
            alone = chunked(kind, x[name], y[name])[1] / 3
            np.testing.assert_allclose(layers[name], weight * alone, rtol=1e-5)


def test_equal_maps():
    x = maps(0, 2, 4, 4, 5)
    value, _, slope = chunked("cobi", x, x)
    np.testing.assert_allclose(value, 0, atol=1e-12)
    np.testing.assert_allclose(slope, 0, atol=1e-8)
    value, _, slope = chunked("cx", x, x)
    np.testing.assert_allclose(value, 0, atol=1e-3)
    assert np.abs(slope).max() < 1e-3


def test_where_features_are_counts_for_cobi_alone():
    x, y = maps(0, 2, 4, 4, 5), maps(1, 2, 4, 4, 5)
    turned = y[:, ::-1, ::-1]
    for kind, options, same in (
        ("cx", {}, True),
        ("cobi", {"spatial_weight": 0.0}, True),
        ("cobi", {}, False),
    ):
        ends = [chunked(kind, x, target, **options)[0] for target in (y, turned)]
        assert np.allclose(*ends, rtol=1e-5) == same


def test_drawn_positions():
    x, y, keys = maps(0, 2, 8, 8, 5), maps(1, 2, 8, 8, 5), map(jax.random.key, (0, 1))
    keys = list(keys)
    one, two = (chunked("cx", x, y, key, max_positions=20) for key in keys)
    assert one[0] != two[0]
    # The same places of both, or else of equal maps the loss would not be near 0.
    same = chunked("cx", x, x, keys[0], max_positions=20)[0]
    np.testing.assert_allclose(same, 0, atol=1e-3)
    used = np.any(one[2] != 0, axis=-1).sum((1, 2))
    assert np.all((used > 0) & (used <= 20))
    # The mean that is subtracted is of what was drawn.
    places = jax.random.permutation(jax.random.fold_in(keys[0], 0), 64)[:20]
    drawn = (flat(maps)[:, None, places] for maps in (x, y))
    np.testing.assert_allclose(one[0], chunked("cx", *drawn)[0], rtol=1e-5)
    # Nothing is drawn, and no key needed, where there are no more.
    every, limited = (
        jax.make_jaxpr(lambda x, n=n: contextual({"a": x}, {"a": y}, max_positions=n))
        for n in (None, 64)
    )
    assert str(every(x)) == str(limited(x))


def test_a_nan_is_not_lost():
    x, y = maps(0, 2, 4, 4, 5), maps(1, 2, 4, 4, 5)
    x[0, 0, 0, 0] = np.nan
    layer = chunked("cx", x, y, chunk=4, sigma=0.1)[1]
    np.testing.assert_array_equal(np.isnan(layer), [True, False])


@pytest.mark.parametrize("kind", LOSSES)
def test_memory_grows_like_the_side_of_the_matrix(kind):
    def taken(side):
        shape = jax.ShapeDtypeStruct((1, side, side, 4), jnp.float32)
        loss = lambda x, y: LOSSES[kind]({"a": x}, {"a": y}, chunk=32)[0]  # noqa: E731
        program = jax.jit(jax.value_and_grad(loss)).lower(shape, shape).compile()
        return program.memory_analysis().temp_size_in_bytes

    small, large = taken(32), taken(64)
    assert 2 < large / small < 6  # N grows 4 times, its square 16 times.
    assert large < 64**4 * 4 / 16  # The matrix of 4096 x 4096 alone takes 67 MB.


def test_what_is_refused():
    x = {"a": maps(0, 1, 4, 4, 3)}
    for options, message in (
        ({"center": "batsh"}, "did you mean 'batch'"),
        ({"chunk": 0}, "chunk=0"),
        ({"max_positions": 3}, "max_positions=3 needs a key"),
        ({"max_positions": 0, "key": jax.random.key(0)}, "max_positions=0"),
    ):
        for loss in LOSSES.values():
            with pytest.raises(ConfigError, match=message):
                loss(x, x, **options)
    for sigma in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="sigma"):
            contextual(x, x, sigma=sigma)
    with pytest.raises(ConfigError, match="spatial_weight"):
        cobi(x, x, spatial_weight=-0.1)
    with pytest.raises(ValueError, match="differ in shape"):
        cobi(x, {"a": maps(0, 1, 4, 4, 2)})
