"""The sort against NumPy's, with the gradient of each of its two forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.kernels import sort as kernel


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 5, 97)).astype(np.float32)
    values[values > 1] = 0.0  # ties, as behind ReLUs
    values[0, 0, :4] = -0.0, np.inf, -np.inf, 1e-42  # and what is rare
    return values


def test_sorted_as_numpy_sorts(values):
    np.testing.assert_array_equal(kernel.sort(values), np.sort(values, -1))
    # Not compiled it is the same function.
    with jax.disable_jit():
        np.testing.assert_array_equal(kernel.sort(values), np.sort(values, -1))


def test_rows_sorted_in_parts_are_the_same(monkeypatch, values):
    monkeypatch.setattr(kernel, "_LEAST", 1)
    order = jax.grad(lambda x: (kernel.sort(x) * jnp.arange(97.0)).sum())(values)
    np.testing.assert_array_equal(kernel.sort(values), np.sort(values, -1))
    np.testing.assert_array_equal(
        np.sort(order, -1)[..., :3], np.full((3, 5, 3), range(3))
    )


@pytest.mark.parametrize("form", [kernel._by_packed_keys, kernel._by_pairs])
def test_each_form_says_where_values_were(values, form):
    rows = values.reshape(-1, 97)
    ordered, places = jax.jit(form)(rows)
    assert places.dtype == jnp.int32
    np.testing.assert_array_equal(np.sort(places, -1), np.tile(np.arange(97), (15, 1)))
    np.testing.assert_array_equal(np.take_along_axis(rows, places, -1), ordered)


def test_gradient_goes_to_where_a_value_came_from(values):
    weights = np.random.default_rng(1).normal(size=values.shape).astype(np.float32)
    values = np.random.default_rng(2).permuted(
        np.broadcast_to(np.arange(97, dtype=np.float32), values.shape), axis=-1
    )
    gradient = jax.jit(jax.grad(lambda x: (kernel.sort(x) * weights).sum()))(values)
    rank = values.astype(int)  # the values are their own ranks
    np.testing.assert_array_equal(gradient, np.take_along_axis(weights, rank, -1))


def test_half_precision_and_batches_of_batches(values):
    half = values.astype(jnp.bfloat16)
    result = jax.vmap(kernel.sort)(half)
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(result, np.sort(half.astype(np.float32), -1))
