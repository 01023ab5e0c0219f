"""Peaks of small programs, known by hand."""

import jax
import jax.numpy as jnp
import pytest

from common.plan import intermediates

N = 16
SQUARE = jax.ShapeDtypeStruct((N, N), jnp.float32)
ONE = 4 * N * N


def peaks(function, *args, **options):
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return [
        intermediates.peak(jaxpr, fused, **options) / ONE for fused in (True, False)
    ]


def test_a_chain_of_products_keeps_two():
    assert peaks(lambda x: x @ x @ x @ x, SQUARE) == [2, 2]


def test_elementwise_work_overwrites():
    assert peaks(lambda x: jnp.sin(jnp.cos(jnp.tanh(x))), SQUARE) == [1, 1]


def test_what_is_read_later_stays():
    def function(x):
        a, b, c = x @ x, x @ x.T, x.T @ x
        return (a @ b) @ c

    # At the last product but one: a, b, c and its result; transposes besides.
    fused, unfused = peaks(function, SQUARE)
    assert 4 <= fused <= unfused <= 6


def test_fusion_recomputes_what_is_elementwise():
    def function(x):
        y = x @ x
        return jnp.sum(jnp.sin(y) * jnp.cos(y) * jnp.tanh(y))

    fused, unfused = peaks(function, SQUARE)
    assert fused == pytest.approx(1, abs=0.01)
    assert unfused >= 3


def test_a_result_in_the_place_of_an_input_costs_nothing():
    update = lambda x, g: x - 0.1 * g  # noqa: E731
    assert peaks(update, SQUARE, SQUARE, in_place=True) == [0, 1]
    assert peaks(update, SQUARE, SQUARE) == [1, 1]


def layers(x, policy=None):
    """Eight layers, each a function of its own, with sums only at the end."""

    def layer(x):
        return jnp.tanh(x @ x) @ x

    for _ in range(8):
        x = (jax.checkpoint(layer, policy=policy) if policy else layer)(x)
    return x.sum()


def test_rematerialisation_saves_inputs_only():
    nothing = jax.checkpoint_policies.nothing_saveable
    kept = peaks(jax.grad(layers), SQUARE)
    forgotten = peaks(jax.grad(lambda x: layers(x, nothing)), SQUARE)
    # Of every layer both products, whose tanh is fused, or that one too, or its input.
    assert 8 * 2 <= kept[0] <= 8 * 2 + 4
    assert 8 * 3 <= kept[1] <= 8 * 3 + 4
    for peak in forgotten:
        assert 8 <= peak <= 8 + 6


def test_inner_functions_are_seen_through():
    """What only the caller can fuse is fused."""
    inner = jax.jit(lambda x: (jnp.sin(x), jnp.cos(x)))

    def function(x):
        a, b = inner(x @ x)
        return jnp.sum(a * b)

    assert peaks(function, SQUARE)[0] == pytest.approx(1, abs=0.01)


def test_another_shape_is_the_same_memory():
    def function(x):
        y = x @ x
        return y.reshape(N * N) @ y.reshape(N * N, 1)

    assert peaks(function, SQUARE) == pytest.approx([1, 1], abs=0.01)


def test_a_constant_is_not_kept():
    def function(x):
        ones = jnp.ones_like(x)
        return (x @ x + ones) @ x * ones

    assert peaks(function, SQUARE) == [2, 2]


def test_loops_need_the_most_of_a_turn():
    def body(c, _):
        return (c @ c) @ (c @ c.T), None

    once = peaks(lambda x: body(x, None)[0], SQUARE)
    many = peaks(lambda x: jax.lax.scan(body, x, None, length=9)[0], SQUARE)
    assert many == once


def test_bytes_moved():
    """A product reads two and writes one; elementwise work is free but for its end."""

    def moved(function):
        return intermediates.moved(jax.make_jaxpr(function)(SQUARE).jaxpr) / ONE

    assert moved(lambda x: x @ x.T) == 2 + 3  # the transpose is written out
    assert moved(lambda x: jnp.tanh(jnp.sin(x))) == 2
    assert moved(lambda x: jnp.sum(jnp.tanh(x @ x))) == pytest.approx(3, abs=0.02)

    def scanned(x):
        return jax.lax.scan(lambda c, _: (c @ x, None), x, None, length=5)[0]

    assert moved(scanned) == 5 * 3
