import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import fft

from common.errors import ConfigError
from common.metrics.image import psnr
from compression import color, huffman, jpeg
from compression.jpeg import SUBSAMPLINGS
from tests.compression.photographs import crop, photograph

TABLES = jpeg.quality_tables(50)


def of_pillow(image, quality, subsampling):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


def test_tables_equal_those_of_libjpeg_at_every_quality():
    for quality in range(1, 101):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        theirs = Image.open(file).quantization
        ours = jpeg.quality_tables(quality)
        np.testing.assert_array_equal(ours.reshape(2, 64), [theirs[0], theirs[1]])
    assert ours.dtype == np.int32


@pytest.mark.parametrize("quality", [0, 101, -3, 50.5, True, float("nan")])
def test_other_qualities_are_refused(quality):
    with pytest.raises(ConfigError, match="whole number from 1 to 100"):
        jpeg.quality_tables(quality)


def test_the_transform_is_orthonormal_and_that_of_scipy():
    matrix = jpeg._DCT
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(64), atol=1e-6)
    blocks = np.random.default_rng(0).uniform(-128, 127, (5, 8, 8))
    ours = (blocks.reshape(5, 64) @ matrix.T).reshape(5, 8, 8)
    np.testing.assert_allclose(
        ours, fft.dctn(blocks, axes=(1, 2), norm="ortho"), atol=1e-3
    )
    energy = np.square(blocks).sum()
    assert np.square(ours).sum() == pytest.approx(energy, rel=1e-6)  # Parseval


@pytest.mark.parametrize(
    ("subsampling", "least"), [("4:4:4", 51), ("4:2:2", 50), ("4:2:0", 49)]
)
@pytest.mark.parametrize("name", ["astronaut", "chelsea"])
def test_decoded_images_are_those_of_files(name, subsampling, least):
    image = photograph(name)
    for quality in (10, 50, 95):
        theirs = of_pillow(image, quality, subsampling)
        ours = jpeg.roundtrip(image[None], jpeg.quality_tables(quality), subsampling)[0]
        assert psnr(np.asarray(ours), theirs) >= least
        assert abs(psnr(np.asarray(ours), image) - psnr(theirs, image)) < 0.05


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize(
    "size", [(1, 1), (1, 9), (5, 3), (8, 8), (20, 7), (33, 37), (17, 16)]
)
def test_any_size_is_padded_and_cropped_as_in_files(size, subsampling):
    tables, apart = jpeg.quality_tables(10), []
    for place in range(6):
        image = crop("chelsea", *size, 20 * place, 30 * place)
        theirs = of_pillow(image, 10, subsampling)
        ours = np.asarray(jpeg.roundtrip(image[None], tables, subsampling))
        assert ours.shape == (1, *size, 3)
        apart.append(np.abs(ours[0] - theirs).max())
    # Where a coefficient is rounded the other way, a whole block differs. At this
    # quality that is rare, and a wrong edge would show everywhere.
    assert np.median(apart) <= 1


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_levels_are_nearly_those_of_files(subsampling):
    """Without the eighths of libjpeg's DCT a scan has up to 1 % fewer bits."""
    image = crop("coffee", 256, 256)  # whole MCUs
    for quality in (50, 95):
        file = io.BytesIO()
        Image.fromarray(image).save(
            file, "JPEG", quality=quality, subsampling=subsampling
        )
        scan = file.getvalue()[625 - 2 : -2]
        wanted = len(scan) - scan.count(b"\xff\0")
        levels = jpeg.quantize(
            jpeg.coefficients(image[None], subsampling), jpeg.quality_tables(quality)
        )
        bits = huffman.scan_bits(
            [np.asarray(part[0], np.int16) for part in levels], subsampling
        )
        assert bits / 8 == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_hard_images_are_whole_numbers_in_range(subsampling):
    ours = np.asarray(jpeg.roundtrip(crop()[None], TABLES, subsampling))
    np.testing.assert_array_equal(ours, np.rint(ours))
    assert ours.min() >= 0
    assert ours.max() <= 255


def test_a_batch_is_its_images_one_by_one():
    images = np.stack([crop(), crop("chelsea"), crop("coffee")])
    together = jpeg.roundtrip(images, TABLES, "4:2:0")
    for image, ours in zip(images, together, strict=True):
        alone = jpeg.roundtrip(image[None], TABLES, "4:2:0")[0]
        np.testing.assert_array_equal(ours, alone)


def test_every_image_can_have_its_own_tables():
    images = np.stack([crop(), crop("chelsea")])
    pairs = np.stack([jpeg.quality_tables(q) for q in (10, 90)])
    together = jpeg.roundtrip(images, pairs, "4:2:0", "straight_through")
    for image, pair, ours in zip(images, pairs, together, strict=True):
        alone = jpeg.roundtrip(image[None], pair, "4:2:0", "straight_through")[0]
        np.testing.assert_allclose(ours, alone, atol=1e-3)


def test_chroma_shares_a_table_unless_there_are_three():
    image = crop()[None]
    three = np.stack([TABLES[0], TABLES[1], TABLES[1]])
    np.testing.assert_array_equal(
        jpeg.roundtrip(image, TABLES), jpeg.roundtrip(image, three)
    )
    coarse = three.copy()
    coarse[2] = 255
    _, cb, cr = jpeg.quantize(jpeg.coefficients(image), coarse)
    _, same, _ = jpeg.quantize(jpeg.coefficients(image), three)
    np.testing.assert_array_equal(cb, same)
    assert np.count_nonzero(cr) < np.count_nonzero(cb)


def test_swapping_red_and_blue_differences_swaps_them_in_the_result():
    """The planes are treated alike: their order is the only difference."""
    y, cb, cr = jpeg.coefficients(crop()[None], "4:2:0")
    one, other = (
        jpeg.dequantize(jpeg.quantize(x, TABLES), TABLES)
        for x in ((y, cb, cr), (y, cr, cb))
    )
    np.testing.assert_array_equal(one[1], other[2])
    np.testing.assert_array_equal(one[2], other[1])


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("rounding", ["straight_through", "cubic", "noise"])
def test_gradients_reach_image_and_both_tables(subsampling, rounding):
    image = jnp.asarray(crop()[None], jnp.float32)

    def loss(image, tables):
        decoded = jpeg.roundtrip(
            image, tables, subsampling, rounding, key=jax.random.key(0)
        )
        return jnp.mean(jnp.square(decoded - jax.lax.stop_gradient(image)))

    tables = jnp.asarray(TABLES, jnp.float32)
    by_image, by_tables = jax.grad(loss, (0, 1))(image, tables)
    assert np.isfinite(by_image).all()
    assert np.isfinite(by_tables).all()
    assert np.count_nonzero(by_image) > image.size // 2
    # Of straight-through luma every step counts; chroma has few coefficients here.
    assert (np.count_nonzero(by_tables, axis=(1, 2)) > [50, 30]).all()


def test_without_rounding_the_codec_is_the_identity():
    """Noise of every coefficient averages out: what is left is the linear part."""
    image = crop("coffee")[None].astype(np.float32)
    planes = jpeg.coefficients(image, "4:4:4", "cubic")
    again = jpeg.decode(planes, image.shape[1:3], "4:4:4", "cubic")
    np.testing.assert_allclose(again, image, atol=2e-3)


def test_flat_images_have_finite_gradients():
    image = jnp.full((1, 16, 16, 3), 77.0)

    def loss(image, tables):
        return jnp.sum(jnp.square(jpeg.roundtrip(image, tables, "4:2:0", "cubic")))

    gradients = jax.grad(loss, (0, 1))(image, jnp.asarray(TABLES, jnp.float32))
    assert all(np.isfinite(g).all() for g in gradients)


def test_the_colour_matrices_are_inverse():
    np.testing.assert_allclose(
        color.RGB_TO_YCBCR @ color.YCBCR_TO_RGB, np.eye(3), atol=2e-6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subsampling": "4:2:1"}, "unknown subsampling '4:2:1'"),
        ({"rounding": "soft"}, "unknown rounding 'soft'"),
        ({"rounding": "noise"}, "needs a key"),
        ({"images": np.zeros((8, 8, 3))}, r"expected \[B, H, W, 3\]"),
        ({"images": np.zeros((1, 0, 8, 3))}, r"expected \[B, H, W, 3\]"),
        ({"tables": np.ones((8, 8))}, r"tables have shape \[8, 8\]"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    given = {"images": crop()[None], "tables": TABLES} | arguments
    with pytest.raises(ConfigError, match=message):
        jpeg.roundtrip(**given)
