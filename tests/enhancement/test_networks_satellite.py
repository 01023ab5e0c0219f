"""What SatSR's options do, and its tiles."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from enhancement import blocks, networks, satellite_networks
from tests.enhancement.test_networks import filled, image, quick


def satsr(scale=2, channels=3, **fields):
    return networks.create(
        "satsr", scale, channels, **{"features": 8, "num_blocks": 1} | fields
    )


@functools.partial(quick, static_argnums=0)
def run(model, variables, images, condition=None):
    return model.apply(variables, images, condition)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("wide", [False, True])
def test_radiometric_means_are_the_inputs(scale, wide):
    model = satsr(scale, 4, radiometric=True, wide=wide)
    images = image(2, 6, 10, 4)
    variables = filled(model, images)
    output = run(model, variables, images)
    assert np.abs(blocks.block_means(output, scale) - images).max() < 1e-6
    plain = run(model.clone(radiometric=False), variables, images)
    assert np.abs(blocks.block_means(plain, scale) - images).max() > 1e-3


def test_shared_bands_are_bands_alone():
    model = satsr(3, 5, shared_bands=True, conditioning=2)
    images, condition = image(2, 5, 7, 5), image(2, 2, seed=2)
    variables = filled(model, images, condition)
    output = run(model, variables, images, condition)
    one = satsr(3, 1, conditioning=2)
    for band in range(5):
        alone = run(one, variables, images[..., band : band + 1], condition)
        np.testing.assert_allclose(output[..., band : band + 1], alone, atol=1e-6)
    # Of any number of bands.
    fewer = run(model, variables, images[..., :2], condition)
    np.testing.assert_allclose(fewer, output[..., :2], atol=1e-6)


def test_conditions_are_constant_maps_of_each_image():
    model = satsr(conditioning=2)
    images, condition = image(2, 5, 7, 3), image(2, 2, seed=2)
    variables = filled(model, images, condition)
    output = run(model, variables, images, condition)
    maps = jnp.broadcast_to(condition[:, None, None], (2, 5, 7, 2))
    by_hand = quick(blocks.ResidualBody(8, 1, 1.0, jnp.float32, "none").apply)(
        {"params": variables["params"]["body"]}, jnp.concatenate([images, maps], -1)
    )
    capture = functools.partial(model.apply, capture_intermediates=True)
    _, state = quick(capture)(variables, images, condition)
    found = state["intermediates"]["body"]["__call__"][0]
    np.testing.assert_allclose(found, by_hand, atol=1e-6)
    swapped = run(model, variables, images, condition[::-1])
    assert np.abs(swapped - output).max() > 1e-4


@pytest.mark.parametrize(
    ("conditioning", "shape"), [(0, (2, 1)), (2, None), (2, (2, 3)), (2, (1, 2))]
)
def test_wrong_conditions(conditioning, shape):
    model = satsr(conditioning=conditioning)
    condition = None if shape is None else jnp.zeros(shape)
    with pytest.raises(ConfigError, match="condition's shape"):
        jax.eval_shape(model.init, jax.random.key(0), image(2, 4, 4, 3), condition)


@pytest.mark.parametrize("wide", [False, True])
def test_without_detail_it_is_bicubic(wide):
    model = satsr(2, wide=wide)
    images = image(1, 6, 8, 3)
    variables = filled(model, images)
    tail = variables["params"]["tail"]
    variables["params"]["tail"] = jax.tree.map(jnp.zeros_like, tail)
    expected = blocks.bicubic(jnp.asarray(images), 2)
    found = run(model, variables, images)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("number", "scale"), [(16, 1.0), (17, 0.2)])
def test_many_blocks_are_scaled(number, scale):
    """The first block's part of the sum, as the intermediates show."""
    model = satsr(features=2, num_blocks=number)
    images = image(1, 3, 3, 3)
    capture = functools.partial(model.apply, capture_intermediates=True)
    _, state = quick(capture)(filled(model, images), images)
    state = state["intermediates"]["body"]
    block = state["block0"]
    part = block["__call__"][0] - state["stem"]["__call__"][0]
    np.testing.assert_allclose(part, scale * block["conv2"]["__call__"][0], atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "fields"), [(2, {}), (4, {"radiometric": True}), (2, {"wide": True})]
)
def test_tiles_are_cuts_of_the_whole(scale, fields):
    model = satsr(scale, **fields)
    multiple = model.size_multiple
    margin = -(-model.receptive_radius // multiple) * multiple
    side = 2 * margin + 8 * multiple
    images = image(1, side, side, 3)
    variables = filled(model, images)
    whole = run(model, variables, images)
    start, stop = 2 * multiple, 2 * margin + 4 * multiple
    tile = run(model, variables, images[:, start:stop, start:stop])
    inside = np.s_[
        :, scale * margin : -scale * margin, scale * margin : -scale * margin
    ]
    cut = whole[:, scale * start : scale * stop, scale * start : scale * stop]
    assert tile[inside].size
    np.testing.assert_allclose(tile[inside], cut[inside], atol=1e-6)


def test_attention_weighs_channels():
    """Of biases that close all gates nothing of the residual is left."""
    block = satellite_networks.ChannelAttentionBlock(4, 2, jnp.float32)
    x = image(2, 3, 5, 4)
    variables = filled(block, x)
    assert np.abs(block.apply(variables, x) - x).max() > 1e-3
    variables["params"]["excite"]["bias"] -= 100.0
    np.testing.assert_allclose(block.apply(variables, x), x, atol=1e-6)


def test_rrdb_repeats_pixels_before_it_convolves():
    """A kernel of its centre alone leaves the map as large pixels."""
    model = networks.create("rrdb", 4, features=4, num_blocks=1, growth=2)
    images = image(1, 3, 3, 3)
    variables = filled(model, images)
    for name in ("up0", "up1", "high", "tail"):
        kernel = variables["params"][name]["kernel"]
        kernel[np.arange(9).reshape(3, 3) != 4] = 0
    output = quick(model.apply)(variables, images)
    np.testing.assert_allclose(
        output, output[:, ::4, ::4].repeat(4, 1).repeat(4, 2), atol=1e-6
    )
    assert output.std() > 0
