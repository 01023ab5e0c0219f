import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from common.errors import ConfigError
from common.kernels import reference
from common.kernels.depthwise import depthwise_conv

CASES = [
    (size, stride, padding)
    for size in ((8, 7), (5, 8))
    for stride in (1, 2)
    for padding in ("SAME", "VALID", ((1, 1), (1, 1)))
]


def normal(seed, shape, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), shape).astype(dtype)


def library_conv(x, kernel, stride=1, padding="SAME"):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(conv, x, kernel):
    """Returns the output and both gradients of a generic scalar function of it."""

    def loss(x, kernel):
        y = conv(x, kernel)
        weights = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        return (y.astype(jnp.float32) * weights).sum(), y

    (_, y), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(x, kernel)
    return y, *grads


@pytest.mark.parametrize(("size", "stride", "padding"), CASES)
def test_values_and_gradients_equal_the_library(size, stride, padding):
    x, kernel = normal(0, (2, *size, 5)), normal(1, (3, 3, 1, 5))
    ours = functools.partial(depthwise_conv, stride=stride, padding=padding)
    theirs = functools.partial(library_conv, stride=stride, padding=padding)
    for got, wanted in zip(
        value_and_gradients(ours, x, kernel),
        value_and_gradients(theirs, x, kernel),
        strict=True,
    ):
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_bfloat16_rounds_once_at_the_end(stride):
    x = normal(0, (2, 8, 9, 4), jnp.bfloat16)
    kernel = normal(1, (3, 3, 1, 4), jnp.bfloat16)
    ours = functools.partial(depthwise_conv, stride=stride)
    theirs = functools.partial(library_conv, stride=stride)
    exact = value_and_gradients(theirs, x.astype(jnp.float32), kernel.astype("float32"))
    got = value_and_gradients(ours, x, kernel)
    assert {array.dtype for array in got} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(got[0], exact[0].astype(jnp.bfloat16))
    for ours_grad, exact_grad in zip(got[1:], exact[1:], strict=True):
        # The incoming gradient was rounded to bfloat16 as well.
        np.testing.assert_allclose(
            ours_grad.astype(np.float32), exact_grad, rtol=0.02, atol=0.05
        )


def test_larger_kernels_work_too():
    x, kernel = normal(0, (1, 9, 9, 3)), normal(1, (5, 4, 1, 3))
    for got, wanted in zip(
        value_and_gradients(depthwise_conv, x, kernel),
        value_and_gradients(library_conv, x, kernel),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape"),
    [
        ((1, 8, 8, 4), (3, 3, 1, 5)),
        ((1, 8, 8, 4), (3, 3, 4, 1)),
        ((8, 8, 4), (3, 3, 4)),
    ],
)
def test_kernels_that_do_not_fit_are_refused(x_shape, kernel_shape):
    with pytest.raises(ConfigError, match=r"kernel \[kh, kw, 1, C\]"):
        depthwise_conv(jnp.zeros(x_shape), jnp.zeros(kernel_shape))


def test_vmap_over_kernels():
    x, kernels = normal(0, (2, 6, 6, 4)), normal(1, (3, 3, 3, 1, 4))
    gradients = functools.partial(value_and_gradients, depthwise_conv)
    got = jax.vmap(gradients, in_axes=(None, 0))(x, kernels)
    for index, kernel in enumerate(kernels):
        for mapped, single in zip(got, gradients(x, kernel), strict=True):
            np.testing.assert_allclose(mapped[index], single, rtol=1e-5, atol=1e-5)


def test_second_gradient_equals_the_library():
    x, kernel = normal(0, (1, 5, 6, 2)), normal(1, (3, 3, 1, 2))

    @functools.partial(jax.jit, static_argnums=0)
    def penalty(conv, kernel):
        slope = jax.grad(lambda x: (conv(x, kernel) ** 3).sum())(x)
        return (slope**2).sum()

    got, wanted = (
        jax.grad(penalty, 1)(functools.partial(conv, stride=2), kernel)
        for conv in (depthwise_conv, library_conv)
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_the_platform_decides_when_lowering():
    arguments = normal(0, (1, 8, 8, 4)), normal(1, (3, 3, 1, 4))
    traced = value_and_gradients.trace(depthwise_conv, *arguments)
    cpu = traced.lower(lowering_platforms=("cpu",)).as_text()
    assert "stablehlo.convolution" not in cpu
    for platform in ("cuda", "tpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        # Forward and two gradients, and no trace of the CPU form.
        assert text.count("stablehlo.convolution") == 3
        assert "optimization_barrier" not in text


def test_sharded_batch():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.P("data"))
    whole = jax.sharding.NamedSharding(mesh, jax.P())
    x, kernel = normal(0, (16, 8, 8, 4)), normal(1, (3, 3, 1, 4))
    conv = functools.partial(depthwise_conv, stride=2)

    forward = jax.jit(conv, in_shardings=(split, whole))
    hlo = forward.lower(x, kernel).compile().as_text()
    assert "all-" not in hlo
    assert "collective-permute" not in hlo
    assert forward(x, kernel).sharding.is_equivalent_to(split, 4)

    step = functools.partial(value_and_gradients, conv)
    sharded = jax.jit(step, in_shardings=(split, whole))
    # Only the kernel's gradient crosses devices: nothing is gathered.
    assert "all-gather" not in sharded.lower(x, kernel).compile().as_text()
    for got, wanted in zip(sharded(x, kernel), step(x, kernel), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 7), (5, 8)])
def test_values_equal_the_loops(size, stride):
    x, kernel = normal(0, (2, *size, 5)), normal(1, (3, 3, 1, 5))
    exact = reference.depthwise_conv(np.asarray(x), np.asarray(kernel), stride)
    np.testing.assert_allclose(depthwise_conv(x, kernel, stride), exact, atol=1e-5)
