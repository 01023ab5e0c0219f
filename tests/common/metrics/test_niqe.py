"""NIQE: golden features and scores, its model, what distortions do to it."""

import json
import math
import pathlib
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy import io, ndimage
from skimage import data

from common.errors import ConfigError, DataError
from common.metrics import aggd, niqe, scene_statistics

GOLDEN = json.loads(
    (pathlib.Path(__file__).parents[2] / "golden/perceptual.json").read_text()
)["niqe"]


def state(name):
    return np.random.RandomState(zlib.crc32(name.encode()))


@pytest.fixture(scope="module")
def synthetic():
    """The model of the golden scores."""
    z = state("niqe/cov").standard_normal((36, 60))
    return niqe.Model(np.linspace(0.2, 2, 36), z @ z.T / 60 * 0.05)


@pytest.fixture(scope="module")
def natural():
    images = data.astronaut(), data.coffee(), data.rocket(), data.camera()
    return niqe.fit(images, sharpness=0.1)


def test_features_and_scores_are_those_of_pyiqa(synthetic):
    chelsea = data.chelsea()[:200, :300]
    found = niqe.features(chelsea)
    assert found.shape == (6, 36)
    # The peer halves images in float32.
    ends = [GOLDEN["first_block"], GOLDEN["last_block"]]
    np.testing.assert_allclose(found[[0, -1]], ends, rtol=1e-5, atol=1e-6)
    score = niqe.score(chelsea, synthetic)
    assert score == pytest.approx(GOLDEN["chelsea"], rel=1e-6)
    # One pixel there is flat but for rounding, which counts as nothing here.
    camera = niqe.score(data.camera()[100:420, 50:400], synthetic)
    assert camera == pytest.approx(GOLDEN["camera"], rel=3e-6)


def test_shapes_of_known_distributions():
    rng = np.random.default_rng(0)
    normal, laplace = rng.normal(size=(1, 400, 400)), rng.laplace(size=(1, 400, 400))
    (shape, *_), (narrow, *_) = aggd.fit(normal), aggd.fit(laplace)
    assert shape[0] == pytest.approx(2, abs=0.03)
    assert narrow[0] == pytest.approx(1, abs=0.03)
    _, left, right = aggd.fit(np.where(normal < 0, 3 * normal, normal))
    # A normal distribution with deviation s has the scale s times the root of 2.
    assert left / right == pytest.approx(3, abs=0.05)
    _, left, right = aggd.fit(normal)
    assert float(left[0]) == pytest.approx(math.sqrt(2), abs=0.02)


def test_shape_is_the_nearest_of_the_table():
    shapes, ratios = aggd._table()
    assert (shapes[0], shapes[-1]) == pytest.approx((0.2, 10))
    moments = np.random.default_rng(1).uniform(0, 1, 200)
    nearest = np.argmin(np.square(ratios - moments[:, None]), axis=1)
    np.testing.assert_array_equal(aggd._shape(moments), shapes[nearest])


def test_distortions_raise_the_score(natural):
    photo = data.chelsea()[:288, :384]
    clean = niqe.score(photo, natural)
    assert 0 < clean < 15
    noise = np.random.default_rng(0).normal(size=photo.shape)
    noisy = [clean, *(niqe.score(photo + s * noise, natural) for s in (5, 15, 40))]
    blurred = [clean]
    for sigma in (1, 2, 4):
        blur = ndimage.gaussian_filter(photo.astype(float), (sigma, sigma, 0))
        blurred.append(niqe.score(blur, natural))
    for scores in (noisy, blurred):
        assert (np.diff(scores) > 0).all(), scores


def test_grey_and_colour(natural):
    grey = data.camera()[:200, :300]
    score = niqe.score(grey, natural)
    assert niqe.score(grey[..., None], natural) == score
    assert niqe.score(grey.astype(np.float32), natural) == score
    # MATLAB's rgb2gray leaves a grey image as it is; its luma is narrower.
    colour = np.repeat(grey[..., None], 3, axis=2)
    assert niqe.score(colour, natural, luma="gray") == score
    levels = np.floor(16 + grey / 255 * 219 + 0.5)
    assert niqe.score(colour, natural) == niqe.score(levels, natural) != score


def test_halving_is_that_of_matlab():
    # Keys' kernel at 3.5, 1.5, 0.5 and 2.5 pixels, over two.
    line = np.zeros((2, 10))
    line[:, 4] = 256
    found = scene_statistics._halved(line)
    np.testing.assert_allclose(found, [[-3, 29, 111, -9, 0]], atol=1e-12)
    np.testing.assert_allclose(
        scene_statistics._halved(np.full((8, 6), 7.0)), 7, rtol=1e-15
    )


@pytest.mark.filterwarnings("error")
def test_images_that_are_too_small_or_flat(natural):
    photo = data.astronaut()
    assert math.isnan(niqe.score(photo[:95], natural))
    assert math.isnan(niqe.score(photo[:96, :191], natural))
    assert niqe.score(photo[:96, :192], natural) > 0
    assert niqe.features(photo[:95]).shape == (0, 36)
    flat = np.full((192, 192), 137, np.uint8)
    assert math.isnan(niqe.score(flat, natural))
    # A block of a flat image counts for nothing in the score of the others.
    beside = np.concatenate([data.camera()[:192, :288], flat], axis=1)
    assert np.isfinite(niqe.score(beside, natural))


def test_fit_takes_the_sharp_blocks_of_every_image(tmp_path):
    photos = [data.astronaut(), data.coffee()[:, :576]]
    rows = []
    for photo in photos:
        found, sharpness = scene_statistics.describe(photo, "ycbcr")
        rows.append(found[sharpness > 0.2 * sharpness.max()])
    rows = np.concatenate(rows)
    assert 37 <= len(rows) < 25 + 24
    for number, photo in enumerate(photos):
        Image.fromarray(photo).save(tmp_path / f"{number}.png")
    for images in (photos, tmp_path, sorted(tmp_path.iterdir())):
        model = niqe.fit(images, sharpness=0.2)
        np.testing.assert_allclose(model.mean, rows.mean(0), rtol=1e-12)
        np.testing.assert_allclose(model.covariance, np.cov(rows.T), atol=1e-12)
    with pytest.raises(DataError, match=r"more than 36 sharp blocks .* in 2 images"):
        niqe.fit(tmp_path)
    (tmp_path / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cannot read image .*2\.png"):
        niqe.fit(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        niqe.fit(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"sharpness=1\.0 is not in"):
        niqe.fit(photos, sharpness=1.0)


def test_files_of_models(synthetic, tmp_path):
    mean, covariance = synthetic
    niqe.save(tmp_path / "own.npz", synthetic)
    np.savez(
        tmp_path / "basicsr.npz",
        mu_pris_param=mean[None],
        cov_pris_param=covariance,
        gaussian_window=np.ones((7, 7)),
    )
    io.savemat(
        tmp_path / "authors.mat",
        {"mu_prisparam": mean[None], "cov_prisparam": covariance},
    )
    for name in ("own.npz", "basicsr.npz", "authors.mat"):
        found = niqe.load(tmp_path / name)
        np.testing.assert_array_equal(found.mean, mean)
        np.testing.assert_array_equal(found.covariance, covariance)
    with pytest.raises(ConfigError, match=r"written to \.npz"):
        niqe.save(tmp_path / "own.mat", synthetic)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mu_prisparam": np.ones((1, 35))}, r"mu_prisparam has shape \[1, 35\]"),
        ({"cov_prisparam": np.ones((36, 35))}, r"cov_prisparam has shape \[36, 35\]"),
        ({"cov_prisparam": np.full((36, 36), np.nan)}, "cov.* not finite"),
        ({"cov_prisparam": -np.eye(36)}, "is no covariance"),
        ({"cov_prisparam": np.eye(36) + np.eye(36, k=1)}, "is no covariance"),
        ({"mu_prisparam": None}, "mu_prisparam missing"),
    ],
)
def test_files_that_hold_no_model(change, message, synthetic, tmp_path):
    arrays = {"mu_prisparam": synthetic.mean, "cov_prisparam": synthetic.covariance}
    held = {k: v for k, v in (arrays | change).items() if v is not None}
    io.savemat(tmp_path / "model.mat", held)
    with pytest.raises(ConfigError, match=message):
        niqe.load(tmp_path / "model.mat")


def test_what_is_refused(synthetic, tmp_path):
    image = np.zeros((192, 192, 3))
    with pytest.raises(ConfigError, match=r"luma of NIQE 'grey'; did you mean 'gray'"):
        niqe.score(image, synthetic, luma="grey")
    with pytest.raises(ValueError, match=r"given \[192, 192, 2\]"):
        niqe.score(image[..., :2], synthetic)
    with pytest.raises(ValueError, match="not finite"):
        niqe.score(image + np.nan, synthetic)
    for name in ("none.mat", "none.npz"):
        with pytest.raises(DataError, match=name):
            niqe.load(tmp_path / name)
    (tmp_path / "broken.mat").write_bytes(b"MATLAB" * 99)
    with pytest.raises(ConfigError, match=r"broken\.mat is broken"):
        niqe.load(tmp_path / "broken.mat")
    with pytest.raises(ConfigError, match=r"is a \.mat or \.npz file, given .*\.pkl"):
        niqe.load(tmp_path / "model.pkl")
