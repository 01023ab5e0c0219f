"""Checkpoints that are broken, half written, or that the disk has no room for."""

import logging
import os
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.checkpoint.manager import Checkpoints
from common.errors import ConfigError
from common.task import Monitor

META = {"examples_seen": 0, "evaluated": True}


def state_of(value, size=1000):
    return {"a": jnp.full((size,), value, jnp.float32), "n": {"b": jnp.ones((2, 3))}}


ABSTRACT = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0])
    ),
    state_of(0.0),
)


@pytest.fixture
def two_steps(tmp_path):
    """A directory with checkpoints of steps 1 and 2."""
    with_checkpoints(tmp_path, lambda c: [save(c, 1), save(c, 2)])
    return tmp_path


def with_checkpoints(workdir, function, **options):
    checkpoints = Checkpoints(workdir, **options)
    try:
        return function(checkpoints)
    finally:
        checkpoints.close()


def save(checkpoints, step, metrics=None):
    started = checkpoints.save(step, state_of(float(step)), META, metrics)
    return checkpoints.wait() and started


def restore(workdir):
    return with_checkpoints(workdir, lambda c: c.restore(ABSTRACT))


def test_restores_the_newest(two_steps):
    restored = restore(two_steps)
    assert restored.step == 2
    np.testing.assert_array_equal(restored.state["a"], np.full(1000, 2.0))
    assert restored.meta["examples_seen"] == 0


def test_nothing_to_restore(tmp_path):
    assert restore(tmp_path) is None


def files_of(workdir, step):
    folder = workdir / "checkpoints" / f"{step:09d}"
    return [path for path in folder.rglob("*") if path.is_file()]


def test_truncated_latest_falls_back_with_a_warning(two_steps, caplog):
    for path in files_of(two_steps, 2):
        if "d" in path.parts:  # Orbax' array data
            os.truncate(path, path.stat().st_size // 2)
    with caplog.at_level(logging.WARNING):
        restored = restore(two_steps)
    assert restored.step == 1
    np.testing.assert_array_equal(restored.state["a"], np.full(1000, 1.0))
    assert "checkpoint of step 2 cannot be read" in caplog.text


def test_training_goes_on_after_falling_back(two_steps):
    """Orbax saves nothing older than what it believes to be the latest step."""
    for path in files_of(two_steps, 2):
        if "d" in path.parts:
            os.truncate(path, 0)

    def go_on(checkpoints):
        assert checkpoints.restore(ABSTRACT).step == 1
        return save(checkpoints, 2), checkpoints.steps()

    assert with_checkpoints(two_steps, go_on) == (True, [1, 2])
    assert restore(two_steps).step == 2
    assert (two_steps / "checkpoints" / "unreadable-000000002").exists()


def test_reading_only_leaves_a_broken_step_where_it_is(two_steps):
    for path in files_of(two_steps, 2):
        if "d" in path.parts:
            os.truncate(path, 0)
    restored = with_checkpoints(
        two_steps, lambda c: c.restore(ABSTRACT), read_only=True
    )
    assert restored.step == 1
    assert (two_steps / "checkpoints" / "000000002").exists()


def test_replace_writes_a_step_again(two_steps):
    def again(checkpoints):
        checkpoints.save(2, state_of(7.0), META)
        checkpoints.wait()
        assert checkpoints.restore(ABSTRACT).state["a"][0] == 2.0
        checkpoints.save(2, state_of(7.0), META, replace=True)
        checkpoints.wait()
        return checkpoints.restore(ABSTRACT).state["a"][0]

    assert with_checkpoints(two_steps, again) == 7.0


def test_full_disk_while_replacing_keeps_the_old_step(two_steps):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def replace(checkpoints):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            return checkpoints.save(2, state_of(7.0), META, replace=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert not with_checkpoints(two_steps, replace)
    restored = restore(two_steps)
    assert restored.step == 2
    assert restored.state["a"][0] == 2.0


@pytest.mark.parametrize("committed", [False, True])
def test_death_while_replacing_leaves_one_of_the_two(two_steps, committed):
    folder = two_steps / "checkpoints"
    (folder / "000000002").rename(folder / "replaced-000000002")
    if committed:
        shutil.copytree(folder / "replaced-000000002", folder / "000000002")
    else:
        (folder / "000000002").mkdir()
    assert restore(two_steps).step == 2
    assert not (folder / "replaced-000000002").exists()


def test_bare_latest_directory_is_not_a_checkpoint(two_steps):
    (two_steps / "checkpoints" / "000000009").mkdir()
    assert restore(two_steps).step == 2


def test_all_broken_is_an_error_not_a_fresh_start(two_steps):
    for step in (1, 2):
        for path in files_of(two_steps, step):
            if "d" in path.parts:
                os.truncate(path, 0)
    with pytest.raises(ConfigError, match="none of the checkpoints"):
        restore(two_steps)


def test_wrong_shape_names_the_array(two_steps):
    wrong = dict(ABSTRACT, a=jax.ShapeDtypeStruct((7,), jnp.float32))
    with pytest.raises(ConfigError, match=r"a is \(1000,\), needed \(7,\)"):
        with_checkpoints(two_steps, lambda c: c.restore(wrong))


def test_full_disk_keeps_the_old_checkpoint(two_steps):
    """A file-size limit stops every write of more than 100 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(checkpoints):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            ok = save(checkpoints, 3)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert not ok
        assert save(checkpoints, 4)  # there is room again

    with_checkpoints(two_steps, fill_up)
    assert restore(two_steps).step == 4
    assert with_checkpoints(two_steps, lambda c: c.steps()) == [2, 4]


def test_keeps_the_last_and_the_best(tmp_path):
    def save_all(checkpoints):
        for step, error in enumerate([5.0, 1.0, 3.0, 2.0, None, None], start=1):
            save(checkpoints, step, {"error": error} if error else None)
        return checkpoints.steps()

    options = {"keep_last": 2, "keep_best": 1, "monitor": Monitor("error", "min")}
    assert with_checkpoints(tmp_path, save_all, **options) == [2, 5, 6]
