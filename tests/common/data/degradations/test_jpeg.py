"""The result is what Pillow reads back from its own file."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from common.data.degradations.jpeg import Jpeg
from common.errors import ConfigError


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()[:77, 100:190]


def by_pillow(image, quality, subsampling):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("quality", [1, 40, 100])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpeg_equals_pillow(photo, quality, subsampling):
    result = Jpeg(quality, subsampling)(
        photo.astype(np.float32) / np.float32(255), np.random.default_rng(0)
    )
    assert result.dtype == np.float32
    expected = by_pillow(photo, quality, subsampling)
    np.testing.assert_array_equal(np.rint(result * 255), expected)
    np.testing.assert_allclose(result * 255, expected, atol=1e-4)


def test_both_ends_of_the_range_are_drawn(photo):
    clean = photo.astype(np.float32) / np.float32(255)
    results = [Jpeg((20, 22))(clean, np.random.default_rng(s)) for s in range(20)]
    found = {np.rint(x * 255).astype(np.uint8).tobytes() for x in results}
    assert found == {by_pillow(photo, q, "4:2:0").tobytes() for q in (20, 21, 22)}


def test_what_is_refused():
    with pytest.raises(ConfigError, match="whole numbers"):
        Jpeg((10.5, 20))
    with pytest.raises(ConfigError, match=r"\[1, 100\]"):
        Jpeg(0)
    with pytest.raises(ConfigError, match="did you mean '4:2:0'"):
        Jpeg(50, "420")
