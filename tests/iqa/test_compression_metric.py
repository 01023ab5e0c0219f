"""The metrics: what holds for any weights, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from iqa import compression_metric as metric

# One program each: operation by operation it would take ten times as long.
score = jax.jit(metric.score, static_argnums=0)
difference = jax.jit(metric.difference, static_argnums=0)


def pictures(seed, side=24, width=32):
    return jax.random.normal(jax.random.key(seed), (2, side, width, 3))


@pytest.fixture(scope="module")
def distance():
    model = metric.create("distance", "small", dropout=0.5)
    images = pictures(0)
    return model, jax.jit(model.init)(jax.random.key(1), images, images[None])


@pytest.fixture(scope="module")
def concatenation():
    model = metric.create("concatenation", "small", dropout=0.5)
    images = pictures(0)
    return model, jax.jit(model.init)(jax.random.key(1), images, images[None])


def test_a_reference_is_worth_0_and_all_else_less(distance):
    model, variables = distance
    x, y = pictures(0), pictures(2)
    np.testing.assert_allclose(score(model, variables, x, x), 0, atol=1e-6)
    assert np.all(score(model, variables, x, y) < 0)
    # Both ways round the same.
    np.testing.assert_allclose(
        *(score(model, variables, *both) for both in ((x, y), (y, x))), rtol=1e-6
    )
    # Though weights may have turned negative.
    turned = jax.tree.map(lambda leaf: -leaf if leaf.ndim == 1 else leaf, variables)
    np.testing.assert_array_equal(score(model, turned, x, y) < 0, np.full(2, True))


@pytest.mark.parametrize("name", ["distance", "concatenation"])
def test_swapping_the_pictures_swaps_the_probability(name, request):
    model, variables = request.getfixturevalue(name)
    x, y, z = (pictures(seed) for seed in (0, 2, 3))
    gaps = [difference(model, variables, x, *two) for two in ((y, z), (z, y))]
    np.testing.assert_allclose(
        metric.probability(gaps[0]), 1 - metric.probability(gaps[1]), atol=1e-6
    )
    np.testing.assert_allclose(difference(model, variables, x, y, y), 0, atol=1e-6)


def test_any_size_and_a_gradient_where_pictures_are_equal(distance):
    model, variables = distance
    for side, width in ((32, 32), (33, 50)):
        x, y = pictures(0, side, width), pictures(2, side, width)
        assert score(model, variables, x, y).shape == (2,)
    x = pictures(0)
    slope_at = jax.jit(jax.grad(lambda y, x: score(model, variables, x, y).sum()))
    for reference in (x, jnp.zeros_like(x)):
        slope = slope_at(reference, reference)
        assert np.isfinite(slope).all()
        np.testing.assert_allclose(slope, 0, atol=1e-7)


@pytest.mark.parametrize("name", ["distance", "concatenation"])
def test_chance_does_not_decide_between_equal_versions(name, request):
    """Dropout leaves out the same for all versions of a reference."""
    model, variables = request.getfixturevalue(name)
    x, y = pictures(0), pictures(2)
    train = jax.jit(
        lambda key: model.apply(
            variables, x, jnp.stack([y, y]), train=True, rngs={"dropout": key}
        )
    )
    scores = [train(jax.random.key(seed)) for seed in (0, 1)]
    np.testing.assert_array_equal(scores[0][0], scores[0][1])
    assert np.any(scores[0] != scores[1])


def test_the_usual_taps_of_vgg():
    model = metric.create("distance", "vgg16")
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    versions = jax.ShapeDtypeStruct((1, 1, 32, 32, 3), jnp.float32)
    found = jax.eval_shape(model.init, jax.random.key(0), image, versions)
    params = dict(found["params"])
    trunk = params.pop("backbone")
    assert {name: leaf.shape for name, leaf in params.items()} == {
        **{
            f"weight_{tap}": (width,)
            for tap, width in zip(
                metric.VGG_TAPS, (64, 128, 256, 512, 512), strict=True
            )
        },
        "gain": (),
        "seen": (),
    }
    # No classifier: the convolutions of VGG-16 have 14,714,688 weights and biases.
    assert sum(leaf.size for leaf in jax.tree.leaves(trunk)) == 14_714_688


def test_pooled_features_of_a_network_without_maps():
    model = metric.create("concatenation", "resnet20", image_size=32)
    image = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    versions = jax.ShapeDtypeStruct((2, 2, 32, 32, 3), jnp.float32)
    found = jax.eval_shape(model.init, jax.random.key(0), image, versions)
    assert found["params"]["hidden1"]["kernel"].shape == (3 * 64, 512)
    out = jax.eval_shape(model.apply, found, image, versions)
    assert (out.shape, out.dtype) == ((2, 2), jnp.float32)


def test_mistakes():
    for arguments, message in (
        (("distanse",), "did you mean 'distance'"),
        (("distance", "vgg_16"), "did you mean 'vgg16'"),
        (
            ("distance", "resnet20"),
            "resnet20 has no feature maps to compare: use small",
        ),
        (("concatenation", "small", ("conv1",)), "taps are of config.model.name=dist"),
        (("distance", "small", (), 1.0), r"dropout=1.0 must be in \[0, 1\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            metric.create(*arguments)
    model = metric.create("distance", "small", ("conv9",))
    with pytest.raises(ConfigError, match=r"config.model.taps 'conv9'"):
        jax.eval_shape(model.init, jax.random.key(0), pictures(0), pictures(0)[None])
