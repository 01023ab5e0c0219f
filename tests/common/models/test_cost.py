"""Counts of small functions, known by hand; the models' are in tests/maxvit."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from common.kernels.depthwise import depthwise_conv
from common.models import cost
from common.models.cost import Cost


def spec(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def product(x, w):
    return x @ w


X, W = spec(2, 3, 5), spec(5, 7)
ONE = Cost(2 * 3 * 5 * 7, 2 * 3 * 7)


def test_matrix_product():
    assert cost.count(product, X, W) == ONE


def test_batched_product():
    queries, keys = spec(6, 49, 8, 32), spec(6, 49, 8, 32)
    found = cost.count(lambda q, k: jnp.einsum("bqhd,bkhd->bhqk", q, k), queries, keys)
    assert found.multiply_adds == 6 * 8 * 49 * 49 * 32
    assert found.activations == 6 * 8 * 49 * 49


def test_elementwise_work_and_sums_are_free():
    assert cost.count(lambda x: jnp.tanh(x).sum() * 2, X) == Cost()


def conv(x, kernel, stride=1, groups=1):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_and_its_gradients(stride, groups):
    """Both gradients multiply what the forward pass multiplied, zeros aside."""
    x, kernel = spec(2, 8, 8, 4), spec(3, 3, 4 // groups, 16)
    apply = functools.partial(conv, stride=stride, groups=groups)
    forward = cost.count(apply, x, kernel)
    side = 8 // stride
    assert forward.activations == 2 * side * side * 16
    assert forward.multiply_adds == forward.activations * 9 * 4 // groups
    both = cost.count(
        jax.grad(lambda x, k: apply(x, k).sum(), argnums=(0, 1)), x, kernel
    )
    # The gradient's jaxpr runs the convolution too.
    assert both.multiply_adds == 3 * forward.multiply_adds


def test_depthwise_counts_the_library_convolution():
    """Though on a CPU it is written as elementwise products."""
    x, kernel = spec(2, 8, 8, 16), spec(3, 3, 1, 16)
    found = cost.count(depthwise_conv, x, kernel)
    assert found == cost.count(functools.partial(conv, groups=16), x, kernel)
    assert found.multiply_adds == 2 * 8 * 8 * 16 * 9


def test_inner_functions():
    @jax.custom_vjp
    def custom(x, w):
        return product(x, w)

    custom.defvjp(lambda x, w: (product(x, w), None), lambda _, g: (g, g))
    for function in (jax.jit(product), jax.checkpoint(product), custom):
        assert cost.count(function, X, W) == ONE


def test_rematerialisation_counts_the_second_run():
    def loss(policy, w, x):
        inner = jax.checkpoint(
            lambda w, x: jnp.tanh(jnp.tanh(x @ w) @ w), policy=policy
        )
        return inner(w, x).sum()

    args = spec(8, 8), spec(4, 8)
    one = 4 * 8 * 8
    policies = jax.checkpoint_policies
    keep, forget = (
        cost.count(jax.grad(functools.partial(loss, policy)), *args).multiply_adds
        for policy in (policies.everything_saveable, policies.nothing_saveable)
    )
    # Two forward, two for the kernels and one for the input of the second.
    assert keep == 5 * one
    assert keep + one <= forget <= keep + 2 * one


def test_loops():
    def scanned(x):
        return lax.scan(lambda c, _: (c @ c, None), x, None, length=6)[0]

    def fixed(x):
        return lax.fori_loop(0, 6, lambda _, c: c @ c, x)

    def unknown(x):
        return lax.while_loop(lambda c: c.sum() < 1e9, lambda c: c @ c, x)

    square = spec(3, 3)
    assert cost.count(scanned, square).multiply_adds == 6 * 27
    assert cost.count(fixed, square).multiply_adds == 6 * 27
    assert cost.count(unknown, square).multiply_adds == 27


def test_of_alternatives_the_costliest():
    def either(flag, x):
        return lax.cond(flag, lambda x: x @ x, lambda x: x @ x @ x, x)

    found = cost.count(either, spec(dtype=jnp.bool_), spec(3, 3))
    assert found.multiply_adds == 2 * 27
