"""Pairs of satellite images in the pipeline, and networks that are told of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import data

from common.data import pipeline
from common.errors import ConfigError
from enhancement import config as configs
from enhancement import satellite
from enhancement.satellite_pairs import CONDITIONS, Satellite, condition
from enhancement.satellite_task import SatelliteSR

PHOTO = data.astronaut()[:64, 100:180]


def task_of(**fields):
    config = configs.satellite_config()
    config.data.source = "bundled"
    config.data.name = "photos"
    config.total_steps = 2
    configs.shrink(config)
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    return SatelliteSR(config)


def test_pairs_are_the_degradation_with_targets_of_bytes():
    pair = Satellite("full", 2).pair(PHOTO, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    rng.random()  # which kind of pairs
    lr, target, meta = satellite.degrade(
        int(rng.integers(2**63)), PHOTO, satellite.preset("full", 2)
    )
    np.testing.assert_array_equal(pair["image"], lr)
    np.testing.assert_array_equal(pair["target"], np.rint(target * 255))
    np.testing.assert_array_equal(pair["condition"], condition(meta))
    assert pair["image"].shape == (32, 40, 3)


def test_a_share_of_pairs_is_ideal():
    made = Satellite("full", 2, mix=0.5)
    ideal = Satellite("ideal_bicubic", 2).pair(PHOTO, np.random.default_rng(0))
    seeds = range(20)
    same = [
        np.array_equal(
            made.pair(PHOTO, np.random.default_rng(s))["image"], ideal["image"]
        )
        for s in seeds
    ]
    drawn = [np.random.default_rng(s).random() < 0.5 for s in seeds]
    assert same == drawn
    assert 0 < sum(drawn) < len(drawn)


def test_what_is_told_of_a_degradation():
    meta = {
        "lens.mtf_along": 0.1,
        "lens.mtf_across": 0.2,
        "sensor.full_well": 20_000.0,
        "sensor.read_noise": 30.0,
        "noise": 1,
        "sharpen.amount": 1.2,
    }
    usual = list(CONDITIONS.values())
    # Sigmas of these MTFs, and 95.8 of signal over noise at a half.
    expected = [0.5711, 0.6831, 255 * 0.5 / 95.8, 1.2]
    np.testing.assert_allclose(condition(meta) * usual, expected, rtol=1e-3)
    nothing = condition({"noise": 0}) * usual
    np.testing.assert_allclose(nothing, [0.65, 0.65, 0, 0], rtol=1e-6)


def test_evaluation_can_be_on_pairs_of_another_kind():
    task = task_of(
        **{
            "degradation.parameters.fields": {"bits": 8},
            "evaluation.preset": "ideal_bicubic",
        }
    )
    assert task.degradation("train") == Satellite("full", 2, 0.1, {"bits": 8})
    assert task.degradation("eval") == Satellite("ideal_bicubic", 2)
    example = pipeline.example(task.source("eval", None), task.transforms("eval"), 0)
    assert example["target"].shape == (32, 32, 3)
    assert example["image"].shape == (16, 16, 3)
    assert example["condition"].dtype == np.float32


def test_a_network_is_told_of_each_image_and_else_what_is_usual():
    task = task_of(**{"model.options.conditioning": 4})
    spec = task.batch_spec(2)
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.random(spec["image"].shape), jnp.float32)
    batch = {"image": image, "condition": jnp.array([[1.0] * 4, [3.0] * 4])}
    shapes = jax.eval_shape(task.init, jax.random.key(0), spec)
    variables = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(0, 0.1, x.shape), x.dtype), shapes
    )
    told = task._apply(variables, batch, task.model)
    usual = task.restorer(variables).apply(variables, image)
    np.testing.assert_allclose(told[0], usual[0], atol=1e-6)
    assert np.abs(told[1] - usual[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"degradation.name": "fll"}, "did you mean 'full'"),
        ({"evaluation.preset": "fll"}, "preset"),
        ({"degradation.parameters.mix": 2.0}, "mix"),
        ({"degradation.parameters.factor": 9}, "scale"),
        ({"degradation.parameters.fields": {"bit": 8}}, "bit"),
        ({"model.options.conditioning": 3}, "conditioning"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ConfigError, match=message):
        task_of(**fields)
