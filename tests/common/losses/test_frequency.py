"""The frequency loss against NumPy's full transform, and where it runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from common.errors import ConfigError
from common.losses.frequency import frequency

SIDES = [(8, 8), (7, 9), (6, 5), (1, 2), (2, 1)]
CASES = [(sides, d, "backward") for sides in SIDES for d in ("parts", "modulus")]
CASES += [((6, 9), "parts", "ortho"), ((6, 9), "modulus", "ortho")]


def images(shape, seed=0):
    return np.random.default_rng(seed).random((2, *shape)).astype(np.float32)


def full(prediction, target, distance, norm):
    """The definition: every coefficient of the full spectrum, float64."""
    spectrum = np.fft.fft2(
        prediction.astype(np.float64) - target, axes=(1, 2), norm=norm
    )
    if distance == "modulus":
        return np.abs(spectrum).mean((1, 2, 3))
    parts = np.stack([spectrum.real, spectrum.imag])
    return np.abs(parts).mean((0, 2, 3, 4))


@pytest.mark.parametrize(("sides", "distance", "norm"), CASES)
def test_half_spectrum_equals_the_full_one(sides, distance, norm):
    prediction, target = images((3, *sides, 3))
    expected = full(prediction, target, distance, norm)
    result = jax.jit(frequency, static_argnums=(2, 3))(
        prediction, target, distance, norm
    )
    assert result.shape == (3,)
    np.testing.assert_allclose(result, expected, rtol=2e-6)


@pytest.mark.parametrize("distance", ["parts", "modulus"])
def test_gradient_is_that_of_the_definition(distance):
    prediction, target = images((2, 5, 6, 1))
    weights = np.array([1.0, -2.0])
    loss = lambda x: frequency(x, target, distance) @ weights  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(prediction)
    step, expected = 1e-6, np.zeros(prediction.shape)
    for index in np.ndindex(*prediction.shape):
        shift = np.zeros(prediction.shape)
        shift[index] = step
        ends = [
            full(prediction + s * shift, target, distance, "backward") @ weights
            for s in (1, -1)
        ]
        expected[index] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize("distance", ["parts", "modulus"])
def test_ties_have_no_gradient(distance):
    image = images((2, 8, 8, 3))[0]
    loss = lambda x, y: frequency(x, y, distance).sum()  # noqa: E731
    both = jax.jit(jax.value_and_grad(loss))
    value, gradient = both(image, image)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    # A constant differs in one coefficient; the others are ties.
    gradient = both(image * 0 + 1, image * 0)[1]
    half = 2 if distance == "parts" else 1
    np.testing.assert_allclose(gradient, 1 / (8 * 8 * 3 * half), rtol=1e-5)


def test_half_precision_is_computed_in_float32():
    prediction, target = (jnp.asarray(x, jnp.bfloat16) for x in images((2, 16, 16, 3)))
    result, pull = jax.vjp(lambda x: frequency(x, target), prediction)
    exact = frequency(prediction.astype(jnp.float32), target.astype(jnp.float32))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, exact, rtol=1e-6)
    assert pull(jnp.ones(2))[0].dtype == jnp.bfloat16


def test_devices_transform_their_own_images():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    prediction, target = images((16, 8, 8, 3))
    loss = jax.jit(jax.value_and_grad(lambda x, y: frequency(x, y).mean()))
    sharded = jax.device_put((prediction, target), rows)
    compiled = loss.lower(*sharded).compile().as_text()
    assert "fft(" in compiled
    assert "all-gather" not in compiled
    for expected, result in zip(loss(prediction, target), loss(*sharded), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-8)


def test_what_is_refused():
    prediction, target = images((1, 4, 4, 3))
    with pytest.raises(ConfigError, match="did you mean 'modulus'"):
        frequency(prediction, target, "moduls")
    with pytest.raises(ConfigError, match="did you mean 'ortho'"):
        frequency(prediction, target, norm="orthogonal")
    with pytest.raises(ValueError, match="differ in shape"):
        frequency(prediction, target[..., :1])
    with pytest.raises(ValueError, match="B, H, W, C"):
        frequency(prediction[0], target[0])
