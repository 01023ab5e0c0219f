"""The networks: published counts, reach, gradients, errors."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.models import cost
from deblur_diffusion import blocks, models

# Compiling is nearly all of a test's time, and what it compiles runs once.
quick = functools.partial(
    jax.jit,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    },
)
TINY = {"multipliers": (1, 2), "num_blocks": 1, "dropout": 0.0}
KEY = jax.random.key(0)


def tiny(**fields):
    fields = TINY | {"predictor_features": 2, "denoiser_features": 2} | fields
    return models.create(**fields)


def image(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def filled(model, *args):
    """Variables of NumPy's, none of them zero: initialisers are slow to compile."""
    rng = np.random.default_rng(0)

    def fill(leaf):
        bound = max(math.prod(leaf.shape[:-1]) / 3, 1) ** -0.5
        return rng.uniform(-bound, bound, leaf.shape).astype(np.float32)

    return jax.tree.map(fill, jax.eval_shape(model.init, KEY, *args))


def arguments(model, batch=1, height=128, width=128):
    """Abstract ones of a call."""
    images = jax.ShapeDtypeStruct((batch, height, width, 3), jnp.float32)
    if isinstance(model, models.Denoiser):
        return images, jax.ShapeDtypeStruct((batch,), jnp.float32), images
    return (images,)


@functools.cache
def weighed(network, variant):
    """Parameters and cost of one call at 128 x 128, from one trace."""
    model = getattr(models.create(variant), network)
    jaxpr, variables = jax.make_jaxpr(model.init, return_shape=True)(
        jax.eval_shape(lambda: jax.random.key(0)), *arguments(model)
    )
    leaves = jax.tree.leaves(variables)
    return sum(math.prod(leaf.shape) for leaf in leaves), cost.of_jaxpr(jaxpr.jaxpr)


def added_up(inputs, c, conditional, multipliers=(1, 2, 3, 4), number=3):
    """Parameters, level by level, from the widths alone."""

    def layer(taps, a, b):
        return taps * a * b + b

    def block(a, b, resampled=False):
        total = layer(9, a, b) + layer(9, b, b) + conditional * layer(1, 4 * c, b)
        return total + (a != b or resampled) * layer(1, a, b)

    widths = [c * multiplier for multiplier in multipliers]
    total = layer(1, inputs, c) + layer(9, c, 3) + 2 * block(widths[-1], widths[-1])
    total += conditional * (layer(1, c, 4 * c) + layer(1, 4 * c, 4 * c))
    before, below = c, widths[-1]
    for width in widths:
        total += block(before, width) + (number - 1) * block(width, width)
        before = width
    for width in widths[:-1]:
        total += block(width, width, True)
    # Up: a level's own maps, and last what its first block had been given.
    for level in reversed(range(len(widths))):
        width, entered = widths[level], widths[max(level - 1, 0)]
        skips = [width] * number + [entered]
        for skip in skips:
            total += block(below + skip, width)
            below = width
        total += (level > 0) * block(width, width, True)
    return total


@pytest.mark.parametrize(
    ("network", "variant", "inputs", "features", "expected", "published"),
    [
        ("predictor", "residual", 3, 64, 26_240_579, 26.24),
        ("denoiser", "residual", 6, 32, 6_969_379, 6.97),
        ("denoiser", "plain", 6, 64, 27_852_867, 27.85),
    ],
)
def test_counts(network, variant, inputs, features, expected, published):
    found, _ = weighed(network, variant)
    assert found == expected
    assert found == added_up(inputs, features, network == "denoiser")
    assert round(found / 1e6, 2) == published


def test_count_of_both_and_none():
    model = models.create()
    variables = jax.eval_shape(model.init, KEY, *arguments(model))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 33_209_958
    assert set(variables) == {"params"}
    assert set(variables["params"]) == {"predictor", "denoiser"}
    plain = models.create("plain")
    assert plain.predictor is None
    variables = jax.eval_shape(plain.init, KEY, *arguments(plain))
    assert set(variables["params"]) == {"denoiser"}
    assert models.create() == model
    assert hash(models.create()) == hash(model)  # so that programs are found again


def test_testing_variant_is_small():
    model = models.create("testing")
    assert cost.of_model(model, *arguments(model, height=8, width=8))[0] < 20_000
    assert model.size_multiple == 8


def test_cost():
    """Of one step; at 256 x 256 four times as much."""
    cases = [("predictor", "residual", 43.0), ("denoiser", "residual", 10.8)]
    cases.append(("denoiser", "plain", 43.0))
    found = [weighed(*case[:2])[1].multiply_adds for case in cases]
    expected = [1e9 * case[2] for case in cases]
    np.testing.assert_allclose(found, expected, rtol=0.02)
    assert found[2] / found[1] >= 3.5


@pytest.mark.parametrize(
    ("variant", "size"),
    [("residual", (24, 16)), ("testing", (8, 8)), ("testing", (8, 40))],
)
def test_any_multiple_of_eight(variant, size):
    model = models.create(variant)
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.bfloat16)
    found = jax.eval_shape(model.init_with_output, KEY, images)[0]
    assert [(each.shape, each.dtype) for each in found] == [
        (images.shape, "float32")
    ] * 2


def test_each_image_has_its_level():
    model = tiny(multipliers=(1,)).denoiser
    z = np.repeat(image(1, 4, 4, 3), 3, axis=0)
    levels = np.float32([0.2, 0.7, 0.2])
    variables = filled(model, z, levels, z)
    found = np.asarray(quick(model.apply)(variables, z, levels, z))
    np.testing.assert_allclose(found[0], found[2], atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-3


@pytest.mark.parametrize("resampling", blocks.RESAMPLING)
def test_radius(resampling):
    """On all sides exactly the pixels that `receptive_radius` says, at the worst."""
    model = tiny(resampling=resampling).predictor
    radius = model.receptive_radius
    # Sizes 1 and 1/2: (1 + 4 + 2 + 2) + 2 * (2 + 2 + 4 + 4), and one more of a cell.
    assert radius == 34
    side = 2 * (radius + 4)
    images = image(1, side, side, 3)
    weights = image(3, seed=1)

    def pixel(images, variables, place):
        return model.apply(variables, images)[0, place, place] @ weights

    gradient = quick(jax.grad(pixel))
    variables = filled(model, images)
    reach = np.zeros((2, 2), int)
    for place in (side // 2, side // 2 + 1):  # both of a cell
        seen = np.abs(gradient(images, variables, place)).sum((0, 3))
        for axis in (0, 1):
            used = np.flatnonzero(seen.max(1 - axis))
            reach[axis] = np.maximum(reach[axis], np.abs(used[[0, -1]] - place))
    np.testing.assert_array_equal(reach, radius)


def test_radius_at_full_depth():
    assert models.create().receptive_radius == 292
    assert models.create("plain", denoiser_features=2).receptive_radius == 292


@pytest.mark.parametrize("axis", [1, 2])
def test_moves_with_the_image(axis):
    """By whole cells, 8 pixels, away from the border; not by half of one."""
    model = models.create("testing")
    radius, cell = model.receptive_radius, model.size_multiple
    side = 2 * (radius + 24) // cell * cell
    images = np.moveaxis(image(1, side + cell, cell, 3), 1, axis)
    levels = np.full(1, 0.5, np.float32)
    run = quick(functools.partial(model.apply, method="denoise"))
    first = np.take(images, range(side), axis)
    variables = filled(model, first)
    reference = run(variables, first, levels, first)
    inside = range(radius + cell, side - radius)
    for shift, equal in ((cell, True), (cell // 2, False)):
        moved = np.take(images, range(shift, side + shift), axis)
        found = run(variables, moved, levels, moved)
        difference = np.abs(
            np.take(reference, inside, axis)
            - np.take(found, [place - shift for place in inside], axis)
        )
        scale = np.abs(reference).max()
        assert (difference.max() < 1e-5 * scale) == equal


def test_zeros_lie_beyond_the_border():
    """The last convolution, of a map of ones by a kernel of ones, sees fewer there."""
    model = tiny().predictor
    images = np.zeros((1, 4, 6, 3), np.float32)
    variables = jax.tree.map(np.zeros_like, filled(model, images))
    params = variables["params"]
    last = params["decoder0_block1"]
    last["shortcut"]["bias"] += 1
    params["output"]["kernel"] += 1
    found = np.asarray(quick(model.apply)(variables, images))[0, :, :, 0]
    rows, columns = [2, 3, 3, 2], [2, 3, 3, 3, 3, 2]
    expected = 2 * np.outer(rows, columns) / (1 + math.exp(-1))  # of two channels
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.fixture(scope="module")
def started():
    """Networks as training begins, and what the loss's gradient is there."""
    model = tiny(predictor_features=4, denoiser_features=4, multipliers=(1,))
    images = image(4, 8, 8, 3)
    variables = quick(model.init)(KEY, images)
    sharp, noise = (
        image(4, 8, 8, 3, seed=1),
        np.random.default_rng(2).normal(size=(4, 8, 8, 3)),
    )
    levels = jnp.array([0.1, 0.4, 0.6, 0.9])
    signal, rest = (jnp.sqrt(x)[:, None, None, None] for x in (levels, 1 - levels))

    def loss(variables):
        guess = model.apply(variables, images, True, method="predict")
        z = signal * (sharp - guess) + rest * noise
        found = model.apply(variables, z, levels, images, True, method="denoise")
        return jnp.mean(jnp.abs(noise - found))

    return variables["params"], *quick(jax.value_and_grad(loss))(variables)


def test_start_finds_nearly_nothing(started):
    """The loss is then the mean of |n| for normal n."""
    _, value, _ = started
    assert abs(value - math.sqrt(2 / math.pi)) < 0.04


def test_start_is_zero_where_it_should(started):
    params, _, _ = started
    for network in params.values():
        for name, layers in network.items():
            if "conv2" in layers:
                assert not layers["conv2"]["kernel"].any(), name
                assert layers["conv1"]["kernel"].any(), name
        deviation = np.std(network["output"]["kernel"])
        assert 0.5 < deviation * math.sqrt(9 * 4) / 0.1 < 1.5


def test_first_gradient_reaches_the_predictor(started):
    """It comes through the denoiser alone, to all that is not behind zeros."""
    gradient = started[2]["params"]
    for network in ("predictor", "denoiser"):
        for name in ("input", "output"):
            assert np.abs(gradient[network][name]["kernel"]).max() > 1e-7
        for name, layers in gradient[network].items():
            if "conv2" in layers:
                assert np.abs(layers["conv2"]["kernel"]).max() > 0, name


def test_predict_without_predictor():
    model = models.create("plain", denoiser_features=2, **TINY)
    images = image(1, 4, 4, 3).astype(jnp.bfloat16)
    variables = jax.eval_shape(model.init, KEY, images)
    found = model.apply(variables, images, method="predict")
    assert found.dtype == jnp.float32
    assert found.shape == images.shape
    assert not found.any()
    with pytest.raises(ConfigError, match="multiples of 2"):
        model.apply(variables, images[:, 1:], method="predict")


def test_parts_are_those_of_the_whole():
    """`predict` and `denoise` are the two networks, and `predict` runs no other."""
    model = tiny(multipliers=(1,))
    z, blurry, levels = (
        image(2, 4, 4, 3),
        image(2, 4, 4, 3, seed=1),
        np.float32([0.1, 0.8]),
    )
    variables = filled(model, blurry)
    alone = {name: {"params": part} for name, part in variables["params"].items()}
    guess = quick(model.predictor.apply)(alone["predictor"], blurry)
    half = {"params": {"predictor": alone["predictor"]["params"]}}
    found = quick(functools.partial(model.apply, method="predict"))(half, blurry)
    np.testing.assert_array_equal(found, guess)
    run = quick(functools.partial(model.apply, method="denoise"))
    found = run(variables, z, levels, blurry)
    denoise = quick(model.denoiser.apply)
    expected = denoise(alone["denoiser"], z, levels, blurry)
    np.testing.assert_array_equal(found, expected)
    other = denoise(alone["denoiser"], z, levels, z)
    assert np.abs(other - expected).max() > 1e-3  # the blurry image is seen


def test_global_skip_adds_the_image():
    images = image(1, 4, 4, 3)
    fields = {"multipliers": (1,)}
    plain, skip = (tiny(global_skip=on, **fields).predictor for on in (False, True))
    variables = filled(plain, images)
    one, other = (quick(model.apply)(variables, images) for model in (plain, skip))
    difference = other - one
    np.testing.assert_allclose(difference, images, atol=1e-6)


def test_dropout():
    model = tiny(dropout=0.5, multipliers=(1,)).predictor
    images = image(1, 4, 4, 3)
    variables = filled(model, images)
    run = quick(lambda key: model.apply(variables, images, True, rngs={"dropout": key}))
    first, again, other = run(KEY), run(KEY), run(jax.random.key(1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    still = quick(tiny(multipliers=(1,)).predictor.apply)(variables, images)
    found = quick(model.apply)(variables, images)
    np.testing.assert_allclose(found, still, atol=1e-6)


def test_bfloat16():
    images, levels = image(1, 4, 4, 3), np.float32([0.5])
    plain, half = (
        tiny(dtype=name, multipliers=(1,)) for name in ("float32", "bfloat16")
    )
    variables = filled(plain, images)
    kept = jax.eval_shape(half.init, KEY, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {jnp.dtype("float32")}

    def run(model):
        return functools.partial(model.apply, variables, method="denoise")

    one, other = (quick(run(model))(images, levels, images) for model in (plain, half))
    assert other.dtype == jnp.float32
    assert 0 < np.abs(one - other).max() < 0.05 * np.abs(one).max()
    steps = jax.make_jaxpr(run(half))(images, levels, images).eqns
    convs = [step for step in steps if step.primitive.name == "conv_general_dilated"]
    assert {step.outvars[0].aval.dtype for step in convs} == {jnp.dtype("bfloat16")}


def loss_of(model, images):
    return lambda variables: sum(
        jnp.mean(found**2) for found in model.apply(variables, images)
    )


def test_remat_wraps_every_block():
    images = image(1, 8, 8, 3)
    for policy, expected in (("none", 0), ("full", 2 * (2 + 1 + 2 + 4 + 1))):
        model = tiny(remat=policy)
        variables = jax.eval_shape(model.init, KEY, images)
        steps = jax.make_jaxpr(loss_of(model, images))(variables).eqns
        assert sum("remat" in step.primitive.name for step in steps) == expected


def test_remat_changes_no_gradient():
    images = image(1, 4, 4, 3)
    levels = np.float32([0.5])
    variables = filled(tiny(multipliers=(1,)).denoiser, images, levels, images)

    def gradient(policy):
        model = tiny(multipliers=(1,), remat=policy, dropout=0.5).denoiser

        def loss(variables):
            rngs = {"dropout": KEY}
            found = model.apply(variables, images, levels, images, True, rngs=rngs)
            return jnp.mean(found**2)

        return quick(jax.grad(loss))(variables)

    found = [gradient(policy) for policy in ("none", "full")]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *found
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variant": "residul"}, "did you mean 'residual'"),
        ({"num_block": 2}, "did you mean 'num_blocks'"),
        ({"features": 2}, "_features'"),
        ({"predictor_features": 0}, "whole number from 1"),
        ({"denoiser_features": 2.0}, "whole number from 1"),
        ({"denoiser_features": 3}, "even"),
        ({"num_blocks": True}, "whole number from 1"),
        ({"out_channels": 0}, "whole number from 1"),
        ({"multipliers": ()}, "multipliers are whole numbers"),
        ({"multipliers": (1, 0)}, "multipliers are whole numbers"),
        ({"multipliers": 2}, "multipliers are whole numbers"),
        ({"dropout": 1.0}, r"in \[0, 1\)"),
        ({"dropout": "0.1"}, r"in \[0, 1\)"),
        ({"skip_rescale": 1}, "True or False"),
        ({"global_skip": "yes"}, "True or False"),
        ({"resampling": "pol"}, "did you mean 'pool'"),
        ({"remat": "ful"}, "did you mean 'full'"),
        ({"dtype": "float31"}, "no type of numbers"),
        ({"dtype": "int32"}, "of floats"),
        ({"variant": "plain", "global_skip": True}, "no predictor"),
        ({"variant": "plain", "predictor_features": 64}, "no predictor"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ConfigError, match=message):
        models.create(**fields)


def test_none_leaves_the_default():
    model = models.create("residual", predictor_features=None, dtype=None, dropout=None)
    assert model == models.create()
    assert models.create(multipliers=[1, 2, 3, 4]) == model


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 4, 8, 3), "float32", "multiples of 8"),
        ((1, 8, 12, 3), "float32", "multiples of 8"),
        ((1, 0, 8, 3), "float32", "multiples of 8"),
        ((8, 8, 3), "float32", r"\[B, H, W, 3\]"),
        ((1, 8, 8, 4), "float32", r"\[B, H, W, 3\]"),
        ((1, 8, 8, 3), "uint8", "floats"),
    ],
)
def test_wrong_images(shape, dtype, message):
    images = jax.ShapeDtypeStruct(shape, dtype)
    model = models.create("testing")
    for network in (model, model.predictor):
        with pytest.raises(ConfigError, match=message):
            jax.eval_shape(network.init, KEY, images)
    good = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    level = jax.ShapeDtypeStruct((1,), jnp.float32)
    with pytest.raises(ConfigError):
        jax.eval_shape(model.denoiser.init, KEY, good, level, images)


@pytest.mark.parametrize(
    ("z", "level", "dtype", "message"),
    [
        ((2, 8, 16, 3), (2,), "float32", "z is"),
        ((2, 8, 8, 3), (), "float32", "one float per image"),
        ((2, 8, 8, 3), (1,), "float32", "one float per image"),
        ((2, 8, 8, 3), (2, 1, 1, 1), "float32", "one float per image"),
        ((2, 8, 8, 3), (2,), "int32", "one float per image"),
    ],
)
def test_wrong_levels(z, level, dtype, message):
    shapes = (
        jax.ShapeDtypeStruct(z, jnp.float32),
        jax.ShapeDtypeStruct(level, dtype),
        jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32),
    )
    model = models.create("testing").denoiser
    with pytest.raises(ConfigError, match=message):
        jax.eval_shape(model.init, KEY, *shapes)
