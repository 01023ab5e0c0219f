"""Layers that several networks share, in the form that is fast on every backend."""

import jax

# 2 sqrt(2 / pi), and 0.044715 times that.
_GELU = (1.5957691216057308, 0.07135481282553487)


# For the backward pass it keeps its input alone; what else it needs is cheaper to
# compute again than to keep (benchmarks/README.md).
@jax.checkpoint
def gelu(x: jax.Array) -> jax.Array:
    """GELU in its tanh approximation, as in all models here.

    Written with the logistic function, (1 + tanh(z)) / 2 = logistic(2 z), it is half
    as many operations to compile (Hendrycks and Gimpel, arXiv 1606.08415).
    """
    return x * jax.lax.logistic(x * (_GELU[0] + _GELU[1] * (x * x)))


def matrix_product(x, kernel, dimensions=None, **precision) -> jax.Array:
    """The product of a Dense layer, `[..., C] @ [C, D]`, as one of two matrices.

    It can be a Dense layer's `dot_general`. Over all axes at once, XLA's CPU backend
    writes out a transposed copy of the output's gradient to form the kernel's; of two
    matrices it needs none (benchmarks/README.md).
    """
    del dimensions  # a Dense layer's are always these
    y = jax.lax.dot_general(
        x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), **precision
    )
    return y.reshape(*x.shape[:-1], kernel.shape[-1])
