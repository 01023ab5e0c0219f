"""Equal blocks share a trace, and nothing else changes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common.models.trace_once import trace_once

TRACED = []


class Block(nn.Module):
    features: int
    rate: float = 0.0

    @nn.compact
    def __call__(self, x, y, train=False):
        TRACED.append(x.shape)
        x = jnp.tanh(nn.Dense(self.features, name="dense")(x) + y)
        return nn.Dropout(self.rate, deterministic=not train)(x)


class Network(nn.Module):
    once: bool

    @nn.compact
    def __call__(self, x):
        y = x[:, :1]
        for number in range(3):
            block = Block(8, name=f"block_{number}")
            x = trace_once(block, x, y, train=False) if self.once else block(x, y)
        return x


def images():
    return np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)


def test_values_and_gradients_of_one_trace():
    variables = Network(True).init(jax.random.key(0), images())
    assert variables["params"].keys() == {"block_0", "block_1", "block_2"}
    found = []
    for once, traces in ((True, 1), (False, 3)):
        network = Network(once)
        TRACED.clear()

        def total(variables, network=network):
            return jnp.sum(network.apply(variables, images()) ** 2)

        found.append(jax.jit(jax.value_and_grad(total))(variables))
        assert len(TRACED) == traces
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_blocks_that_differ_have_traces_of_their_own():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = trace_once(Block(8, name="a"), x, x, train=False)
            x = trace_once(Block(8, name="b"), x, x[:1], train=False)
            return trace_once(Block(4, name="c"), x, x[:, :4], train=False)

    variables = jax.eval_shape(Two().init, jax.random.key(0), images())
    TRACED.clear()
    jax.eval_shape(Two().apply, variables, images())
    assert len(TRACED) == 3


def test_each_block_drops_out_for_itself():
    class Sum(nn.Module):
        """Two equal blocks with one input."""

        @nn.compact
        def __call__(self, x):
            both = [
                trace_once(Block(8, 0.5, name=name), x, x, train=True)
                for name in ("a", "b")
            ]
            return jnp.stack(both)

    ones = np.ones((50, 8), np.float32)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    zeros = jax.tree.map(jnp.zeros_like, Sum().init(keys, ones))

    def run(seed):
        dropped = Sum().apply(zeros, ones, rngs={"dropout": jax.random.key(seed)})
        return np.asarray(dropped) == 0

    one, other = run(0)
    assert 0.3 < one.mean() < 0.7
    assert 0.3 < np.mean(one != other) < 0.7
    np.testing.assert_array_equal(run(0)[0], one)
    assert np.any(run(1)[0] != one)


def test_intermediates_are_each_blocks_own():
    network = Network(True)
    variables = network.init(jax.random.key(0), images())
    _, state = network.apply(variables, images(), capture_intermediates=True)
    for name in ("block_0", "block_1", "block_2"):
        assert state["intermediates"][name]["__call__"][0].shape == (5, 8)
