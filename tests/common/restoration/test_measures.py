"""What a config asks to be measured, and the patches of one pass."""

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from common.metrics import distribution
from common.restoration import measures, patches, task

RNG = np.random.default_rng(0)
IMAGE = RNG.random((70, 140, 3)).astype(np.float32)


def evaluation(**fields):
    found = task.default_config().evaluation
    found.update(fields)
    return found


def test_distance_by_a_network_that_learned_nothing_is_not_called_lpips():
    found = measures.create(evaluation(lpips="random"))
    assert list(found) == ["sharpness_error", "random_alex"]
    target = np.rint(IMAGE * 255).astype(np.uint8)
    same = measures.apply(found, target / np.float32(255), target)
    near = measures.apply(found, IMAGE + 0.02 * RNG.normal(size=IMAGE.shape), target)
    far = measures.apply(found, IMAGE + 0.2 * RNG.normal(size=IMAGE.shape), target)
    assert same["random_alex"] == pytest.approx(0, abs=1e-6)
    assert same["random_alex"] < near["random_alex"] < far["random_alex"]


def test_only_sharpness_without_weights():
    assert list(measures.create(evaluation())) == ["sharpness_error"]


def test_wrong_weights(tmp_path):
    with pytest.raises(ConfigError, match="lpips_net"):
        measures.create(evaluation(lpips_net="alexnet"))
    for field in ("lpips", "dists", "niqe"):
        with pytest.raises((ConfigError, DataError)):
            measures.create(evaluation(**{field: str(tmp_path / "none.npz")}))


def test_patches_of_a_pass(monkeypatch):
    """The features are means of channels: FID is that of their Gaussians."""
    sizes = []

    def pooled(backbone, variables, side):
        def features(images):
            sizes.append(images.shape)
            return images.mean((1, 2))

        return features

    monkeypatch.setattr(distribution, "load", lambda *_: {})
    monkeypatch.setattr(distribution, "pooled_features", pooled)
    seen = patches.Patches("resnet50", "file")
    target = RNG.random((130, 260, 3)).astype(np.float32)
    ours = target + np.float32(0.1)
    seen.add(ours, target)
    seen.add(ours[:64, :128], target[:64, :128])
    seen.add(ours[:63], target[:63])  # smaller than a patch
    found = seen.summarize()
    assert set(sizes) == {(16, 64, 64, 3)}
    # A shift of each channel's mean, with the same covariance.
    assert found["patch_fid"] == pytest.approx(3 * 0.1**2, rel=1e-3)
    assert found["patch_kid"] > 0
    assert seen.summarize() == {}
