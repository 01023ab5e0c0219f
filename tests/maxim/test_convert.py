"""Official names and shapes, taken strictly, and given back bit for bit."""

import gzip
import json

import jax
import numpy as np
import pytest
from flax import traverse_util

from common.errors import ConfigError
from maxim import convert, models
from maxim.convert import variants
from tests.common import launching
from tests.maxim import weights

with gzip.open(launching.ROOT / "tests/golden/maxim/param_shapes.json.gz") as file:
    OFFICIAL = json.load(file)


@pytest.fixture(scope="module")
def model():
    return weights.small()


@pytest.fixture
def official(model):
    return weights.arrays(weights.shapes(model))


def flat(params):
    return traverse_util.flatten_dict(params, sep="/")


@pytest.mark.parametrize("name", ["S-1", "S-2", "S-3"])
def test_the_variant_is_found_and_fits_the_official_names_and_shapes(name):
    shapes = OFFICIAL[name]
    # Without drawing numbers: these are large.
    blank = {f"opt/target/{n}": np.zeros(s, np.float32) for n, s in shapes.items()}
    params = convert.from_npz(blank)
    assert {n: list(leaf.shape) for n, leaf in flat(params).items()} == shapes
    assert variants.of_model(models.create(name)).variant == name


@pytest.mark.parametrize("prefix", ["opt/target/", "params/", ""])
def test_whose_names_they_are_does_not_matter(model, official, prefix):
    given = weights.arrays(weights.shapes(model), prefix)
    params = flat(convert.from_npz(given, model))
    assert len(params) == len(weights.shapes(model))
    for name, leaf in params.items():
        assert leaf.dtype == np.float32
        np.testing.assert_array_equal(leaf, official[f"opt/target/{name}"], name)


def test_the_parameters_are_of_the_network(model, official):
    params = convert.from_npz(official, model)
    # Its image is that of the output convolution alone if the rest is silent.
    for name in ("kernel", "bias"):
        params["stage_0_output_conv_0"][name] = np.zeros_like(
            params["stage_0_output_conv_0"][name]
        )
    image = np.random.default_rng(1).random((1, 16, 16, 3), np.float32)
    restored = jax.jit(lambda p, x: model.apply({"params": p}, x, method="restore"))
    np.testing.assert_array_equal(restored(params, image), image)


def test_round_trip_is_bit_exact(model, official):
    params = convert.from_npz(official, model)
    back = convert.to_npz(params)
    wanted = {n: a for n, a in official.items() if n.startswith("opt/target/")}
    assert back.keys() == wanted.keys()
    for name, array in wanted.items():
        assert back[name].tobytes() == array.tobytes()


class Untouchable(dict):
    """An archive whose optimiser state must not be decoded."""

    def __getitem__(self, name):
        assert name.startswith("opt/target/"), f"{name} was read"
        return super().__getitem__(name)


def test_optimiser_state_is_not_even_read(model, official):
    official["opt/state/anything"] = np.array([object()])
    convert.from_npz(Untouchable(official), model)


KERNEL = "opt/target/stage_0_encoder_block_0/Conv_0/kernel"


def renamed(arrays):
    arrays["opt/target/stage_0_encoder_block_0/Conv_9/kernel"] = arrays.pop(KERNEL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop(KERNEL), r"missing params/\S+block_0/Conv_0/kernel: model "),
        (renamed, r"missing .*unused params/stage_0_encoder_block_0/Conv_9/kernel"),
        (lambda a: a.update({KERNEL: a[KERNEL][..., :2]}), r"mismatched params/\S+Co"),
        (lambda a: a.update({KERNEL: a[KERNEL].T}), r"file float32\[4,8,1,1\], model "),
        (lambda a: a.update({KERNEL: a[KERNEL] * np.nan}), r"Conv_0/kernel .*finite"),
        (
            lambda a: a.update({KERNEL: np.full_like(a[KERNEL], 1e39, float)}),
            r"Conv_0/kernel .* not finite",
        ),
        (lambda a: a.update({KERNEL: a[KERNEL].astype(int)}), r"is int64, not of flo"),
        (
            lambda a: a.update({KERNEL: np.zeros(3, [("x", "f4")])}),
            r"not of floating point",
        ),
        (lambda a: a.pop("opt/target/stage_0_input_conv_0/kernel"), "holds no weigh"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(model, official, change, message):
    change(official)
    with pytest.raises(ConfigError, match=message) as caught:
        convert.from_npz(official, model)
    assert "\n" not in str(caught.value)


def test_strangers_among_own_names_are_refused(model):
    ours = weights.arrays(weights.shapes(model), "params/")
    ours["batch_stats/mean"] = np.zeros(3, np.float32)
    with pytest.raises(ConfigError, match=r"unused batch_stats/mean"):
        convert.from_npz(ours, model)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("S-2", r"is of a MAXIM S-2 with 3 scales; the model is S-3 with 3 scales: "),
        ("S-2", r"set --config\.model\.variant=S-2$"),
        ("small", r"set --config\.model\.features=8 \S+num_groups=1 \S+blocks=1$"),
    ],
)
def test_another_variant_is_named_with_what_to_set(name, message):
    blank = {n: np.zeros(s, np.float32) for n, s in OFFICIAL[name].items()}
    with pytest.raises(ConfigError, match=message):
        convert.from_npz(blank, models.create("S-3"))


def test_other_scales_are_a_flag_too(model, official):
    with pytest.raises(ConfigError, match=r"set --config.model.num_supervision_scales"):
        convert.from_npz(official, weights.small(num_supervision_scales=1))
    # Of S-1's names only the number of scales says that they are not the default's.
    shapes = dict(OFFICIAL["S-1"])
    for name in [n for n in shapes if "_input_conv_2/" in n]:
        del shapes[name]
    blank = {n: np.zeros(s, np.float32) for n, s in shapes.items()}
    with pytest.raises(ConfigError, match=r"S-1 with 2 scales.*_scales=2$"):
        convert.from_npz(blank, models.create("S-1"))
    flags = r"variant=S-1 --config\.model\.num_supervision_scales=2$"
    with pytest.raises(ConfigError, match=flags):
        convert.from_npz(blank, models.create("S-2"))


def test_weights_of_no_variant_need_their_model(official):
    with pytest.raises(ConfigError, match=r"MAXIM features 4, .* none of S-1, S-2"):
        convert.from_npz(official)
    del official["opt/target/stage_0_input_conv_0/kernel"]
    with pytest.raises(ConfigError, match=r"holds no weights of a MAXIM.*got opt/ta"):
        convert.from_npz(official)
    with pytest.raises(ConfigError, match=r"holds no weights of a MAXIM.*got none"):
        convert.from_npz({})


def test_parts_that_are_missing_altogether(model, official):
    cut = {n: a for n, a in official.items() if "_global_block_" not in n}
    with pytest.raises(ConfigError, match="lack whole parts"):
        convert.from_npz(cut, model)


def test_to_npz_refuses_what_is_no_maxim():
    with pytest.raises(ConfigError, match="params holds no weights of a MAXIM"):
        convert.to_npz({"dense": {"kernel": np.ones(3)}})
