"""The same losses on one device, on eight, and with parameters split over them."""

import contextlib

import jax
import numpy as np
import pytest

from common.errors import ConfigError
from common.logging.writers import read_metrics
from common.parallel import mesh, sharding
from common.train import loop
from common.train.experiment import Experiment
from tests.common import toy

STEPS = 6


def losses(devices, **overrides):
    # Without dropout in bf16 or the like: only the order of sums may differ.
    config = toy.get_config(**overrides)
    experiment = Experiment(toy.Toy(config), config, devices=jax.devices()[:devices])
    step = experiment.compile_step()
    state = experiment.init_state()
    found = []
    with contextlib.closing(experiment.train_iterator()) as iterator:
        for _ in range(STEPS):
            state, metrics = step(state, next(iterator))
            found.append([float(metrics["loss"]), float(metrics["grad_norm"])])
    return np.array(found), state


@pytest.fixture(scope="module")
def one_device():
    return losses(1)[0]


def test_eight_devices_give_the_same_losses(one_device):
    found, state = losses(8)
    np.testing.assert_allclose(found, one_device, rtol=2e-5)
    assert len(state.params["hidden"]["kernel"].sharding.device_set) == 8


@pytest.mark.parametrize("shape", [(1, 8), (2, 4)])
def test_fsdp_gives_the_same_losses_and_splits_arrays(one_device, shape):
    data, fsdp = shape
    found, state = losses(8, mesh__data=data, mesh__fsdp=fsdp, mesh__fsdp_min_size=1000)
    np.testing.assert_allclose(found, one_device, rtol=2e-5)
    kernel = state.params["hidden"]["kernel"]  # [64, 32]
    assert kernel.addressable_shards[0].data.shape == (64 // fsdp, 32)
    moments = state.opt_state[0].mu["hidden"]["kernel"]
    assert moments.sharding == kernel.sharding
    assert state.params["out"]["kernel"].sharding.is_fully_replicated  # small


def test_restores_on_another_number_of_devices(tmp_path):
    """A run split over 2 x 4 devices goes on on 8 x 1 as if nothing had happened."""
    split = {"mesh__data": 2, "mesh__fsdp": 4, "mesh__fsdp_min_size": 1000}
    short = {"total_steps": 8, "checkpoint_every_steps": 4, "eval_every_steps": 8}

    def train(workdir, stop=None, **overrides):
        config = toy.get_config(**short, **overrides)
        loop.train(toy.Toy(config), config, workdir, stop_after_steps=stop)
        records = [r for r in read_metrics(workdir) if r["kind"] == "train"]
        return [r["loss"] for r in records]

    whole = train(tmp_path / "whole")
    train(tmp_path / "moved", stop=4, **split)
    moved = train(tmp_path / "moved", mesh__data=8)
    assert len(moved) == 8
    assert moved == pytest.approx(whole, rel=2e-5)


def test_mesh_must_match_the_devices():
    with pytest.raises(ConfigError, match=r"data=3 x .*fsdp=2 does not match the 8"):
        mesh.make(3, 2)
    with pytest.raises(ConfigError, match="fsdp=3 does not match the 8"):
        mesh.make(-1, 3)
    assert mesh.make(-1, 2).shape == {"data": 4, "fsdp": 2}


def test_indivisible_batch_names_both_numbers():
    made = mesh.make()
    with pytest.raises(ConfigError, match=r"batch=12 is not divisible by the 8 dev"):
        sharding.check_batch_size(made, "batch", 12)
    with pytest.raises(ConfigError, match="2 accumulation steps"):
        sharding.check_batch_size(made, "batch", 24, parts=2)


def test_largest_divisible_dimension_is_split():
    made = mesh.make(2, 4)
    shapes = {
        "wide": jax.ShapeDtypeStruct((3, 3, 64, 256), np.float32),
        "odd": jax.ShapeDtypeStruct((64, 1001), np.float32),
        "prime": jax.ShapeDtypeStruct((101, 103), np.float32),
        "small": jax.ShapeDtypeStruct((8, 8), np.float32),
    }
    specs = {k: s.spec for k, s in sharding.state(made, shapes, 1000).items()}
    assert specs == {
        "wide": jax.P(None, None, None, "fsdp"),
        "odd": jax.P("fsdp"),
        "prime": jax.P(),
        "small": jax.P(),
    }
