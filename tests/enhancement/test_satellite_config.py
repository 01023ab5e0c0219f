"""What is no image, no key and no number of a stage is refused by name."""

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from enhancement import satellite
from enhancement.satellite_config import SatelliteConfig

IMAGE = np.full((64, 64, 3), 0.5, np.float32)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((64, 64), np.uint8), r"shape \[64, 64\]"),
        (np.zeros((64, 64, 0), np.uint8), r"shape \[64, 64, 0\]"),
        (np.zeros((64, 64, 3), np.int32), "int32"),
        (np.zeros((64, 64, 3), bool), "bool"),
        (np.zeros((15, 64, 3), np.uint8), "15 x 64 pixels is too small"),
        (np.full((64, 64, 3), np.nan, np.float32), "nan"),
        (np.full((64, 64, 3), 1.01, np.float32), "1.01"),
        (np.full((64, 64, 3), -0.01, np.float32), "-0.01"),
    ],
)
def test_what_is_no_image_is_refused(image, words):
    with pytest.raises(DataError, match=words):
        satellite.degrade(0, image, satellite.preset("full"))


@pytest.mark.parametrize("key", [-1, 1.5, "a", None, True, (), (1, -1), (1, 0.5)])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ConfigError, match="key"):
        satellite.degrade(key, IMAGE, satellite.preset("full"))


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'onboard_only'"):
        satellite.preset("onbord_only")
    with pytest.raises(ConfigError, match="did you mean 'sharpen_amount'"):
        satellite.preset("full", sharpen_amout=1)
    with pytest.raises(ConfigError, match="preset makes one"):
        satellite.degrade(0, IMAGE, {"scale": 2})
    sensor = satellite.preset("full", sensor="quickbird")
    with pytest.raises(ConfigError, match="the image has 8"):
        satellite.degrade(0, np.zeros((64, 64, 8), np.uint8), sensor)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"scale": 0}, "scale=0"),
        ({"scale": 2.0}, "scale=2.0"),
        ({"scale": True}, "scale=True"),
        ({"scale": 9}, "1 to 8"),
        ({"mtf_along": 0}, "mtf_along"),
        ({"mtf_across": (0.3, 0.1)}, "mtf_across"),
        ({"full_well": float("nan")}, "full_well"),
        ({"bits": 11.5}, "whole"),
        ({"delivery_quality": (75, 101)}, "delivery_quality"),
        ({"noise_prob": 2}, "noise_prob"),
        ({"noise_prob": (0, 1)}, "noise_prob"),
        ({"noise_prob": True}, "noise_prob"),
        ({"sensor": "quickbrd"}, "did you mean 'quickbird'"),
        ({"sampling": "bilinear"}, "sampling"),
        ({"linearize": True}, "linearize"),
        ({"quantize": 1}, "quantize"),
        ({"compress_kinds": ()}, "compress_kinds"),
        ({"compress_kinds": "jpeg"}, "compress_kinds"),
        ({"pansharpen_methods": ("gsa", "pca")}, "pansharpen_methods"),
        ({"delivery_subsampling": ("4:1:1",)}, "delivery_subsampling"),
        ({"resample_odds": (1, 1)}, "resample_odds"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        satellite.preset("full", **fields)


def test_every_field_is_checked():
    for field, value in vars(SatelliteConfig()).items():
        with pytest.raises(ConfigError):
            SatelliteConfig(**{field: object() if value != "" else "nothing"})
