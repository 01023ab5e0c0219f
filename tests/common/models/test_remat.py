import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.models.remat import POLICIES, remat


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.tanh(nn.Dense(4, name="dense")(x))
        return x * 2 if train else x


def gradient(policy):
    block = remat(Block, policy, static_argnums=(2,))(name="block")
    x = jnp.ones((3, 4))
    variables = block.init(jax.random.key(0), x, True)
    loss = jax.grad(lambda v: (block.apply(v, x, True) ** 2).sum())
    return loss(variables), str(jax.make_jaxpr(loss)(variables))


@pytest.mark.parametrize("policy", ["full", *POLICIES])
def test_gradients_and_names_do_not_change(policy):
    plain, _ = gradient("none")
    wrapped, jaxpr = gradient(policy)
    jax.tree.map(np.testing.assert_allclose, wrapped, plain)
    assert "remat" in jaxpr or "checkpoint" in jaxpr


def test_policies_differ_in_what_is_computed_again():
    dots = {name: gradient(name)[1].count("dot_general") for name in ("full", "none")}
    saved = gradient("dots_saveable")[1].count("dot_general")
    assert dots["full"] > dots["none"] == saved


def test_none_is_the_class_itself():
    assert remat(Block, "none") is Block


def test_unknown_policy_names_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'dots_saveable'"):
        remat(Block, "dots_savable")
