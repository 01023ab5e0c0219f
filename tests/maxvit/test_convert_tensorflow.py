"""Official TensorFlow names, and the script that dumps a checkpoint."""

import logging
import subprocess
import sys
import types

import ml_dtypes
import numpy as np
import pytest
from flax import traverse_util

from common.errors import ConfigError, DataError
from maxvit.convert import dump_tensorflow, from_tensorflow, from_timm
from tests.common import launching
from tests.maxvit import tensorflow_names, timm_hash

AVERAGE = "/ExponentialMovingAverage"


@pytest.fixture(scope="module")
def state_dict():
    return timm_hash.narrow_state_dict()


@pytest.fixture
def dump(state_dict):
    return tensorflow_names.variables(state_dict, head_dim=4)


@pytest.fixture
def trained(dump):
    """A checkpoint of training: last values, moving averages, an optimiser."""
    last = {name: array + 1 for name, array in dump.items()}
    averages = {name + AVERAGE: array for name, array in dump.items()}
    slots = {
        f"{name}/{slot}": np.full_like(array, np.nan)
        for name, array in dump.items()
        for slot in ("Adam", "Adam_1", "adam_m", "RMSProp_1", "Momentum")
    }
    counters = {"global_step": np.int64(7), "beta1_power": np.float32(0.9)}
    return last | averages | slots | counters


def flat(variables):
    return traverse_util.flatten_dict(variables, sep="/")


def check_equal(variables, expected):
    variables, expected = flat(variables), flat(expected)
    assert variables.keys() == expected.keys()
    for name, array in variables.items():
        np.testing.assert_array_equal(array, expected[name], name, strict=True)


@pytest.mark.parametrize("scope", ["maxvit/", ""])
def test_equal_to_the_same_weights_from_timm(state_dict, scope):
    dump = tensorflow_names.variables(state_dict, 4, scope)
    assert f"{scope}block_01_00/attention_1/q/weight" in dump
    assert dump[f"{scope}block_01_00/attention_1/q/weight"].shape == (16, 4, 4)
    check_equal(from_tensorflow(dump), from_timm(state_dict))


def test_moving_averages_count_and_training_state_does_not(state_dict, dump, trained):
    check_equal(from_tensorflow(trained), from_timm(state_dict))
    only = {name: a for name, a in trained.items() if name.endswith(AVERAGE)}
    check_equal(from_tensorflow(only), from_timm(state_dict))


def test_a_variable_without_average_is_said(dump, trained, caplog):
    name = "maxvit/stem/norm_0/moving_mean"
    del trained[name + AVERAGE]
    with caplog.at_level(logging.WARNING, "absl"):
        converted = from_tensorflow(trained)
    assert f"no moving average, e.g. {name.removeprefix('maxvit/')}" in caplog.text
    mean = converted["batch_stats"]["stem"]["norm1"]["mean"]
    np.testing.assert_array_equal(mean, dump[name] + 1)


@pytest.mark.parametrize(
    "name",
    [
        "cls_head/logit_dense/bias",
        "block_01_00/mbconv/shortcut_conv/kernel",
        "block_00_00/attention_1/k/bias",
    ],
)
def test_a_missing_variable_is_named(dump, name):
    del dump[f"maxvit/{name}"]
    with pytest.raises(ConfigError, match=rf"official .* 1 missing \({name}\)"):
        from_tensorflow(dump)


def test_unknown_and_broken_variables_are_named(dump):
    with pytest.raises(ConfigError, match=r"1 unknown \(neck/kernel\)"):
        from_tensorflow(dump | {"neck/kernel": np.ones(3)})
    dump["maxvit/final_layer_norm/beta"][0] = np.nan
    with pytest.raises(ConfigError, match=r"final_layer_norm/beta .* not finite"):
        from_tensorflow(dump)


class Reader:
    """What TensorFlow gives to read a checkpoint with."""

    def __init__(self, arrays):
        self.arrays = arrays

    def get_variable_to_shape_map(self):
        return {name: list(np.shape(a)) for name, a in self.arrays.items()}

    def get_tensor(self, name):
        return self.arrays[name]


@pytest.fixture
def checkpoint(trained, monkeypatch):
    """Installs a stand-in for TensorFlow that knows one checkpoint."""
    extra = {"_CHECKPOINTABLE_OBJECT_GRAPH": b"text", "save_counter": np.int64(1)}
    bias = "maxvit/stem/conv_0/bias"
    half = {bias + AVERAGE: trained[bias + AVERAGE].astype(ml_dtypes.bfloat16)}

    def load_checkpoint(path):
        if path != "here/model.ckpt-7":
            raise ValueError(f"Could not find checkpoint or SavedModel at {path}.\nx")
        return Reader(trained | extra | half)

    tf = types.ModuleType("tensorflow")
    tf.train = types.SimpleNamespace(load_checkpoint=load_checkpoint)
    monkeypatch.setitem(sys.modules, "tensorflow", tf)
    return "here/model.ckpt-7"


def test_dump_keeps_names_and_values(checkpoint, trained, dump, tmp_path):
    dest = tmp_path / "new" / "w.npz"
    line = dump_tensorflow.main([checkpoint, str(dest)])
    assert line == f"{dest}: {2 * len(dump)} arrays"
    with np.load(dest, allow_pickle=False) as archive:
        assert set(archive.files) == dump.keys() | {name + AVERAGE for name in dump}
        for name in dump:
            np.testing.assert_array_equal(archive[name], trained[name], strict=True)
        np.testing.assert_array_equal(
            archive["maxvit/stem/conv_0/bias" + AVERAGE],
            dump["maxvit/stem/conv_0/bias"].astype(ml_dtypes.bfloat16),
        )
    assert [path.name for path in dest.parent.iterdir()] == ["w.npz"]


def test_dump_replaces_a_file_whole_or_not_at_all(checkpoint, tmp_path, monkeypatch):
    dest, side = tmp_path / "w.npz", tmp_path / "w.npz.sha256"
    dest.write_bytes(b"old")
    side.write_text("0" * 64)

    def fail(path, **arrays):
        path.write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", fail)
        with pytest.raises(ConfigError, match=r"cannot write .*w\.npz: disk full"):
            dump_tensorflow.main([checkpoint, str(dest)])
    assert dest.read_bytes() == b"old"
    dump_tensorflow.main([checkpoint, str(dest)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.npz"]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["x"], ConfigError, "CHECKPOINT and DEST are needed, got .'x'."),
        (["x", "w.safetensors"], ConfigError, r"w\.safetensors must end in \.npz"),
        (["there", "w.npz"], DataError, "checkpoint there: Could not find [^\n]*$"),
    ],
)
@pytest.mark.usefixtures("checkpoint")
def test_mistakes_of_a_dump(words, error, message):
    with pytest.raises(error, match=message):
        dump_tensorflow.main(words)


def test_a_checkpoint_without_variables(monkeypatch):
    tf = types.ModuleType("tensorflow")
    tf.train = types.SimpleNamespace(
        load_checkpoint=lambda path: Reader({"global_step": np.int64(3), "s": b"x"})
    )
    monkeypatch.setitem(sys.modules, "tensorflow", tf)
    with pytest.raises(DataError, match="empty holds no variables"):
        dump_tensorflow.read("empty")


def test_without_tensorflow_the_script_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ConfigError, match="pip install tensorflow"):
        dump_tensorflow.read("x")


def test_the_script_explains_itself():
    command = [sys.executable, "-m", "maxvit.convert.dump_tensorflow"]
    for args, code in ((["--help"], 0), (["x"], 2)):
        result = subprocess.run(
            [*command, *args], cwd=launching.ROOT, capture_output=True, text=True
        )
        assert result.returncode == code
        assert "CHECKPOINT" in (result.stderr if code else result.stdout)
        assert result.stderr.count("\n") == (1 if code else 0)
