"""All networks: counts, shapes, what a pixel depends on, and wrong fields."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.degradations.bayer import PATTERNS
from common.errors import ConfigError
from common.models import cost
from enhancement import networks

# Small networks of each kind, with all that is special about them.
SMALL = [
    ("edsr", 2, {}),
    ("edsr", 3, {}),
    ("edsr", 4, {}),
    ("restoration", 1, {}),
    ("demosaicing", 1, {}),
    ("deblur_unet", 1, {}),
    ("satsr", 1, {}),
    ("satsr", 3, {}),
    ("satsr", 2, {"radiometric": True}),
    ("satsr", 2, {"radiometric": True, "wide": True}),
    ("satsr", 4, {"wide": True}),
    ("bicubic", 3, {}),
    ("srcnn", 2, {}),
    ("srcnn", 4, {}),
    ("rcan", 2, {"num_groups": 1, "reduction": 2}),
    ("rrdb", 1, {"growth": 4}),
    ("rrdb", 2, {"growth": 4}),
    ("rrdb", 4, {"growth": 4}),
]
IDS = ["-".join([f"{name}{scale}", *fields]) for name, scale, fields in SMALL]
# Compiling is nearly all of a test's time, and what it compiles runs once.
quick = functools.partial(
    jax.jit,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    },
)


def small(name, scale=1, channels=3, **fields):
    if name not in ("bicubic", "srcnn"):
        fields["num_blocks"] = 1
    if name != "bicubic":
        fields["features"] = 4
    return networks.create(name, scale, channels, **fields)


def filled(model, *args):
    """Variables of NumPy's: initialisers take longer to compile than a network."""
    rng = np.random.default_rng(0)

    def fill(leaf):
        bound = max(math.prod(leaf.shape[:-1]), 9) ** -0.5
        return rng.uniform(-bound, bound, leaf.shape).astype(np.float32)

    return jax.tree.map(fill, jax.eval_shape(model.init, jax.random.key(0), *args))


def image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def count(model, side=8):
    images = jax.ShapeDtypeStruct((1, side, side, model.channels), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize(
    ("name", "scale", "fields", "expected"),
    [
        ("edsr", 2, {}, 1_369_859),
        ("edsr", 3, {}, 1_554_499),
        ("edsr", 4, {}, 1_517_571),
        ("edsr_large", 2, {}, 40_729_603),
        ("edsr_large", 4, {}, 43_089_923),
        ("restoration", 1, {}, 1_369_859 - 147_712),
        ("demosaicing", 1, {}, 1_369_859 + 9 * 64),
        ("deblur_unet", 1, {}, 8_005_187),  # added up by hand
        ("satsr", 2, {}, 1_960_707),
        ("satsr", 4, {}, 2_108_419),
        ("satsr", 2, {"num_blocks": 16}, 1_369_859),
        ("satsr", 2, {"num_blocks": 32}, 2_551_555),
        ("satsr", 2, {"shared_bands": True}, 1_960_707 - 4 * 9 * 64 - 2),
        ("bicubic", 2, {}, 0),
        ("srcnn", 2, {}, 20_099),
        ("rrdb", 4, {}, 16_697_987),
        ("rrdb", 2, {}, 16_697_987 + 9 * 9 * 64),
    ],
)
def test_counts(name, scale, fields, expected):
    assert count(networks.create(name, scale, **fields)) == expected


@pytest.mark.parametrize(("scale", "expected"), [(2, 15_444_643), (4, 15_592_355)])
def test_count_of_rcan(scale, expected):
    block = 2 * (9 * 64 * 64 + 64) + (64 * 4 + 4) + (4 * 64 + 64)
    conv = 9 * 64 * 64 + 64
    ends = (9 * 3 * 64 + 64) + conv + (9 * 64 * 3 + 3)
    ups = int(math.log2(scale)) * (9 * 64 * 256 + 256)
    assert 10 * (20 * block + conv) + ends + ups == expected
    # One group is traced: the others are like it.
    one = count(networks.create("rcan", scale, num_groups=1))
    assert one + 9 * (20 * block + conv) == expected


def test_wide_is_about_half_the_cost():
    images = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    wide, plain = (
        cost.of_model(networks.create(name, 2), images)[1].multiply_adds
        for name in ("satsr_wide", "satsr")
    )
    assert 0.5 < wide / plain < 0.6


@pytest.mark.parametrize(("name", "scale", "fields"), SMALL, ids=IDS)
def test_shapes_and_what_a_tile_depends_on(name, scale, fields):
    """Exactly the pixels that `receptive_radius` says, on all four sides."""
    model = small(name, scale, **fields)
    multiple, radius = model.size_multiple, model.receptive_radius
    reach = 6 if radius is None else radius
    steps = -(-reach // multiple) + 1
    side, start = multiple * (2 * steps + 1), multiple * steps
    images = image(1, side, side + 2 * multiple, 3)
    shape = (1, scale * multiple, scale * multiple, 3)

    def tile(images, params, weights):
        output = model.apply(params, images)
        assert output.dtype == jnp.float32
        assert output.shape == (1, scale * side, scale * images.shape[2], 3)
        inside = slice(scale * start, scale * (start + multiple))
        return jnp.sum(output[:, inside, inside] * weights)

    arguments = images, filled(model, images), image(*shape, seed=1)
    gradient = np.abs(quick(jax.grad(tile))(*arguments)).sum((0, 3))
    if radius is None:
        assert (gradient > 0).all()
        return
    for axis in (0, 1):
        used = np.flatnonzero(gradient.max(1 - axis))
        assert (used[0], used[-1]) == (start - radius, start + multiple - 1 + radius)


@pytest.mark.parametrize(
    ("name", "scale", "expected"),
    [
        ("edsr", 2, 35 + 1),  # 71 pixels up to the shuffle, one more of the tail
        ("satsr", 2, 51 + 1),
        ("satsr", 4, 51 + 1),
        ("restoration", 1, 35),
        ("demosaicing", 1, 72),
        ("deblur_unet", 1, 85),
        ("bicubic", 2, 2),
        ("rrdb", 4, 349),
    ],
)
def test_radius_at_full_depth(name, scale, expected):
    assert networks.create(name, scale).receptive_radius == expected


@pytest.mark.parametrize("channels", [1, 3, 4, 8])
@pytest.mark.parametrize(
    "name", [name for name in networks.NETWORKS if name != "demosaicing"]
)
def test_bands(name, channels):
    scale = 1 if name in ("restoration", "deblur_unet") else 2
    model = small(name, scale, channels, **({"reduction": 2} if name == "rcan" else {}))
    height, width = 5 * model.size_multiple, 7 * model.size_multiple
    images = jax.ShapeDtypeStruct((2, height, width, channels), jnp.float32)
    output, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    assert output.shape == (2, scale * height, scale * width, channels)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_demosaicing_reads_the_mosaic_alone(pattern):
    model = small("demosaicing", pattern=pattern)
    images = image(1, 6, 10, 3)
    params = filled(model, images)
    changed = np.full_like(images, np.nan)
    for index, colour in enumerate(pattern):
        where = np.s_[:, index // 2 :: 2, index % 2 :: 2, "RGB".index(colour)]
        changed[where] = images[where]
    run = quick(model.apply)
    np.testing.assert_array_equal(run(params, images), run(params, changed))
    raw = networks.mosaic(jnp.asarray(images), pattern)
    assert raw.shape == (1, 6, 10, 1)
    assert raw[0, 3, 4, 0] == images[0, 3, 4, "RGB".index(pattern[2])]


def loss_of(model, images):
    return lambda params: jnp.mean(model.apply(params, images) ** 2)


@pytest.mark.parametrize(
    ("name", "scale", "number"),
    [
        ("edsr", 2, 3),
        ("restoration", 1, 3),
        ("demosaicing", 1, 3),
        ("deblur_unet", 1, 5 * 3),
        ("satsr", 2, 3),
        ("rcan", 2, 2),
        ("rrdb", 4, 3),
    ],
)
def test_remat_wraps_every_block(name, scale, number):
    fields = {"num_blocks": 3} | ({"num_groups": 2} if name == "rcan" else {})
    images = image(1, 4, 4, 3)
    for policy, expected in (("none", 0), ("full", number)):
        model = networks.create(name, scale, remat=policy, **fields)
        params = jax.eval_shape(model.init, jax.random.key(0), images)
        steps = jax.make_jaxpr(loss_of(model, images))(params).eqns
        assert sum("remat" in step.primitive.name for step in steps) == expected


def test_remat_changes_no_gradient():
    images = image(1, 4, 4, 3)
    models = [small("edsr", 4, remat=policy) for policy in ("none", "full")]
    params = filled(models[0], images)
    found = [quick(jax.grad(loss_of(model, images)))(params) for model in models]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *found)


@pytest.mark.parametrize("name", ["restoration", "satsr"])
def test_bfloat16_keeps_the_image(name):
    images = image(1, 6, 6, 3)
    plain, half = small(name), small(name, dtype="bfloat16")
    params = filled(plain, images)
    one, other = (
        quick(plain.apply)(params, images),
        quick(half.apply)(params, images),
    )
    assert other.dtype == jnp.float32
    assert 0 < np.abs(one - other).max() < 0.02
    # With a tail of nothing the image is there to the last bit.
    params["params"]["tail"] = jax.tree.map(jnp.zeros_like, params["params"]["tail"])
    np.testing.assert_array_equal(quick(half.apply)(params, images), images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "esdr"}, "did you mean 'edsr'"),
        ({"feature": 8}, "did you mean 'features'"),
        ({"name": "bicubic", "num_blocks": 8}, "unknown field of bicubic"),
        ({"scale": 5}, "products of 2 and 3"),
        ({"scale": 0}, "scale is a whole number"),
        ({"scale": 2.0}, "scale is a whole number"),
        ({"name": "restoration", "scale": 2}, "keeps the size"),
        ({"name": "deblur_unet", "scale": 4}, "keeps the size"),
        ({"name": "demosaicing", "channels": 4}, "3 colours"),
        ({"name": "demosaicing", "pattern": "RGBG"}, "RGGB"),
        ({"name": "rrdb", "scale": 3}, "1, 2 or 4"),
        ({"name": "rcan", "scale": 7}, "products of 2 and 3"),
        ({"name": "rcan", "features": 8}, "reduction=16"),
        ({"name": "satsr", "radiometric": True}, "scale=1"),
        ({"name": "satsr", "wide": 1}, "True or False"),
        ({"name": "satsr", "conditioning": -1}, "from 0 on"),
        ({"name": "srcnn", "features": 1}, "at least 2"),
        ({"num_blocks": True}, "num_blocks is a whole number"),
        ({"residual_scale": 0}, "above 0"),
        ({"residual_scale": "1"}, "above 0"),
        ({"remat": "ful"}, "full"),
        ({"dtype": "float31"}, "no type of numbers"),
        ({"dtype": "int32"}, "of floats"),
    ],
)
def test_wrong_fields(arguments, message):
    with pytest.raises(ConfigError, match=message):
        networks.create(**{"name": "edsr"} | arguments)


def test_none_leaves_the_default():
    assert networks.create("edsr_large", 2, features=None, dtype=None).features == 256


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "message"),
    [
        ("edsr", (1, 4, 4, 4), "float32", r"\[B, H, W, 3\]"),
        ("edsr", (4, 4, 3), "float32", r"\[B, H, W, 3\]"),
        ("edsr", (1, 0, 4, 3), "float32", r"\[B, H, W, 3\]"),
        ("edsr", (1, 4, 4, 3), "uint8", "images are floats"),
        ("demosaicing", (1, 4, 5, 3), "float32", "multiples of 2"),
        ("deblur_unet", (1, 6, 4, 3), "float32", "multiples of 4"),
        ("rrdb", (1, 6, 4, 3), "float32", "multiples of 4"),
    ],
)
def test_wrong_images(name, shape, dtype, message):
    images = jax.ShapeDtypeStruct(shape, dtype)
    with pytest.raises(ConfigError, match=message):
        jax.eval_shape(small(name).init, jax.random.key(0), images)
