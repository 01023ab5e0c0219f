"""The resizer's network: counts, golden values, options, and mistakes."""

import json
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common.errors import ConfigError
from common.models import cost as counted
from common.models import registry
from resizer import cost, models, resampling
from resizer.models import BilinearResizer, LearnedResizer, ResizedModel
from tests.resizer.small import filled, noise, quick

PATH = pathlib.Path(__file__).parents[1] / "golden" / "resizer.json"
GOLDEN = json.loads(PATH.read_text())
SIZES = {tuple(map(int, key.split(","))): c for key, c in GOLDEN["counts"].items()}


def variables_of(model, height=8, width=12, channels=3, size=(4, 6), seed=0):
    return filled(described(model, height, width, size, channels)[1], seed)


def run(model, variables, images, size, train=False):
    """Runs a compiled model; in training it returns the new statistics, too."""
    mutable = ["batch_stats"] if train else False
    return quick(lambda v, x: model.apply(v, x, size, train=train, mutable=mutable))(
        variables, images
    )


def described(model, height, width, size, channels=3, batch=1):
    """Shapes of the variables and of the result; nothing is computed."""
    images = jax.ShapeDtypeStruct((batch, height, width, channels), jnp.float32)
    return jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, size), images
    )


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def layers(blocks):
    """Paths of the convolutions in the order they are applied."""
    inner = [f"block{q}_conv{i}" for q in range(blocks) for i in (1, 2)]
    stem = [("stem", "conv1"), ("stem", "conv2")]
    return [*stem, *(("blocks", name) for name in (*inner, "conv")), ("tail",)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_counts_of_parameters(size):
    features, blocks = size
    model = LearnedResizer(features, blocks)
    variables = described(model, 16, 16, (8, 8))[1]
    kernels = [
        leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
        if path[-1].key == "kernel"
    ]
    expected = SIZES[size]
    assert sum(kernels) == expected["kernels"]
    assert count(variables["params"]) == expected["trainable"]
    assert count(variables) == expected["all"]
    assert cost.kernel_parameters(features, blocks) == expected["kernels"]
    assert cost.trainable_parameters(features, blocks) == expected["trainable"]


def test_flops_are_those_of_the_paper():
    assert cost.flops() / 1e9 == pytest.approx(1.977, abs=5e-4)
    assert 5.67 + cost.flops() / 1e9 == pytest.approx(7.65, abs=5e-3)
    columns = [(16, 1), (16, 2), (16, 3), (16, 4), (32, 1), (32, 2)]
    for side, row in GOLDEN["gflops_to_224"].items():
        found = [cost.flops(n, r, int(side)) / 1e9 for n, r in columns]
        np.testing.assert_allclose(found, row, atol=5.1e-4)


@pytest.mark.parametrize("sizes", [((48, 40), (24, 20)), ((30, 32), (21, 45))])
def test_flops_are_those_of_the_program(sizes):
    """The resizes are gathers here, and multiply nothing that is counted."""
    before, after = sizes
    model = LearnedResizer(8, 2)
    variables = described(model, *before, after)[1]
    images = jax.ShapeDtypeStruct((1, *before, 3), jnp.float32)
    found = counted.count(lambda v, x: model.apply(v, x, after), variables, images)
    assert 2 * found.multiply_adds == cost.flops(8, 2, before, after)


@pytest.mark.parametrize("case", GOLDEN["forward"], ids=["r=1", "r=2"])
def test_golden_forward_pass(case):
    model = LearnedResizer(case["features"], case["blocks"])
    variables = variables_of(model, *case["input"], size=tuple(case["output"]))
    params = jax.tree.map(np.asarray, variables["params"])
    for number, path in enumerate(layers(case["blocks"])):
        layer = params
        for name in path:
            layer = layer[name]
        flat = 0.1 * np.sin(0.7 * np.arange(layer["kernel"].size) + number)
        layer["kernel"] = flat.reshape(layer["kernel"].shape)
        if "bias" in layer:
            layer["bias"] = 0.05 * np.cos(np.arange(layer["bias"].size) + number)
    height, width = case["input"]
    images = (np.sin(0.3 * np.arange(height * width * 3)) + 1) / 2
    with jax.default_matmul_precision("highest"):
        out = run(
            model,
            {**variables, "params": params},
            images.reshape(1, height, width, 3),
            tuple(case["output"]),
        )
    out = np.asarray(out)
    assert out.sum() == pytest.approx(case["sum"], abs=1e-5)
    assert out.std() == pytest.approx(case["std"], abs=1e-5)
    np.testing.assert_allclose(out[0, 0, 0], case["first"], atol=1e-5)
    np.testing.assert_allclose(out[0, -1, -1], case["last"], atol=1e-5)


def test_two_blocks_are_not_one():
    """The second block reads the first: the Keras example's reads the input again."""
    one, two = LearnedResizer(4, 1), LearnedResizer(4, 2)
    variables = variables_of(two)
    shared = jax.tree.map(lambda x: x, variables)
    for group in shared.values():
        blocks = group["blocks"]
        group["blocks"] = {k: v for k, v in blocks.items() if "block1" not in k}
    images = noise(1, 8, 12, 3)
    single = run(one, shared, images, (4, 6))
    double = run(two, variables, images, (4, 6))
    assert np.abs(single - double).max() > 1e-3

    # And the first one's output reaches the second: another first, another result.
    changed = jax.tree.map(lambda x: x, variables)
    kernel = changed["params"]["blocks"]["block0_conv1"]["kernel"]
    changed["params"]["blocks"]["block0_conv1"]["kernel"] = 2 * kernel
    assert np.abs(run(two, changed, images, (4, 6)) - double).max() > 1e-4


@pytest.mark.parametrize(
    ("before", "after", "batch"),
    [
        ((300, 500), (224, 224), 2),
        ((64, 64), (224, 160), 1),
        ((224, 224), (224, 224), 1),
        ((37, 51), (13, 29), 1),
        ((1, 1), (3, 2), 1),
    ],
    ids=str,
)
def test_any_size(before, after, batch):
    out, _ = described(LearnedResizer(4), *before, after, batch=batch)
    assert (out.shape, out.dtype) == ((batch, *after, 3), jnp.float32)


@pytest.fixture(scope="module")
def zero_tail():
    """A small resizer that begins as the bilinear one, as it is initialised."""
    model = LearnedResizer(4, zero_init_tail=True)
    images = jnp.zeros((1, 8, 8, 3))
    return model, quick(lambda key: model.init(key, images, (4, 4)))(jax.random.key(0))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("sizes", [((9, 14), (5, 20)), ((8, 8), (4, 4))])
def test_zero_tail_is_the_bilinear_resize(train, sizes, zero_tail):
    (before, after), (model, variables) = sizes, zero_tail
    assert np.abs(variables["params"]["stem"]["conv1"]["kernel"]).max() > 0.01
    images = noise(2, *before, 3)
    out = run(model, variables, images, after, train)
    out = out[0] if train else out
    plain = BilinearResizer().apply({}, images, after, train=train)
    np.testing.assert_allclose(out, plain, atol=1e-6)
    expected = jax.image.resize(images, plain.shape, "linear", antialias=False)
    np.testing.assert_allclose(plain, expected, atol=1e-5)


def test_batch_norm_is_that_of_flax():
    """Moved behind the resize, with the same values, statistics and gradients."""
    from resizer.layers import BatchStatistics

    class Reference(nn.Module):
        @nn.compact
        def __call__(self, x):
            norm = nn.BatchNorm(False, momentum=0.99, epsilon=1e-3, name="bn")
            return resampling.resize(norm(x), (3, 5))

    class Ours(nn.Module):
        @nn.compact
        def __call__(self, x):
            factor, summand = BatchStatistics(name="bn")(x, True)
            return resampling.resize(x, (3, 5)) * factor + summand

    x = 2 + 3 * noise(2, 6, 8, 4)
    shapes = jax.eval_shape(Reference().init, jax.random.key(0), x)
    variables = filled(shapes)
    variables["params"]["bn"]["scale"] = np.arange(1.0, 5, dtype=np.float32)

    def score(model, x):
        out, state = model.apply(variables, x, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(out)), (out, state)

    gradient = quick(jax.value_and_grad(score, 1, has_aux=True), static_argnums=0)
    theirs, ours = (gradient(model, x) for model in (Reference(), Ours()))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        theirs,
        ours,
    )


def test_training_moves_statistics_and_evaluation_uses_them():
    model = LearnedResizer(4)
    variables = variables_of(model)
    images = noise(2, 8, 12, 3)
    _, state = run(model, variables, images, (4, 6), train=True)
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), state["batch_stats"], variables["batch_stats"]
    )
    assert min(jax.tree.leaves(moved)) > 0
    before, after = (
        run(model, {**variables, "batch_stats": stats}, images, (4, 6))
        for stats in (variables["batch_stats"], state["batch_stats"])
    )
    assert np.abs(before - after).max() > 0


def test_statistics_of_several_devices():
    model = LearnedResizer(4, axis_name="devices")
    variables = variables_of(model)
    images = noise(4, 8, 12, 3)

    def one(images):
        return model.apply(variables, images, (4, 6), True, mutable=["batch_stats"])

    parts = images.reshape(2, 2, 8, 12, 3)
    out, state = quick(jax.vmap(one, axis_name="devices"))(parts)
    whole, expected = run(LearnedResizer(4), variables, images, (4, 6), train=True)
    np.testing.assert_allclose(out.reshape(whole.shape), whole, atol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b, atol=1e-5), state, expected
    )


def test_half_precision_keeps_the_levels_of_the_image():
    """In bfloat16 the levels from 128 on come in twos, of 1 in 255 even in fours."""
    levels = jnp.linspace(0, 1, 256).reshape(1, 16, 16, 1).repeat(3, -1)
    model = LearnedResizer(4, dtype=jnp.bfloat16)
    variables = variables_of(model, size=(16, 16))
    tail = variables["params"]["tail"]
    silent = jax.tree.map(np.zeros_like, tail)
    variables["params"]["tail"] = silent
    out = run(model, variables, levels, (16, 16))
    np.testing.assert_array_equal(out, levels)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    jaxpr = str(
        jax.make_jaxpr(lambda v, x: model.apply(v, x, (8, 8)))(variables, levels)
    )
    convolutions = [x for x in jaxpr.splitlines() if "conv_general_dilated[" in x]
    assert len(convolutions) == 6
    assert all(":bf16[" in line for line in convolutions)


@pytest.mark.parametrize(
    ("fields", "channels"),
    [
        ({"norm": "group"}, 3),
        ({"norm": None}, 3),
        ({"method": "cubic", "antialias": True}, 3),
        ({"features": 6, "norm": "group"}, 1),
        ({}, 5),
        ({"out_channels": 3}, 1),
    ],
    ids=str,
)
def test_options_run(fields, channels):
    model = LearnedResizer(**{"features": 4} | fields)
    images = noise(1, 8, 12, channels)
    variables = variables_of(model, channels=channels)
    out = run(model, variables, images, (4, 6))
    assert out.shape == (1, 4, 6, fields.get("out_channels", channels))
    assert ("batch_stats" in variables) == ("norm" not in fields)
    base = quick(lambda x: resampling.resize(x, (4, 6), model.method, model.antialias))(
        images
    )
    assert 1e-3 < np.abs(out - base).max() < 10


def test_recomputing_the_stem_changes_nothing():
    images = noise(2, 8, 12, 3)
    found = []
    for remat in (False, True):
        model = LearnedResizer(4, remat_stem=remat)
        variables = variables_of(model)

        def loss(params, model=model, variables=variables):
            out, _ = model.apply(
                {**variables, "params": params}, images, (4, 6), True,
                mutable=["batch_stats"],
            )  # fmt: skip
            return jnp.sum(out**2)

        found.append(quick(jax.grad(loss))(variables["params"]))
    assert jax.tree.structure(found[0]) == jax.tree.structure(found[1])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *found
    )


class Thin(nn.Module):
    """A network of one convolution."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Conv(8, (3, 3), (2, 2))(x))
        return nn.Dense(4)(x.mean((1, 2)))


def test_gradients_reach_the_first_layer_through_a_frozen_network():
    model = ResizedModel(LearnedResizer(4), Thin(), (6, 6))
    images = noise(2, 12, 12, 3)
    variables = filled(jax.eval_shape(model.init, jax.random.key(0), images))

    def loss(resizer):
        params = {**variables["params"], "resizer": resizer}
        out, _ = model.apply(
            {**variables, "params": params}, images, True, mutable=["batch_stats"]
        )
        return jnp.sum(out**2)

    gradient = quick(jax.grad(loss))(variables["params"]["resizer"])
    assert np.abs(gradient["stem"]["conv1"]["kernel"]).max() > 1e-6
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_learns_32_images_by_heart():
    model = ResizedModel(LearnedResizer(4), Thin(), (6, 6))
    images, labels = noise(32, 12, 12, 3), np.arange(32) % 4
    variables = filled(jax.eval_shape(model.init, jax.random.key(0), images))
    optimizer = optax.adam(1e-2)

    def loss(params, state):
        logits, state = model.apply(
            {"params": params, **state}, images, True, mutable=["batch_stats"]
        )
        each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return each.mean(), (state, (logits.argmax(-1) != labels).mean())

    @jax.jit
    def step(carry, _):
        params, state, moments = carry
        gradient, (state, error) = jax.grad(loss, has_aux=True)(params, state)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(params, updates), state, moments), error

    params, state = variables["params"], {"batch_stats": variables["batch_stats"]}
    carry = params, state, optimizer.init(params)
    _, errors = jax.lax.scan(step, carry, length=300)
    assert errors[-1] == 0


def test_traced_once_for_each_shape():
    model = LearnedResizer(4)
    variables, traces = variables_of(model), []

    @quick
    def resize(variables, images):
        traces.append(images.shape)
        return model.apply(variables, images, (4, 6))

    for seed in range(3):
        resize(variables, noise(1, 8, 12, 3, seed=seed))
    assert len(traces) == 1
    resize.lower(variables, noise(1, 10, 12, 3))
    assert len(traces) == 2


@pytest.mark.parametrize(
    ("images", "size", "message"),
    [
        (jnp.zeros((1, 8, 8, 3)), 0, "the size to resize to is a positive integer"),
        (jnp.zeros((1, 8, 8, 3)), (4, -1), "positive integer or"),
        (jnp.zeros((1, 8, 8, 3)), (10**6, 10**6), "more than the 89478485"),
        (jnp.zeros((8, 8, 3)), 4, r"one array \[B, H, W, C\], given \(8, 8, 3\)"),
        ([jnp.zeros((8, 8, 3)), jnp.zeros((9, 8, 3))], 4, "several sizes there is"),
        (jnp.zeros((1, 0, 8, 3)), 4, "without pixels"),
        (jnp.zeros((1, 8, 8, 2)), 4, "only grey images can become others"),
    ],
    ids=str,
)
def test_bad_input(images, size, message):
    for model in (LearnedResizer(4, out_channels=3), BilinearResizer()):
        if "grey" in message and isinstance(model, BilinearResizer):
            continue
        with pytest.raises(ConfigError, match=message):
            model.init(jax.random.key(0), images, size)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "learnt"}, "did you mean 'learned'"),
        ({"feature": 3}, "did you mean 'features'"),
        ({"features": 0}, "features must be a whole number from 1"),
        ({"num_blocks": 1.5}, "num_blocks must be"),
        ({"method": "linaer"}, "did you mean 'linear'"),
        ({"norm": "layer"}, "unknown norm 'layer'"),
    ],
    ids=str,
)
def test_fields_that_cannot_be(fields, message):
    with pytest.raises(ConfigError, match=message):
        models.make(**fields)
    wrong = {"resizer": fields, "backbone": "cnniqa"}
    with pytest.raises(ConfigError, match=message):
        registry.backbone("resized", 2, 48, **wrong)


def test_a_network_of_the_registry_behind_the_resizer():
    model = registry.backbone(
        "resized", 5, 40, backbone="maxvit_testing", output_size=64,
        resizer={"features": 4}, options={"depths": (1,), "channels": (8,)},
    )  # fmt: skip
    images = jax.ShapeDtypeStruct((2, 40, 48, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    assert set(variables["params"]) == {"resizer", "backbone"}
    out = jax.eval_shape(model.apply, variables, images)
    assert (out.shape, out.dtype) == ((2, 5), jnp.float32)
    small = jax.eval_shape(
        lambda v, x: model.apply(v, x, method="resize"), variables, images
    )
    assert small.shape == (2, 64, 64, 3)


def test_a_network_that_takes_no_such_size():
    """VGG has five pools, and MaxViT's windows are of the size it was built for."""
    model = models.create(backbone="vgg16", output_size=16)
    images = jax.ShapeDtypeStruct((1, 40, 40, 3), jnp.float32)
    with pytest.raises(ConfigError, match="16"):
        jax.eval_shape(model.init, jax.random.key(0), images)

    class Flat(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            return nn.Dense(2)(x.reshape(len(x), -1))

    images = jnp.zeros((1, 12, 12, 3))
    fitting = ResizedModel(BilinearResizer(), Flat(), (6, 6))
    variables = filled(jax.eval_shape(fitting.init, jax.random.key(0), images))
    other = ResizedModel(BilinearResizer(), Flat(), (5, 6))
    with pytest.raises(ConfigError, match=r"does not take images \(1, 5, 6, 3\)"):
        jax.eval_shape(other.apply, variables, images)
    with pytest.raises(ConfigError, match="unknown backbone"):
        models.create(backbone="resnet5")
    with pytest.raises(ConfigError, match="unknown network to resize for"):
        models.create(backbone="resized")
