"""Invariants of mixup and CutMix: what pixels show is what targets say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from common.data import mixup

BATCH, SIDE = 64, 24


@pytest.fixture
def batch():
    """Image `i` is constant `i` and its target is class `i`."""
    values = jnp.arange(BATCH, dtype=jnp.float32)
    images = jnp.broadcast_to(values[:, None, None, None], (BATCH, SIDE, SIDE, 3))
    return images, jnp.eye(BATCH)


def mean_class(targets):
    return targets @ np.arange(targets.shape[1])


@pytest.mark.parametrize("function", [mixup.mixup, mixup.cutmix])
@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0])
def test_pixel_shares_equal_target_weights(batch, function, alpha):
    images, targets = jax.jit(function, static_argnums=3)(
        jax.random.key(0), *batch, alpha
    )
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
    assert targets.min() >= 0
    np.testing.assert_allclose(
        images.mean(axis=(1, 2, 3)), mean_class(targets), rtol=1e-4, atol=1e-4
    )
    # Only the mirrored example takes part, and weights differ between examples.
    rows, columns = np.nonzero(np.asarray(targets) > 1e-6)
    assert np.all((columns == rows) | (columns == BATCH - 1 - rows))
    assert len(np.unique(np.diag(targets).round(4))) > BATCH // 4


def test_mixup_keeps_the_larger_share_and_blends_every_pixel(batch):
    images, targets = mixup.mixup(jax.random.key(1), *batch, 1.0)
    own = np.diag(targets)
    assert own.min() >= 0.5
    assert own.min() < 0.6
    assert own.max() > 0.9
    np.testing.assert_allclose(images.std(axis=(1, 2, 3)), 0, atol=1e-4)


def test_mixup_of_some_examples_with_images_as_targets(batch):
    images, _ = batch
    mixed, targets = mixup.mixup(jax.random.key(1), images, 2 * images, 1.0, 0.3)
    np.testing.assert_allclose(targets, 2 * mixed, rtol=1e-6)
    kept = np.all(np.asarray(mixed == images), axis=(1, 2, 3))
    assert 0.5 < kept.mean() < 0.9  # 0.7 of 64, give or take three deviations
    every, _ = mixup.mixup(jax.random.key(1), images, images, 1.0)
    np.testing.assert_array_equal(mixed[~kept], every[~kept])
    none, _ = mixup.mixup(jax.random.key(1), images, images, 1.0, 0.0)
    np.testing.assert_array_equal(none, images)


def test_cutmix_pastes_one_box_of_untouched_pixels(batch):
    images, targets = mixup.cutmix(jax.random.key(2), *batch, 1.0)
    for i in range(BATCH):
        pasted = np.asarray(images[i, :, :, 0]) == BATCH - 1 - i
        assert np.all(pasted | (np.asarray(images[i, :, :, 0]) == i))
        rows, columns = pasted.any(1), pasted.any(0)
        np.testing.assert_array_equal(pasted, rows[:, None] & columns[None])
        # One interval per axis: at most one rise and one fall.
        assert np.abs(np.diff(np.pad(rows, 1).astype(int))).sum() in (0, 2)
        np.testing.assert_allclose(
            targets[i, BATCH - 1 - i], pasted.mean(), rtol=1e-5, atol=1e-6
        )


def test_alpha_limits(batch):
    key = jax.random.key(3)
    for function in (mixup.mixup, mixup.cutmix):
        images, targets = function(key, *batch, 0.0)
        np.testing.assert_array_equal(images, batch[0])
        np.testing.assert_array_equal(targets, batch[1])
    # A large alpha puts the weight at one half, a tiny one at 0 or 1.
    np.testing.assert_allclose(
        np.diag(mixup.mixup(key, *batch, 1e5)[1]), 0.5, atol=0.01
    )
    np.testing.assert_allclose(np.diag(mixup.mixup(key, *batch, 1e-5)[1]), 1, atol=1e-3)


def test_mix_chooses_one_of_the_two_per_batch(batch):
    def texture(key):
        """A blend has none; a box does."""
        images, _ = mixup.mix(key, *batch, 0.8, 1.0)
        return images.std(axis=(1, 2, 3)).max()

    keys = jax.random.split(jax.random.key(0), 40)
    boxes = jax.jit(lambda keys: jax.lax.map(texture, keys))(keys) > 1e-3
    assert 10 <= boxes.sum() <= 30
    mix = jax.jit(mixup.mix, static_argnums=(3, 4))
    only_mixup, _ = mix(jax.random.key(0), *batch, 0.8, 0.0)
    np.testing.assert_allclose(only_mixup.std(axis=(1, 2, 3)), 0, atol=1e-4)
    only_cutmix, _ = mix(jax.random.key(0), *batch, 0.0, 1.0)
    np.testing.assert_array_equal(only_cutmix, only_cutmix.round())


def test_result_does_not_depend_on_the_number_of_devices(batch):
    mix = jax.jit(mixup.mix, static_argnums=(3, 4))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    sharded = jax.device_put(batch, sharding)
    for seed in range(2):
        one = mix(jax.random.key(seed), *batch, 0.8, 1.0)
        eight = mix(jax.random.key(seed), *sharded, 0.8, 1.0)
        for expected, result in zip(one, eight, strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_integers_are_refused(batch):
    with pytest.raises(TypeError, match="int32"):
        mixup.mixup(jax.random.key(0), batch[0].astype(jnp.int32), batch[1], 0.8)
