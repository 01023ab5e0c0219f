import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import traverse_util

from common.errors import ConfigError
from maxvit import models
from maxvit.convert import from_timm, to_timm
from tests.maxvit import timm_hash
from tests.maxvit.timm_hash import GOLDEN


@pytest.fixture(scope="module")
def state_dict():
    return timm_hash.tiny_state_dict()


@pytest.fixture(scope="module")
def run():
    """Evaluates the tiny model: variables, images -> maps, logits."""
    model = models.create("tiny")

    def maps_and_logits(model, images):
        maps = model.features(images)
        return maps, model.head(maps["stage4"])

    return jax.jit(lambda v, images: model.apply(v, images, method=maps_and_logits))


@pytest.fixture
def small():
    return timm_hash.narrow_state_dict()


def test_the_hash_is_the_specified_one(state_dict):
    np.testing.assert_allclose(
        timm_hash.values(4, 0), GOLDEN["hash_4_seed_0"], atol=1e-7
    )
    np.testing.assert_allclose(
        state_dict["stem.conv1.weight"][0, 0, 0],
        GOLDEN["stem.conv1.weight[0,0,0]"],
        atol=1e-7,
    )


@pytest.mark.parametrize("golden", GOLDEN["runs"], ids=lambda run: str(run["size"]))
def test_tiny_reproduces_timm(state_dict, run, golden):
    maps, logits = run(from_timm(state_dict), timm_hash.image(*golden["size"]))
    for name, features in maps.items():
        np.testing.assert_allclose(
            features[0, 1, 2, :3], golden[name], rtol=2e-6, atol=1e-5, err_msg=name
        )
    np.testing.assert_allclose(logits[0, :6], golden["logits"], atol=1e-5)
    np.testing.assert_allclose(logits.std(), golden["std"], atol=1e-6)
    assert logits.argmax() == golden["argmax"]


def flip_tables(name, array):
    return array[:, ::-1, ::-1] if name.endswith("bias_table") else array


def swap_table_axes(name, array):
    return array.swapaxes(1, 2) if name.endswith("bias_table") else array


def interleave_heads(name, array):
    if ".qkv." not in name:
        return array
    heads = array.shape[0] // 96
    per_head = array.reshape(heads, 3, 32, *array.shape[1:])
    return per_head.swapaxes(0, 1).reshape(array.shape)


def small_batch_norm_epsilon(name, array):
    return array + np.float32(1e-5 - 1e-3) if name.endswith("running_var") else array


@pytest.mark.parametrize(
    ("mistake", "published_error"),
    [
        (interleave_heads, 2.9),
        (flip_tables, 0.0096),
        (swap_table_axes, 0.0080),
        (small_batch_norm_epsilon, 0.0055),
    ],
)
def test_single_mistakes_are_far_above_the_tolerance(
    state_dict, run, mistake, published_error
):
    image = timm_hash.image(224, 224)
    wrong = {name: mistake(name, array) for name, array in state_dict.items()}
    _, right_logits = run(from_timm(state_dict), image)
    _, wrong_logits = run(from_timm(wrong), image)
    error = np.abs(right_logits - wrong_logits).max()
    np.testing.assert_allclose(error, published_error, rtol=0.02)


def test_every_tensor_is_used_and_every_variable_filled(state_dict):
    variables = from_timm(state_dict)
    model = models.create("tiny")
    wanted = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    assert jax.tree.map(np.shape, variables) == jax.tree.map(lambda x: x.shape, wanted)
    leaves = jax.tree.leaves(variables)
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}
    kept = [name for name in state_dict if not name.endswith("num_batches_tracked")]
    assert len(state_dict) == 560
    assert len(leaves) == len(kept) == 458 + 2 * 34
    # The same numbers, wherever they went.
    assert sum(leaf.sum(dtype=np.float64) for leaf in leaves) == pytest.approx(
        sum(state_dict[name].sum(dtype=np.float64) for name in kept)
    )


def check_round_trip(state_dict):
    back = to_timm(from_timm(state_dict))
    assert back.keys() == state_dict.keys()
    for name, array in back.items():
        if name.endswith("num_batches_tracked"):
            assert (array.dtype, array.shape, array) == (np.int64, (), 0)
        else:
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
            np.testing.assert_array_equal(array, state_dict[name], name, strict=True)


def test_there_and_back_is_bit_exact(state_dict, small):
    check_round_trip(state_dict)
    check_round_trip(small)


def test_half_precision_is_read_exactly(small):
    half = {name: array.astype(ml_dtypes.bfloat16) for name, array in small.items()}
    back = to_timm(from_timm(half))
    name = "head.fc.weight"
    np.testing.assert_array_equal(back[name], half[name].astype(np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params/head/logits/bias": None}, r"1 missing \(params/head/logits/bias\)"),
        ({"params/neck/bias": np.ones(3)}, r"1 unknown \(params/neck/bias\)"),
        (
            {"params/stage1/block0/mbconv/se/expand/bias": None},
            r"our side of a timm maxvit_\*_tf_\* model: 1 missing",
        ),
        ({"params/head/logits/bias": np.ones((2, 2))}, r"has shape \(2, 2\)"),
        ({"batch_stats/stem/norm1/var": np.full(8, np.inf)}, "8 of 8"),
    ],
)
def test_what_is_no_plain_maxvit_is_not_exported(small, change, message):
    flat = traverse_util.flatten_dict(from_timm(small), sep="/") | change
    flat = {name: array for name, array in flat.items() if array is not None}
    with pytest.raises(ConfigError, match=message):
        to_timm(traverse_util.unflatten_dict(flat, sep="/"))


def test_depths_are_read_from_the_names(small):
    params = traverse_util.flatten_dict(from_timm(small)["params"], sep="/")
    blocks = {name.rsplit("/mbconv")[0] for name in params if "/mbconv/" in name}
    assert blocks == {"stage1/block0", "stage2/block0"}
    assert "stage2/block0/mbconv/shortcut_conv/kernel" in params
    assert "stage1/block0/mbconv/shortcut_conv/kernel" not in params


@pytest.mark.parametrize(
    "name",
    [
        "head.fc.bias",
        "stem.conv1.bias",
        "stages.1.blocks.0.conv.shortcut.expand.weight",
        "stages.0.blocks.0.attn_grid.attn.rel_pos.relative_position_bias_table",
    ],
)
def test_a_missing_tensor_is_named(small, name):
    del small[name]
    with pytest.raises(ConfigError, match=f"1 missing \\({name}\\)"):
        from_timm(small)


def test_unknown_tensors_are_named(small):
    small["head.fc.gain"] = np.ones(3)
    with pytest.raises(ConfigError, match=r"1 unknown \(head.fc.gain\)"):
        from_timm(small)


def test_a_hole_between_blocks_is_named(small):
    renamed = {
        name.replace("stages.1.blocks.0", "stages.1.blocks.1"): array
        for name, array in small.items()
    }
    with pytest.raises(ConfigError, match=r"missing \(stages.1.blocks.0.conv.pre_norm"):
        from_timm(renamed)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("attn.rel_pos.relative_position_bias_table", (169, 2)),
        ("attn.rel_pos.mlp.fc1.weight", (512, 2)),
    ],
)
def test_timms_own_variants_are_refused(small, name, shape):
    small[f"stages.0.blocks.0.attn_block.{name}"] = np.zeros(shape, np.float32)
    with pytest.raises(ConfigError, match=r"rw, rmlp.*only the maxvit_\*_tf_\*"):
        from_timm(small)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("stages.0.blocks.0.conv.conv1_1x1.weight", (32, 8, 3, 3)),
        ("stem.conv1.weight", (8, 27)),
    ],
)
def test_a_wrong_layout_is_named(small, name, shape):
    small[name] = np.zeros(shape, np.float32)
    with pytest.raises(ConfigError, match=f"{name} has shape"):
        from_timm(small)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_values_are_refused(small, value):
    small["head.fc.bias"][3] = value
    with pytest.raises(ConfigError, match=r"head.fc.bias .* not finite \(1 of"):
        from_timm(small)


def test_numbers_of_another_kind_are_refused(small):
    small["head.fc.bias"] = small["head.fc.bias"].astype(np.int32)
    with pytest.raises(ConfigError, match=r"head.fc.bias holds int32"):
        from_timm(small)


@pytest.mark.parametrize("state", [{}, {"conv1.weight": np.zeros((8, 3, 7, 7))}])
def test_other_networks_are_refused(state):
    with pytest.raises(ConfigError, match="no weights of MaxViT blocks"):
        from_timm(state)
