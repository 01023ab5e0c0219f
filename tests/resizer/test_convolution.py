"""Convolutions of few channels against the library's, with both gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resizer.convolution import conv_general_dilated
from tests.resizer.small import noise, quick


def both(x, kernel, gradient):
    """Returns result and gradients, of ours and of the library."""

    def library(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=layout
        )

    def ours(x, kernel):
        return conv_general_dilated(x, kernel, (1, 1), "SAME", precision=None)

    @quick
    def run(x, kernel, gradient):
        found = []
        for function in (ours, library):
            out, back = jax.vjp(function, x, kernel)
            found.append((out, *back(gradient)))
        return found

    return run(x, kernel, gradient)


@pytest.mark.parametrize(
    ("size", "channels", "width", "height", "columns"),
    [(7, 3, 16, 20, 9), (7, 16, 3, 17, 12), (3, 4, 4, 8, 8), (1, 5, 5, 3, 7),
     (7, 2, 1, 1, 2)],
)  # fmt: skip
def test_results_and_gradients(size, channels, width, height, columns):
    x = noise(2, height, columns, channels)
    kernel = noise(size, size, channels, width, seed=1)
    gradient = noise(2, height, columns, width, seed=2)
    ours, library = both(x, kernel, gradient)
    for mine, expected in zip(ours, library, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=2e-4)


def test_half_precision():
    x = noise(1, 9, 9, 4, dtype=jnp.bfloat16)
    gradient = noise(1, 9, 9, 3, seed=1, dtype=jnp.bfloat16)
    kernel = noise(3, 3, 4, 3, seed=2, dtype=jnp.bfloat16)
    for mine, expected in zip(*both(x, kernel, gradient), strict=True):
        assert mine.dtype == jnp.bfloat16
        mine, expected = (np.asarray(a, np.float32) for a in (mine, expected))
        np.testing.assert_allclose(mine, expected, atol=0.03 * np.abs(expected).max())


def test_other_platforms_have_the_library_alone():
    x, kernel = noise(1, 16, 16, 4), noise(7, 7, 4, 3)

    def loss(kernel):
        return conv_general_dilated(x, kernel, (1, 1), "SAME").sum()

    traced = jax.jit(jax.grad(loss)).trace(kernel)
    cpu, gpu = (
        traced.lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cpu", "cuda")
    )
    assert "stablehlo.dot_general" in cpu
    assert "stablehlo.dot_general" not in gpu
