"""What holds for every degradation, and for the pipeline that uses one."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from common.data import pipeline
from common.data.degradations import DEGRADATIONS, Degrade, create
from common.errors import ConfigError

PHOTO = data.astronaut()[40:104, 140:220]


# What is drawn, and keeps the size; bicubic and bayer have tests of their own.
@pytest.fixture(params=[x for x in DEGRADATIONS if x not in ("bicubic", "bayer")])
def name(request):
    return request.param


def test_seeds_decide_and_the_input_stays(name):
    clean = PHOTO.astype(np.float32) / np.float32(255)
    kept = clean.copy()
    results = [create(name)(clean, np.random.default_rng(s)) for s in (1, 1, 2)]
    np.testing.assert_array_equal(results[0], results[1])
    assert np.any(results[0] != results[2])
    np.testing.assert_array_equal(clean, kept)
    for result in results:
        assert result.dtype == np.float32
        assert result.shape == clean.shape
        assert np.isfinite(result).all()
    # Some seeds have no drop in so small a picture.
    assert any(np.any(result != clean) for result in results)


@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (5, 3)])
def test_tiny_images_keep_their_size(name, sides):
    clean = PHOTO[: sides[0], : sides[1]].astype(np.float32) / np.float32(255)
    for seed in range(3):
        result = create(name)(clean, np.random.default_rng(seed))
        assert result.shape == clean.shape
        assert np.isfinite(result).all()


def test_degrade_makes_pairs_of_arrays_and_of_pictures(name):
    degrade = Degrade(create(name))
    turned = np.rot90(PHOTO)[:, ::-1]  # a view, of neither order
    pairs = [
        degrade.random_map({"image": image, "id": 3}, np.random.default_rng(0))
        for image in (turned, Image.fromarray(turned.copy()))
    ]
    for pair in pairs:
        assert pair["id"] == 3
        assert pair["target"].dtype == np.uint8
        np.testing.assert_array_equal(pair["target"], turned)
        assert pair["image"].dtype == np.float32
        assert pair["image"].shape == turned.shape
    np.testing.assert_array_equal(pairs[0]["image"], pairs[1]["image"])


class Photos:
    """Three times the same photograph."""

    class_names = ()

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {"image": PHOTO, "id": index, "name": str(index)}


def test_every_example_of_a_pipeline_has_its_own_numbers():
    def batch():
        transforms = [Degrade(create("gaussian_noise", sigma=(5.0, 50.0)))]
        return next(iter(pipeline.eval_dataset(Photos(), transforms, batch_size=3)))

    first, again = batch(), batch()
    np.testing.assert_array_equal(first["image"], again["image"])
    np.testing.assert_array_equal(first["target"], np.stack([PHOTO] * 3))
    noise = first["image"] - first["target"] / np.float32(255)
    assert len({x.std().round(4) for x in noise}) == 3


def test_parameters_reach_the_degradation():
    assert create("gaussian_noise", sigma=(1, 2)).sigma == (1, 2)
    assert create("jpeg", quality=30, subsampling="4:4:4").subsampling == "4:4:4"


def test_what_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'gaussian_noise'"):
        create("gausian_noise")
    with pytest.raises(ConfigError, match=r"parameter of haze 'bta'.*'beta'"):
        create("haze", bta=1)
    with pytest.raises(ConfigError, match=r"Haze\.beta=-1"):
        create("haze", beta=-1)
    for image in (PHOTO / 255, PHOTO[..., 0], PHOTO[..., :1]):
        with pytest.raises(ValueError, match="uint8"):
            Degrade(create("jpeg")).random_map(
                {"image": image}, np.random.default_rng(0)
            )
