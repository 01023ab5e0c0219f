"""MAXIM's loss against its formula in NumPy, and what its configs may say."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from maxim import config as configs
from maxim.tasks import Restoration

RNG = np.random.default_rng(0)


def task_of(**fields):
    config = configs.default_config()
    configs.shrink(config)
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    return Restoration(config)


@pytest.fixture
def batch():
    images = RNG.integers(0, 256, (2, 3, 32, 32, 3)).astype(np.uint8)
    return {"image": images[0], "target": images[1], "id": np.arange(3)}


def stub(task, outputs, seen):
    """Puts a network in place that returns given images."""

    def apply(variables, images, train, rngs):
        assert train
        seen.append(images)
        return outputs

    task.model = types.SimpleNamespace(apply=apply)


def half(images):
    """The mean of four, by the antialiased kernel of 1, 3, 3, 1."""
    return np.asarray(jax.image.resize(images, (3, 16, 16, 3), "bilinear"))


def expected_loss(outputs, target):
    total = 0
    for scales in outputs:
        for output, scaled in zip(scales, (half(target), target), strict=True):
            difference = np.asarray(output, np.float64) - scaled
            pixels = np.sqrt(difference**2 + 1e-3**2).mean((1, 2, 3))
            waves = np.fft.fft2(difference, axes=(1, 2))
            parts = np.stack([waves.real, waves.imag])
            total += pixels + 0.1 * np.abs(parts).mean((0, 2, 3, 4))
    return total


def test_loss_is_that_of_all_stages_and_scales(batch):
    task = task_of(**{"augment.mixup_probability": 0.0})
    outputs = [
        [RNG.random((3, side, side, 3)).astype(np.float32) for side in (16, 32)]
        for _ in range(2)
    ]
    seen = []
    stub(task, outputs, seen)
    found = task.loss({"params": {}}, batch, jax.random.key(0))
    np.testing.assert_allclose(seen[0], batch["image"] / np.float32(255))
    target = batch["target"] / np.float32(255)
    np.testing.assert_allclose(found.loss, expected_loss(outputs, target), rtol=1e-4)
    error = np.square(outputs[-1][-1] - target).mean((1, 2, 3))
    np.testing.assert_allclose(found.metrics["psnr"], -10 * np.log10(error), rtol=1e-4)


def test_mixup_blends_images_and_targets_alike(batch):
    task = task_of(**{"augment.mixup_probability": 1.0, "loss.frequency_weight": 0.0})
    batch = batch | {"target": batch["image"]}
    seen = []
    stub(task, [[np.zeros((3, 32, 32, 3), np.float32)]], seen)
    found = task.loss({"params": {}}, batch, jax.random.key(0))
    assert np.abs(seen[0] - batch["image"] / 255).max() > 0.05
    # The output is black: the loss is the mean of the targets, which are the images.
    np.testing.assert_allclose(found.loss, np.mean(seen[0], (1, 2, 3)), rtol=1e-3)
    task = task_of(**{"augment.mixup_probability": 0.0})
    stub(task, [[np.zeros((3, 32, 32, 3), np.float32)]], seen)
    task.loss({"params": {}}, batch, jax.random.key(0))
    np.testing.assert_allclose(seen[1], batch["image"] / np.float32(255))


def test_degraded_images_are_not_divided_again(batch):
    task = task_of(**{"degradation.name": "gaussian_noise"})
    assert task.batch_spec(3)["image"].dtype == jnp.float32
    task.config.augment.mixup_probability = 0.0
    images = RNG.random((3, 32, 32, 3)).astype(np.float32)
    seen = []
    stub(task, [[images]], seen)
    task.loss({"params": {}}, batch | {"image": images}, jax.random.key(0))
    np.testing.assert_array_equal(seen[0], images)


def test_network_and_evaluation_precision():
    task = task_of(dtype="bfloat16")
    assert task.model.dtype == jnp.bfloat16
    images = jnp.zeros((1, 32, 32, 3))
    variables = jax.eval_shape(task.model.init, jax.random.key(0), images)
    for bfloat16 in (False, True):
        restorer = task.restorer({}, bfloat16)
        # What is computed on the way; the image itself keeps its precision.
        lines = str(jax.make_jaxpr(restorer.apply)(variables, images)).splitlines()
        convolutions = [line for line in lines if "= conv_general" in line]
        assert convolutions
        assert all(("bf16[" in line) == bfloat16 for line in convolutions)
        assert jax.eval_shape(restorer.apply, variables, images).dtype == jnp.float32
    assert restorer.multiple == task.model.size_multiple


def test_bfloat16_keeps_the_images_levels():
    """A network of zeros returns the image it was given, with all of 16 bits."""
    task = task_of()
    ramp = np.linspace(0, 1, 32 * 32 * 3, dtype=np.float32).reshape(32, 32, 3)
    shapes = jax.eval_shape(task.model.init, jax.random.key(0), ramp[None])
    zeros = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    np.testing.assert_array_equal(task.restorer(zeros, bfloat16=True)(ramp), ramp)


@pytest.mark.parametrize(
    ("test_set", "psnr"), [("GoPro", 32.86), ("Rain100H", 30.81), ("", None)]
)
def test_published(test_set, psnr):
    rows = task_of(**{"evaluation.test_set": test_set}).published()
    assert [row.psnr for row in rows] == ([psnr] if psnr else [])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data.image_size": 20}, "multiple of 8"),
        ({"loss.frequency_norm": "forward"}, "config.loss.frequency_norm"),
        ({"loss.charbonnier_distance": "pixels"}, "did you mean 'pixel'"),
        ({"loss.epsilon": 0.0}, "config.loss.epsilon"),
        ({"augment.mixup_probability": 1.5}, "mixup_probability"),
        ({"model.variant": "L-2"}, "variant"),
        ({"model.remat": "half"}, "remat policy"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ConfigError, match=message):
        task_of(**fields)
