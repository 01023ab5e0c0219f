import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from maxvit import models
from maxvit.layers import DropPath
from maxvit.models import create
from tests.maxvit.small import count, filled, shapes

# Counts of arXiv 2204.01697's models, taken from an independent implementation.
PUBLISHED = {
    "tiny": (30_916_528, 30_403_528, 41_608_987, 47_616, 458),
    "small": (68_927_956, 68_158_956, 84_956_223, 71_296, 460),
    "base": (119_467_708, 118_698_708, 135_495_975, 147_328, 980),
    "large": (211_785_560, 210_760_560, 233_149_635, 196_608, 978),
    "xlarge": (474_951_952, 473_414_952, 506_987_643, 294_912, 978),
}
PARTS = {
    "tiny": (38_848, 290_792, 1_114_064, 11_165_456, 17_530_688, 776_680),
    "small": (38_848, 638_972, 2_488_248, 25_030_296, 39_370_464, 1_361_128),
    "base": (38_848, 638_972, 7_575_336, 70_482_960, 39_370_464, 1_361_128),
    "large": (151_424, 1_138_640, 13_418_208, 125_074_112, 69_926_528, 2_076_648),
    "xlarge": (337_728, 2_543_544, 30_080_592, 280_901_664, 157_187_520, 3_900_904),
}


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(1), (8, 64, 64, 3))


@pytest.fixture(scope="module")
def logits(model, variables, images):
    return jax.jit(model.apply)(variables, images)


@pytest.mark.parametrize("variant", PUBLISHED)
def test_published_counts(variant):
    total, without_classifier, total_21k, statistics, tensors = PUBLISHED[variant]
    variables = shapes(create(variant))
    params = variables["params"]
    assert count(params) == total
    assert count(params) - count(params["head"]["logits"]) == without_classifier
    assert count(variables["batch_stats"]) == statistics
    assert len(jax.tree.leaves(params)) == tensors
    parts = ("stem", "stage1", "stage2", "stage3", "stage4", "head")
    assert tuple(count(params[part]) for part in parts) == PARTS[variant]
    width = models.VARIANTS[variant].channels[-1]
    assert total + (width + 1) * (21_843 - 1000) == total_21k


def test_counts_at_other_sizes_and_classes():
    assert count(shapes(create("T", num_classes=21_843))["params"]) == 41_608_987
    for size, total in ((384, 30_977_008), (512, 31_049_584)):
        assert count(shapes(create("T", image_size=size), size)["params"]) == total


@pytest.mark.parametrize(("alias", "variant"), models.ALIASES.items())
def test_aliases(alias, variant):
    assert create(alias) == create(variant)


def test_testing_variant_is_small():
    assert 4 * count(shapes(create("testing"))["params"]) < 1_000_000


def test_compute_of_tiny():
    model = create("tiny")
    images = jnp.zeros((1, 224, 224, 3))
    cost = jax.jit(model.apply).lower(shapes(model), images).cost_analysis()
    # The paper counts 5.6 G multiply-adds, of matrix products and convolutions.
    np.testing.assert_allclose(cost["flops"], 2 * 5.6e9, rtol=0.03)


def test_parameters_are_drawn_as_published():
    model = create("testing", image_size=8, depths=(1,), channels=(16,))
    key = jax.random.key(0, impl="rbg")  # compiles faster than the default
    params = jax.jit(model.init)(key, jnp.zeros((1, 8, 8, 3)))["params"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = path[-1].key
        if name == "bias":
            np.testing.assert_array_equal(leaf, 0)
        elif name == "scale":
            np.testing.assert_array_equal(leaf, 1)
        else:
            assert name in ("kernel", "relative_bias")
            if leaf.size > 500:
                np.testing.assert_allclose(leaf.std(), 0.02, rtol=0.15)
                # A plain normal has values beyond two deviations, unlike a cut one.
                assert np.abs(leaf).max() > 0.05


def test_features_are_the_maps_of_every_stage(model, variables, images, logits):
    maps = jax.jit(lambda v, x: model.apply(v, x, method="features"))(variables, images)
    assert {name: features.shape for name, features in maps.items()} == {
        "stem": (8, 32, 32, 8),
        "stage1": (8, 16, 16, 8),
        "stage2": (8, 8, 8, 16),
        "stage3": (8, 4, 4, 32),
        "stage4": (8, 2, 2, 48),
    }
    assert logits.shape == (8, 10)
    assert logits.dtype == jnp.float32


def test_training_moves_statistics_and_drops_paths(images):
    model = create("testing", num_classes=10, image_size=64, drop_path_rate=0.5)
    variables = filled(model, 64)

    @jax.jit
    def train(key):
        return model.apply(
            variables, images, True, rngs={"dropout": key}, mutable=["batch_stats"]
        )

    logits, updated = train(jax.random.key(0))
    again, _ = train(jax.random.key(0))
    other, _ = train(jax.random.key(1))
    np.testing.assert_array_equal(logits, again)
    assert (logits != other).any()

    # The stem's statistics do not depend on dropped paths.
    x = jax.lax.conv_general_dilated(
        images,
        variables["params"]["stem"]["conv1"]["kernel"],
        (2, 2),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    x = x + variables["params"]["stem"]["conv1"]["bias"]
    before = variables["batch_stats"]["stem"]["norm1"]
    after = updated["batch_stats"]["stem"]["norm1"]
    for name, value in (("mean", x.mean((0, 1, 2))), ("var", x.var((0, 1, 2)))):
        wanted = 0.99 * before[name] + 0.01 * value
        np.testing.assert_allclose(after[name], wanted, rtol=1e-5, atol=1e-6)
    jax.tree.map(
        lambda new, old: np.testing.assert_array_equal((new != old).any(), True),
        updated["batch_stats"],
        variables["batch_stats"],
    )


def test_features_can_train(model, variables, images):
    maps, updated = jax.eval_shape(
        lambda v: model.apply(
            v, images, True, method="features", mutable=["batch_stats"]
        ),
        variables,
    )
    assert "stage4" in maps
    assert "batch_stats" in updated


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    branch = jnp.ones((4000, 2, 3))
    apply = DropPath(0.25).apply
    dropped = apply({}, branch, True, rngs={"dropout": jax.random.key(0)})
    per_sample = np.asarray(dropped).reshape(4000, 6)
    np.testing.assert_array_equal(per_sample, per_sample[:, :1].repeat(6, axis=1))
    np.testing.assert_allclose(np.unique(per_sample), [0, 1 / 0.75], rtol=1e-6)
    np.testing.assert_allclose(per_sample.mean(), 1.0, atol=0.03)
    np.testing.assert_array_equal(apply({}, branch, False), branch)


def test_drop_rates_follow_the_depth():
    model = create("tiny").bind({})
    rates = [rate for stage in model.stages for rate in stage.drop_paths]
    np.testing.assert_allclose(rates, 0.2 * np.arange(11) / 11)


def test_every_parameter_gets_a_gradient():
    model = create("testing", 10, 16, depths=(1, 1), channels=(8, 16))
    variables = filled(model, 16)
    images = jax.random.normal(jax.random.key(1), (4, 16, 16, 3))

    @jax.jit
    def gradient(params):
        def loss(params):
            logits = model.apply({**variables, "params": params}, images)
            return jax.nn.logsumexp(logits, axis=-1).sum()

        return jax.grad(loss)(params)

    grads = gradient(variables["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        # The bias tables too: they are looked up in the forward pass.
        assert (leaf != 0).any(), jax.tree_util.keystr(path)


@pytest.mark.slow
def test_remat_changes_no_gradient():
    fields = {"num_classes": 5, "image_size": 8, "drop_path_rate": 0.5}
    fields |= {"depths": (2,), "channels": (16,)}
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))

    def gradient(remat):
        model = create("testing", **fields, remat=remat)
        variables = filled(model, 8)

        def loss(params):
            logits, _ = model.apply(
                {**variables, "params": params},
                images,
                True,
                rngs={"dropout": jax.random.key(2)},
                mutable=["batch_stats"],
            )
            return (logits**2).sum()

        return jax.jit(jax.grad(loss))(variables["params"])

    plain, again = gradient("none"), gradient("full")
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(plain))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * scale, rtol=1e-4),
        again,
        plain,
    )


def test_bfloat16_is_close(variables, images, logits):
    model = create("testing", num_classes=10, image_size=64, dtype="bfloat16")
    maps, rough = jax.jit(
        lambda v, x: (model.apply(v, x, method="features"), model.apply(v, x))
    )(variables, images)
    assert {features.dtype for features in maps.values()} == {jnp.dtype(jnp.bfloat16)}
    assert rough.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes(model, 64))} == {
        jnp.dtype(jnp.float32)
    }
    np.testing.assert_allclose(rough, logits, atol=0.05 * float(logits.std()))


def test_a_sharded_batch_needs_no_communication(model, variables, images, logits):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.P("data"))
    whole = jax.sharding.NamedSharding(mesh, jax.P())
    apply = jax.jit(model.apply, in_shardings=(whole, split))
    hlo = apply.lower(variables, images).compile().as_text()
    for collective in ("all-gather", "all-to-all", "all-reduce", "collective-permute"):
        assert collective not in hlo
    sharded = apply(variables, images)
    assert sharded.sharding.is_equivalent_to(split, 2)
    np.testing.assert_allclose(sharded, logits, atol=1e-5)


def test_few_stages_and_rectangles():
    fields = {"depths": [1, 2], "channels": [8, 16], "num_classes": 10}
    digits = create("testing", image_size=32, **fields)
    assert digits.window_size == digits.grid_size == (4, 4)
    wide = create("testing", image_size=(16, 32), window_size=2, **fields)
    assert wide.window_size == wide.grid_size == (2, 2)
    default = create("testing", image_size=(16, 32), **fields)
    assert default.window_size == (2, 4)
    variables = shapes(default, (16, 32))
    images = jnp.ones((2, 16, 32, 3))
    assert jax.eval_shape(default.apply, variables, images).shape == (2, 10)
    block = variables["params"]["stage2"]["block1"]
    assert block["grid_attention"]["attention"]["relative_bias"].shape == (2, 3, 7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create("tinny"), "did you mean 'tiny'"),
        (lambda: create("tiny", drop_path=0.1), "did you mean 'drop_path_rate'"),
        (lambda: create("tiny", name="x"), "unknown MaxViT field 'name'"),
        (lambda: create("tiny", dtype="bfloat"), "did you mean 'bfloat16'"),
        (lambda: create("tiny", remat="ful"), "did you mean 'full'"),
        (lambda: create("tiny", depths=(2, 2)), "one entry per stage"),
        (lambda: create("tiny", depths=4), "one integer per stage"),
        (lambda: create("tiny", num_classes=-1), "num_classes must be an integer"),
        (lambda: create("tiny", head_dim=24), "64 do not divide into heads of 24"),
        (lambda: create("tiny", se_ratio=0.001), "leaves nothing of 64"),
        (lambda: create("tiny", drop_path_rate=1.5), r"in \[0, 1\], got 1.5"),
        (lambda: create("tiny", window_size=(7, 7, 7)), "positive integer or"),
        (lambda: create("tiny", image_size=0), "positive integer or .* given 0"),
        (lambda: create("tiny", image_size=(224, -1)), "positive integer or"),
    ],
)
def test_mistakes_are_explained(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize("shape", [(1, 0, 64, 3), (1, 64, 64, 4), (64, 64, 3)])
def test_what_is_no_image_is_refused(model, variables, shape):
    with pytest.raises(ConfigError, match=r"must be \[B, H, W, 3\]"):
        jax.eval_shape(model.apply, variables, jnp.ones(shape))
