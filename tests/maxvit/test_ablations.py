"""Sizes and costs of the ablated models against the paper's table."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.models import cost
from maxvit import layout
from maxvit.models import create
from tests.maxvit.small import count, shapes

BASE = (30.9, 5.6)
# Layout -> printed millions of parameters and G multiply-adds of T at 224.
ABLATIONS = {
    "C-BA,C-BA-GA,C-BA-GA,C-BA-GA": (30.8, 5.3),
    "C-BA-GA,C-BA,C-BA-GA,C-BA-GA": (30.5, 5.3),
    "C-BA-GA,C-BA-GA,C-BA,C-BA-GA": (26.9, 4.9),
    "C-BA-BA,C-BA-GA,C-BA-GA,C-BA-GA": BASE,
    "C-BA-GA,C-BA-BA,C-BA-GA,C-BA-GA": BASE,
    "C-BA-GA,C-BA-GA,C-BA-BA,C-BA-GA": BASE,
    "BA-GA,C-BA-GA,C-BA-GA,C-BA-GA": (30.8, 5.2),
    "C-BA-GA,BA-GA,C-BA-GA,C-BA-GA": (30.5, 5.4),
    "C-BA-GA,C-BA-GA,BA-GA,C-BA-GA": (27.6, 5.1),
    "C-BA-GA,C-BA-GA,C-BA-GA,BA-GA": (25.7, 5.4),
    "C-GA-BA": BASE,
    "BA-C-GA": (31.1, 5.3),
    "BA-GA-C": (31.1, 5.3),
    "GA-C-BA": (31.1, 5.3),
    "GA-BA-C": (31.1, 5.3),
}
PARALLEL = {
    "tiny": (34.5, 6.2),
    "small": (76.9, 13.0),
    "base": (133.4, 26.9),
    "large": (236.6, 48.8),
}


def size_and_compute(model):
    variables = shapes(model)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    compute = cost.count(model.apply, variables, images).multiply_adds
    return count(variables["params"]) / 1e6, compute / 1e9


def printed(millions):
    """The paper rounds some numbers to one digit and cuts others."""
    return {np.floor(millions * 10) / 10, np.round(millions, 1)}


@pytest.mark.parametrize(("block_layout", "expected"), ABLATIONS.items())
def test_layouts_have_the_published_size_and_cost(block_layout, expected):
    params, compute = size_and_compute(create("tiny", block_layout=block_layout))
    assert expected[0] in printed(params)
    # The paper also counts what is no matrix product or convolution: 0.05 G of T.
    assert 0 < expected[1] - compute < 0.16


@pytest.mark.parametrize(("variant", "expected"), PARALLEL.items())
def test_parallel_attention_has_the_published_size_and_cost(variant, expected):
    model = create(variant, block_layout="C-BA|GA")
    params, compute = size_and_compute(model)
    assert expected[0] in printed(params)
    np.testing.assert_allclose(compute, expected[1], rtol=0.016)


def test_swin_like_depths():
    tiny = shapes(create("tiny", depths=(2, 2, 6, 2)))["params"]
    assert set(tiny["stage3"]) == {f"block{i}" for i in range(6)}
    block = count(tiny["stage3"]["block5"])
    assert count(tiny) == count(shapes(create("tiny"))["params"]) + block


def test_the_order_is_the_order_of_computation():
    """A block returns what its last layer does; whoever is second sees the first."""
    fields = {"image_size": 32, "num_classes": 3, "depths": (1,), "channels": (8,)}
    images = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
    names = {"C": "mbconv", "BA": "block_attention", "GA": "grid_attention"}

    def noisy(shape_tree):
        def fill(path, leaf):
            rng = np.random.default_rng(zlib.crc32(str(path).encode()))
            values = 0.3 * rng.normal(size=leaf.shape).astype(np.float32)
            return 1 + abs(values) if path[-1].key in ("scale", "var") else values

        return jax.tree_util.tree_map_with_path(fill, shape_tree)

    outputs = {}
    for text in ("C-BA-GA", "C-GA-BA"):
        model = create("testing", window_size=4, block_layout=text, **fields)
        variables = noisy(shapes(model, 32))
        _, state = model.apply(
            variables, images, capture_intermediates=True, mutable=["intermediates"]
        )
        block = state["intermediates"]["stage1"]["block0"]
        outputs[text] = {
            name: block[full]["__call__"][0] for name, full in names.items()
        }
        last = text.rsplit("-", 1)[1]
        np.testing.assert_array_equal(block["__call__"][0], outputs[text][last])
    first, swapped = outputs["C-BA-GA"], outputs["C-GA-BA"]
    np.testing.assert_array_equal(first["C"], swapped["C"])
    assert not np.allclose(first["BA"], swapped["BA"])


def test_layers_side_by_side_do_not_see_each_other():
    fields = {"image_size": 32, "num_classes": 3, "depths": (1,), "channels": (8,)}
    model = create("testing", window_size=4, block_layout="C-BA|GA", **fields)
    variables = jax.tree.map(
        lambda leaf: (
            jnp.full(leaf.shape, 0.1) * jnp.arange(leaf.size).reshape(leaf.shape) % 1.0
        ),
        shapes(model, 32),
    )
    images = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))

    def grid_output(block_attention_scale):
        params = variables["params"]
        block = params["stage1"]["block0"]
        other = jax.tree.map(
            lambda leaf: leaf * block_attention_scale, block["block_attention"]
        )
        changed = {**params, "stage1": {"block0": {**block, "block_attention": other}}}
        _, state = model.apply(
            {**variables, "params": changed},
            images,
            capture_intermediates=True,
            mutable=["intermediates"],
        )
        block = state["intermediates"]["stage1"]["block0"]
        return block["grid_attention"]["__call__"][0], block["__call__"][0]

    (grid, out), (same, changed) = grid_output(1.0), grid_output(0.5)
    np.testing.assert_array_equal(grid, same)
    assert not np.allclose(out, changed)


def test_what_a_block_starts_with_halves_the_resolution():
    for text in ("BA-C-GA", "GA-BA", "C-GA"):
        model = create("testing", image_size=64, block_layout=text, num_classes=3)
        maps = jax.eval_shape(
            lambda v, x, model=model: model.apply(v, x, method="features"),
            shapes(model, 64),
            jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32),
        )
        assert maps["stage4"].shape == (1, 2, 2, 48)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C-BA-GA", (("C",), ("BA",), ("GA",))),
        ("C-BA-BA", (("C",), ("BA",), ("BA_1",))),
        ("C-BA|GA", (("C",), ("BA", "GA"))),
    ],
)
def test_parse(text, expected):
    assert layout.parse(text, 2) == (expected, expected)
    assert layout.parse(f"C, {text}", 2) == ((("C",),), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("C-GB", "unknown layer in 'C-GB' 'GB'"),
        ("C,BA", "or 4 separated by commas"),
        ("C-", "unknown layer in 'C-' ''"),
        (3, "block_layout 3 must be"),
        ("BA|GA-C", "not the first"),
        ("C-BA|GA-BA|GA", "at most one"),
    ],
)
def test_mistakes_are_explained(text, message):
    with pytest.raises(ConfigError, match=message):
        create("tiny", block_layout=text)
