"""Token mixing against loops over the tokens of each group."""

import numpy as np
import pytest

from common.errors import ConfigError
from common.kernels import reference, token_mixing

SIZE, GROUP = (6, 8), (3, 2)
KINDS = {"block": reference.windows, "grid": reference.grids}


@pytest.fixture
def maps():
    return np.random.default_rng(0).normal(size=(2, *SIZE, 5)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_the_groups_members(kind, maps):
    tokens = token_mixing.to_tokens(maps, kind, GROUP)
    np.testing.assert_array_equal(tokens.swapaxes(0, 1), KINDS[kind](maps, *GROUP))
    there = token_mixing.to_map(tokens, kind, GROUP, maps.shape)
    np.testing.assert_array_equal(there, maps)


def test_mix(maps):
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(6, 6)).astype(np.float32), rng.normal(size=6)
    tokens = token_mixing.to_tokens(maps, "block", GROUP)
    mixed = token_mixing.mix(tokens, kernel, bias)
    for group in range(tokens.shape[1]):
        for out in range(6):
            total = sum(kernel[i, out] * tokens[i, group] for i in range(6)) + bias[out]
            np.testing.assert_allclose(mixed[out, group], total, atol=1e-5)
    plain = token_mixing.mix(tokens, kernel, None)
    np.testing.assert_allclose(plain + bias[:, None, None], mixed, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_size_that_does_not_divide(kind, maps):
    with pytest.raises(ConfigError, match="6 x 8 does not divide into a"):
        token_mixing.to_tokens(maps, kind, (4, 2))
