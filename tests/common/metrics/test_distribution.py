"""FID and KID against closed forms, SciPy and loops; patches and features."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from scipy.linalg import sqrtm

from common.checkpoint import weights
from common.errors import ConfigError, DataError
from common.metrics import distribution
from common.metrics.distribution import Moments, fid, frechet_distance, kid, patches
from common.models import registry


def covariance(rng, size, rank=None):
    factor = rng.normal(size=(size, rank or 2 * size))
    return factor @ factor.T / factor.shape[1]


def samples(seed, count, size=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, size)) @ rng.normal(size=(size, size)) + rng.normal()


def test_one_dimension():
    """(m1 - m2)^2 + (s1 - s2)^2."""
    found = frechet_distance([1.0], [[4.0]], [-2.0], [[0.25]])
    assert found == pytest.approx(9 + 1.5**2, rel=1e-12)


def test_covariances_with_the_same_axes():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    a, b = rng.uniform(0, 4, (2, 5))
    b[0] = 0  # A flat distribution has no inverse.
    means = rng.normal(size=(2, 5))
    found = frechet_distance(means[0], axes * a @ axes.T, means[1], axes * b @ axes.T)
    expected = np.square(means[0] - means[1]).sum()
    expected += np.square(np.sqrt(a) - np.sqrt(b)).sum()
    assert found == pytest.approx(expected, rel=1e-12)


def test_formula_with_the_root_of_scipy():
    rng = np.random.default_rng(1)
    (a, b), means = (covariance(rng, 7) for _ in range(2)), rng.normal(size=(2, 7))
    trace = np.trace(a + b - 2 * sqrtm(a @ b).real)
    expected = np.square(means[0] - means[1]).sum() + trace
    assert frechet_distance(means[0], a, means[1], b) == pytest.approx(expected)
    turn = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    a, b, means = turn @ a @ turn.T, turn @ b @ turn.T, means @ turn.T
    assert frechet_distance(means[0], a, means[1], b) == pytest.approx(expected)
    assert frechet_distance(means[1], b, means[0], a) == pytest.approx(expected)


def test_equal_distributions_of_low_rank():
    """Where the root of a product would be noise, or complex."""
    a = covariance(np.random.default_rng(2), 40, rank=5)
    assert frechet_distance(np.ones(40), a, np.ones(40), a) < 1e-12
    apart = frechet_distance(np.ones(40), a, np.ones(40), 4 * a)
    assert apart == pytest.approx(np.trace(a), rel=1e-12)


def test_fid_of_features_and_of_their_moments():
    a, b = samples(0, 50), samples(1, 70)
    expected = frechet_distance(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    assert fid(a, b) == pytest.approx(expected, rel=1e-10)
    assert fid(a, a[::-1]) < 1e-10
    parts, rest = Moments(), Moments()
    for part in (a[:1], a[1:1], a[1:30]):
        parts.add(part)
    rest.add(a[30:])
    parts.merge(rest)
    parts.merge(Moments())
    assert parts.count == 50
    np.testing.assert_allclose(parts.mean, a.mean(0), rtol=1e-12)
    np.testing.assert_allclose(parts.covariance, np.cov(a.T), rtol=1e-12)
    assert fid(parts, b.astype(np.float32)) == pytest.approx(expected, rel=1e-5)
    assert fid(b, parts) == pytest.approx(expected, rel=1e-10)


def test_moments_far_from_zero():
    a, moments = samples(0, 200) + 1e8, Moments()
    for part in np.split(a, 10):
        moments.add(part)
    np.testing.assert_allclose(moments.covariance, np.cov(a.T), rtol=1e-6, atol=1e-6)


def discrepancy(a, b):
    """KID pair by pair."""

    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    total, n = 0.0, len(a)
    for i in range(n):
        for j in range(n):
            if i != j:
                total += (kernel(a[i], a[j]) + kernel(b[i], b[j])) / (n * (n - 1))
            total -= 2 * kernel(a[i], b[j]) / n**2
    return total


def test_kid_is_the_mean_over_pairs():
    a, b = samples(0, 12), samples(1, 12)
    found = kid(a, b, subsets=3)
    assert found.mean == pytest.approx(discrepancy(a, b), rel=1e-10)
    assert found.std == pytest.approx(0, abs=1e-8)


def test_kid_of_subsets():
    a, b = samples(0, 40), samples(1, 25)
    found = kid(a, b, subsets=200, subset_size=10)
    assert found == kid(a, b, subsets=200, subset_size=10)
    assert found != kid(a, b, subsets=200, subset_size=10, seed=1)
    assert found.std > 0
    # Subsets have the expectation of the whole, which has as many of each.
    whole = kid(a[:25], b, subsets=1)
    several = kid(a[:25], b, subsets=2000, subset_size=10)
    assert abs(several.mean - whole.mean) < 4 * several.std / 2000**0.5
    assert kid(a, b).std > 0  # 25 of 40 are drawn, where 1000 are asked for.


def test_kid_has_no_bias_and_fid_has():
    rng = np.random.default_rng(0)
    sets = rng.normal(size=(200, 2, 10, 4))
    values = np.array([kid(*pair, subsets=1).mean for pair in sets])
    assert abs(values.mean()) < 4 * values.std() / 200**0.5
    assert np.mean([fid(*pair) for pair in sets[:20]]) > 0.3


def test_patches_in_order():
    image = np.arange(2 * 7 * 5).reshape(2, 7, 5, 1)
    found = patches(image, 2)
    assert found.shape == (2 * 3 * 2, 2, 2, 1)
    np.testing.assert_array_equal(found[1], image[0, :2, 2:4])
    np.testing.assert_array_equal(found[6 + 5], image[1, 4:6, 2:4])
    found[:] = 0
    assert image[1, 1, 1, 0] != 0
    assert len(patches(image, 2, stride=1)) == 2 * 6 * 4
    # Of several sizes, one of them too small.
    assert len(patches([image[0], image[1, :1], image[1, :2]], 2)) == 6 + 2


def test_drawn_patches_are_of_the_same_places():
    a = np.random.default_rng(0).random((3, 8, 8, 1))
    found, other = (patches(images, 2, limit=5) for images in (a, a + 1))
    np.testing.assert_allclose(other, found + 1)
    assert len({patch.tobytes() for patch in found}) == 5
    again = patches(a, 2, limit=5, seed=1)
    assert {p.tobytes() for p in again} != {p.tobytes() for p in found}
    np.testing.assert_array_equal(patches(a, 2, limit=99), patches(a, 2))


class Mean(nn.Module):
    """The smallest network: colours of the left half, mixed."""

    @nn.compact
    def __call__(self, images):
        left = images[:, :, : images.shape[2] // 2].mean((1, 2))
        return nn.Dense(4, name="mix", precision="highest")(left)


def test_features_of_a_network_of_the_registry(monkeypatch):
    monkeypatch.setattr(registry, "backbone", lambda name, image_size: Mean())
    rng = np.random.default_rng(0)
    mix = {"kernel": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)}
    images = rng.integers(0, 256, (2, 6, 8, 3), np.uint8)
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    x = (images[:, :, :4] / 255 - mean) / deviation
    expected = x.mean((1, 2)) @ mix["kernel"] + mix["bias"]
    variables = {"params": {"mix": mix}}
    describe = distribution.pooled_features("resnet18", variables)
    found = describe(images)
    assert (type(found), found.dtype) == (np.ndarray, np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    found = describe(np.float32(images) / 255)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # Of images of four times the size, antialiased, the middles are the same.
    large = distribution.pooled_features("resnet18", variables, side=8)
    flat = np.full((1, 32, 32, 3), 51, np.uint8)
    np.testing.assert_allclose(large(flat), describe(flat), rtol=1e-4)
    stripes = np.full((1, 32, 32, 3), 255, np.uint8)
    stripes[:, :, ::2] = 0
    grey = describe(np.full((1, 8, 8, 3), 0.5, np.float32))
    np.testing.assert_allclose(large(stripes), grey, rtol=0.05, atol=0.05)


def test_weights_of_a_network_of_the_registry(tmp_path):
    network = registry.backbone("resnet18")
    shapes = jax.eval_shape(network.init, jax.random.key(0), np.ones((1, 64, 64, 3)))
    variables = jax.tree.map(lambda s: np.full(s.shape, 0.5, np.float32), shapes)
    weights.save(tmp_path / "own.safetensors", variables)
    found = distribution.load("resnet18", tmp_path / "own.safetensors")
    jax.tree.map(np.testing.assert_array_equal, found, variables)
    variables["params"].popitem()
    weights.save(tmp_path / "less.safetensors", variables)
    with pytest.raises(ConfigError, match="missing"):
        distribution.load("resnet18", tmp_path / "less.safetensors")


def test_what_is_refused():
    a, one = samples(0, 9), np.eye(2)
    with pytest.raises(DataError, match="2 samples or more, given 1"):
        fid(a[:1], a)
    with pytest.raises(DataError, match="2 samples or more in a set, given 9 and 1"):
        kid(a, a[:1])
    with pytest.raises(DataError, match="not finite"):
        fid(a, a * np.nan)
    for call in (fid, kid):
        with pytest.raises(ValueError, match=r"features are \[N, D\], given \[9\]"):
            call(a, a[:, 0])
    for bad in ({"subsets": 0}, {"subset_size": 1}):
        with pytest.raises(ConfigError, match="must be at least"):
            kid(a, a, **bad)
    for call in (fid, kid):
        with pytest.raises(ValueError, match=r"6|shape|given"):
            call(a, a[:, :3])
    for matrix in (-one, np.array([[1.0, 1.0], [0.0, 1.0]])):
        with pytest.raises(DataError, match="no covariance"):
            frechet_distance(np.zeros(2), one, np.zeros(2), matrix)
    with pytest.raises(DataError, match="not finite"):
        frechet_distance(np.full(2, np.inf), one, np.zeros(2), one)
    with pytest.raises(ValueError, match="are given as"):
        frechet_distance(np.zeros(2), one, np.zeros(2), np.eye(3))
    images = np.zeros((2, 4, 4, 3))
    for bad in ({"size": 0}, {"stride": 0}, {"limit": 0}):
        with pytest.raises(ConfigError, match=r"positive integer|at least 1"):
            patches(images, **bad)
    with pytest.raises(DataError, match="none of 2 images has 64 x 64"):
        patches(images)
    with pytest.raises(ValueError, match=r"\[H, W, C\]"):
        patches(images[0], 2)
    with pytest.raises(ConfigError, match="unknown backbone"):
        distribution.pooled_features("inception", {})


def test_a_frame_of_video_becomes_fifteen_patches():
    """The protocol of arXiv 2112.02475: 256 x 240 pixels, five across, three down."""
    frame = np.zeros((1, 720, 1280, 1), np.uint8)
    frame[0, 240:480, 256:512] = 7
    cut = distribution.patches(frame, (240, 256))
    assert cut.shape == (15, 240, 256, 1)
    np.testing.assert_array_equal(cut.mean((1, 2, 3)), [0] * 6 + [7] + [0] * 8)
