import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.kernels import reference
from common.kernels.window_attention import attention, relative_position_bias

WINDOWS = [(2, 2), (3, 2), (2, 5)]


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("window", WINDOWS)
def test_bias_is_looked_up_at_key_minus_query(window):
    p, q = window
    table = normal(0, 3, 2 * p - 1, 2 * q - 1)
    bias = relative_position_bias(jnp.asarray(table), window)
    np.testing.assert_array_equal(bias, reference.bias(table, p, q))


def test_every_table_entry_gets_its_gradient():
    table = jnp.asarray(normal(0, 1, 5, 3))
    gradient = jax.grad(lambda t: relative_position_bias(t, (3, 2)).sum())(table)
    # As many pairs of positions as stand that far apart: (3 - |dy|) * (2 - |dx|).
    pairs = np.outer([1, 2, 3, 2, 1], [1, 2, 1])
    np.testing.assert_array_equal(gradient[0], pairs)


@pytest.mark.parametrize("window", WINDOWS)
def test_attention_equals_the_slow_reference(window):
    tokens = window[0] * window[1]
    query, key, value = (normal(seed, 3, tokens, 2, 8) for seed in range(3))
    bias = normal(3, 2, tokens, tokens)
    np.testing.assert_allclose(
        attention(query, key, value, bias),
        reference.attention(query, key, value, bias),
        atol=2e-6,
    )


def test_leading_axes_are_groups():
    query, key, value = (normal(seed, 2, 3, 4, 2, 8) for seed in range(3))
    bias = normal(3, 2, 4, 4)
    folded = [array.reshape(6, 4, 2, 8) for array in (query, key, value)]
    np.testing.assert_allclose(
        attention(query, key, value, bias).reshape(6, 4, 2, 8),
        attention(*folded, bias),
        atol=1e-6,
    )


def test_bfloat16_keeps_its_type_and_softmax_its_precision():
    query, key, value = (
        jnp.asarray(normal(seed, 2, 4, 2, 8), jnp.bfloat16) for seed in range(3)
    )
    bias = normal(3, 2, 4, 4)
    out = attention(query, key, value, bias)
    assert out.dtype == jnp.bfloat16
    exact = reference.attention(query, key, value, bias)
    np.testing.assert_allclose(out.astype(np.float32), exact, atol=0.03)
    # A common offset that bfloat16 cannot add to the logits without losing them.
    shifted = attention(query, key, value, bias + 1000.0)
    np.testing.assert_allclose(shifted.astype(np.float32), exact, atol=0.03)


def test_masked_keys_are_as_good_as_absent():
    query, key, value = (normal(seed, 2, 5, 2, 8) for seed in range(3))
    bias = normal(3, 2, 5, 5)
    mask = np.array([[True, True, False, True, False], [True] * 5])
    out = attention(query, key, value, bias, mask)
    for group, kept in enumerate(np.flatnonzero(row) for row in mask):
        absent = [array[group : group + 1, kept] for array in (query, key, value)]
        exact = reference.attention(*absent, bias[:, kept[:, None], kept])
        np.testing.assert_allclose(out[group, kept], exact[0], atol=2e-6)

    def seen(key, value):
        return (attention(query, key, value, bias, mask)[:, mask[0]] ** 2).sum()

    for gradient in jax.grad(seen, (0, 1))(jnp.asarray(key), jnp.asarray(value)):
        assert jnp.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[0, ~mask[0]], 0)
        assert (gradient[0, mask[0]] != 0).all()
