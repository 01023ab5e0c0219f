"""Single blocks against the official ones, and what is computed in another way."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxim import blocks, layers, linear, resize
from tests.maxim import golden

SIZES = {"block_size": (8, 8), "grid_size": (4, 4)}


def up_sample(steps):
    """The folded resize, applied: behind it stands the identity."""

    class Applied(nn.Module):
        @nn.compact
        def __call__(self, x):
            part = linear.UpSampleRatio(features=4, steps=steps)
            nn.share_scope(self, part)
            found = part(x)
            return found.without_bias() + found.bias

    return Applied()


MODULES = {
    "MlpBlock": layers.Mlp(features=12),
    "CALayer": layers.ChannelAttention(reduction=4),
    "RCAB": layers.ConvAttentionBlock(reduction=4),
    "RDCAB": layers.MlpAttentionBlock(reduction=4),
    "GridGmlpLayer": layers.GmlpLayer(kind="grid", size=(4, 4), factor=2),
    "GridGmlpLayer_2x8": layers.GmlpLayer(kind="grid", size=(2, 8), factor=2),
    "BlockGmlpLayer": layers.GmlpLayer(kind="block", size=(4, 4), factor=2),
    "BlockGmlpLayer_4x8": layers.GmlpLayer(kind="block", size=(4, 8), factor=2),
    "MAB": layers.MultiAxisGmlpLayer(**SIZES),
    "SpatialGatingWeights": blocks.SpatialGate(**SIZES),
    "CGB_noup": blocks.CrossGatingBlock(features=8, **SIZES),
    "CGB_up": blocks.CrossGatingBlock(features=8, upsample_y=True, **SIZES),
    "SAM": blocks.SupervisedAttention(features=8),
    "BottleneckBlock": blocks.BottleneckBlock(features=8, num_groups=2, **SIZES),
    "EncoderBlock_down_skip": blocks.EncoderBlock(features=8, **SIZES),
    "EncoderBlock_crossgate": blocks.EncoderBlock(features=8, **SIZES),
    "DecoderBlock": blocks.DecoderBlock(features=8, **SIZES),
    **{f"UpSampleRatio_{2.0**n:g}": up_sample(n) for n in (-2, -1, 0, 1, 2)},
}


def arguments_of(name, arrays):
    """Concatenated inputs come in parts here."""
    if name.startswith("CGB"):
        return (arrays[0],), arrays[1]
    if name.startswith("EncoderBlock"):
        return tuple(arrays[:2]), *arrays[2:]
    if name == "DecoderBlock":
        return arrays[0], (arrays[1],)
    return tuple(arrays)


@pytest.mark.parametrize("name", golden.read("units.json.gz"))
def test_unit(name):
    facts, arrays = golden.read("units.json.gz")[name], golden.read("units.npz")
    inputs = [
        golden.features(f"unit/{name}/arg{i}", shape)
        for i, shape in enumerate(facts["arg_shapes"])
    ]
    module, inputs = MODULES[name], arguments_of(name, inputs)
    params = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    found = {key: list(leaf.shape) for key, leaf in golden.names(params).items()}
    assert found == facts["param_shapes"]
    outputs = golden.run(module.apply, {"params": golden.filled(params)}, *inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    assert len(outputs) == len(facts["out_shapes"])
    for number, output in enumerate(outputs):
        expected = arrays[f"{name}/out{number}"]
        np.testing.assert_allclose(output, expected, atol=golden.ATOL)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_resizes_are_those_of_jax(factor):
    x = golden.features("x", (2, 24, 40, 3))
    shape = {k: (2, int(24 * k), int(40 * k), 3) for k in (factor, 1 / factor)}
    for found, expected in (
        (resize.bilinear_up(x, factor), (shape[factor], "bilinear")),
        (resize.bilinear_down(x, factor), (shape[1 / factor], "bilinear")),
        (resize.nearest_down(x, factor), (shape[1 / factor], "nearest")),
    ):
        np.testing.assert_allclose(found, jax.image.resize(x, *expected), atol=1e-6)


def test_pointwise_is_a_convolution_of_the_concatenation():
    """For every kind of part, and for the same parts twice."""
    small, large = (
        golden.features("s", (2, 4, 6, 5)),
        golden.features("l", (2, 8, 12, 7)),
    )
    fine = golden.features("f", (2, 16, 24, 2))

    def weights(name, *shape):
        return jnp.asarray(golden.features(name, shape))

    parts = [
        large,
        linear.Resized(small, weights("a", 1, 1, 5, 3), weights("b", 3), steps=1),
        linear.Resized(fine, weights("c", 1, 1, 2, 4), None, steps=-1),
        linear.Convolution(large, weights("d", 3, 3, 7, 2), weights("e", 2)),
        linear.Doubled(small, weights("f", 2, 2, 5, 6), weights("g", 6)),
    ]
    applied = [
        large,
        jax.image.resize(small, (2, 8, 12, 5), "bilinear") @ parts[1].kernel[0, 0]
        + parts[1].bias,
        jax.image.resize(fine, (2, 8, 12, 2), "bilinear") @ parts[2].kernel[0, 0],
        nn.Conv(2, (3, 3)).apply(
            {"params": {"kernel": parts[3].kernel, "bias": parts[3].bias}}, large
        ),
        nn.ConvTranspose(6, (2, 2), (2, 2)).apply(
            {"params": {"kernel": parts[4].kernel, "bias": parts[4].bias}}, small
        ),
    ]
    for repeats in (1, 2):
        layer = linear.Pointwise(features=9, repeats=repeats)
        params = golden.filled(layer.init(jax.random.key(0), *parts)["params"])
        found = layer.apply({"params": params}, *parts)
        expected = nn.Conv(9, (1, 1)).apply(
            {"params": params}, jnp.concatenate(applied * repeats, axis=-1)
        )
        np.testing.assert_allclose(found, expected, atol=1e-4)
