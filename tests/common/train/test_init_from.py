"""Starting from weights: what is taken, what starts anew, what is refused."""

import logging

import jax
import numpy as np
import pytest
from flax import traverse_util

from common.checkpoint import weights
from common.errors import ConfigError
from common.train.experiment import Experiment
from tests.common import toy


class Renaming(toy.Toy):
    """Reads weights that others wrote under other names, as a paper's task may."""

    def read_weights(self, init_from, target):
        assert target["params"]["out"]["bias"].shape == (10,)
        found = super().read_weights(init_from, target)
        return {name.removeprefix("theirs/"): array for name, array in found.items()}


def experiment(task=toy.Toy, **overrides):
    config = toy.get_config(**overrides)
    return Experiment(task(config), config, devices=jax.devices()[:1])


def flat(variables):
    arrays = traverse_util.flatten_dict(jax.device_get(variables), sep="/")
    return {name: np.asarray(array) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def random():
    return flat(experiment().init_state().variables())


@pytest.fixture
def file(random, tmp_path):
    """Writes weights that differ from the random ones everywhere."""

    def write(**changes):
        arrays = {name: array + 1 for name, array in random.items()}
        changes = {name.replace("__", "/"): array for name, array in changes.items()}
        path = tmp_path / "w.npz"
        np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})
        return str(path)

    return write


def test_a_layer_that_fits_starts_anew_all_the_same(random, file, caplog):
    anew = experiment(reinitialize=("^params/out/",), ema_decay=0.9)
    with caplog.at_level(logging.INFO, "absl"):
        state = anew.init_state(file())
    for variables in (state.variables(), {"params": state.params}):
        for name, array in flat(variables).items():
            started = random[name] + (not name.startswith("params/out/"))
            np.testing.assert_array_equal(array, started, name)
    line = "replaced params/out/kernel: file float32[32,10], model float32[32,10]"
    assert line in caplog.text


def test_a_head_of_other_classes_is_replaced_and_reported(random, file, caplog):
    path = file(
        params__out__kernel=np.ones((32, 7), np.float32),
        params__out__bias=None,
        params__out__gain=np.ones(7, np.float32),
    )
    anew = experiment(reinitialize=("^params/out/",))
    with caplog.at_level(logging.INFO, "absl"):
        state = anew.init_state(path)
    np.testing.assert_array_equal(
        state.params["out"]["bias"], random["params/out/bias"]
    )
    for line in (
        "replaced params/out/kernel: file float32[32,7], model float32[32,10]",
        "replaced params/out/bias: file nothing, model float32[10]",
        "dropped params/out/gain: file float32[7]",
    ):
        assert line in caplog.text


def test_a_head_of_other_classes_is_refused_with_the_flag(file):
    path = file(params__out__kernel=np.ones((32, 7), np.float32))
    with pytest.raises(ConfigError) as caught:
        experiment().init_state(path)
    message = str(caught.value)
    assert "mismatched params/out/kernel: file float32[32,7]" in message
    assert message.endswith("--config.reinitialize=\"('^params/out/',)\"")
    # To evaluate, there is no sense in a new head, only in the file's classes.
    reinitialize = experiment(reinitialize=("^params/out/",))
    with pytest.raises(
        ConfigError,
        match=r"float32\[32,7\], model .*\[32,10\]; set --config.data.num_classes=7$",
    ):
        reinitialize.load_variables(path)


@pytest.mark.parametrize(
    ("name", "shape"), [("out__kernel", (31, 10)), ("hidden__bias", (7,))]
)
def test_other_misfits_are_not_taken_for_classes(file, name, shape):
    path = file(**{f"params__{name}": np.ones(shape, np.float32)})
    with pytest.raises(ConfigError, match="mismatched") as caught:
        experiment().load_variables(path)
    assert "num_classes" not in str(caught.value)


@pytest.mark.parametrize("patterns", [("^params/out/",), ()])
def test_something_to_start_anew_and_nothing_to_start_from_is_told(patterns, caplog):
    experiment(reinitialize=patterns).init_state()
    assert ("config.reinitialize is set but --init_from" in caplog.text) == any(
        patterns
    )


def test_evaluation_takes_everything_from_the_file(random, file):
    loaded = experiment(reinitialize=("^params/out/",)).load_variables(file())
    for name, array in flat(loaded).items():
        np.testing.assert_array_equal(array, random[name] + 1, name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("start", ["init_state", "load_variables"])
def test_values_that_are_not_finite_are_named(file, value, start):
    path = file(params__hidden__bias=np.full(32, value, np.float32))
    with pytest.raises(ConfigError, match=r"w\.npz: params/hidden/bias .*32 of 32"):
        getattr(experiment(), start)(path)


def test_a_task_may_read_weights_of_others(random, tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, **{f"theirs/{name}": array + 1 for name, array in random.items()})
    with pytest.raises(ConfigError, match="unused theirs/params/"):
        experiment().load_variables(str(path))
    loaded = flat(experiment(Renaming).load_variables(str(path)))
    assert loaded.keys() == random.keys()


def test_adopting_changes_nothing_by_default():
    task = toy.Toy(toy.get_config())
    before = task.config.to_json()
    task.adopt("anything", ())
    assert task.config.to_json() == before


def test_a_run_folder_stands_for_its_weights(random, tmp_path):
    weights.save(
        tmp_path / "weights.safetensors",
        traverse_util.unflatten_dict(
            {tuple(name.split("/")): array for name, array in random.items()}
        ),
    )
    loaded = flat(experiment().load_variables(str(tmp_path)))
    np.testing.assert_array_equal(loaded["params/out/bias"], random["params/out/bias"])
