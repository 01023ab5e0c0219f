"""RD-OPT against loops over every coefficient, and by the size of real files."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from skimage import data

from common.errors import ConfigError, DataError
from compression import color, jpeg, rd_opt, rounding


def crop(name, height, width):
    return np.ascontiguousarray(
        getattr(data, name)()[64 : 64 + height, 96 : 96 + width]
    )


def coding_order(blocks, factors):
    """MCU by MCU, as a decoder meets them."""
    rows, columns = blocks.shape[:2]
    return [
        blocks[top + i, left + j]
        for top in range(0, rows, factors[0])
        for left in range(0, columns, factors[1])
        for i in range(factors[0])
        for j in range(factors[1])
    ]


def entropy(symbols):
    counts = Counter(symbols).values()
    return -sum(n * np.log2(n / len(symbols)) for n in counts)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_costs_equal_those_of_every_coefficient(subsampling):
    image = crop("astronaut", 33, 37)
    distortions, rates = rd_opt.candidates([image], subsampling)
    weights = rd_opt.error_weights(subsampling)
    values = jpeg.coefficients(image[None], subsampling)
    mcu = [color.SUBSAMPLINGS[subsampling], (1, 1), (1, 1)]
    for step in (1, 2, 3, 7, 16, 33, 126, 255):
        wanted = np.zeros((2, 2, 64))
        levels = [rounding.hard(component / step) for component in values]
        for number, (c, q) in enumerate(zip(values, levels, strict=True)):
            squared = np.square(np.asarray(c - step * q, np.float64)).sum((0, 1, 2))
            table = min(number, 1)
            wanted[0, table] += weights[number] * squared.ravel()
            ordered = np.array(coding_order(np.asarray(q[0]), mcu[number]))
            ordered[:, 0, 0] = np.diff(ordered[:, 0, 0], prepend=0)
            wanted[1, table] += [
                entropy(column) for column in ordered.reshape(-1, 64).T
            ]
        found = np.stack([distortions, rates])[..., list(rd_opt.STEPS).index(step)]
        np.testing.assert_allclose(found * 33 * 37, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("steps", [(24, 1), (1, 40)])
def test_distortions_add_up_to_the_error_of_the_decoded_image(subsampling, steps):
    image = crop("coffee", 128, 128)
    distortions, _ = rd_opt.candidates([image], subsampling)
    found = sum(
        part[:, list(rd_opt.STEPS).index(step)].sum()
        for part, step in zip(distortions, steps, strict=True)
    )
    tables = np.ones((2, 8, 8)) * np.reshape(steps, (2, 1, 1))
    errors = [
        np.square(
            jpeg.roundtrip(image[None], t, subsampling, "straight_through") - image
        )
        for t in (tables, np.full((2, 8, 8), 1e-3))  # the latter: subsampling alone
    ]
    added = errors[0].mean() - errors[1].mean()
    assert found == pytest.approx(added, rel=0.06 if subsampling == "4:4:4" else 0.13)


def test_weights_are_those_of_the_linear_operator():
    np.testing.assert_allclose(
        rd_opt.error_weights("4:4:4"),
        np.repeat([[1], [1.0862], [0.8252]], 64, 1),
        rtol=1e-4,
    )
    # A triangle's output has 5/4 of the energy and 3/4 of the products of neighbours.
    position = np.arange(8)
    basis = np.cos((2 * position + 1) * position[:, None] * np.pi / 16)
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    gain = 1.25 + 0.75 * (basis[:, 1:] * basis[:, :-1]).sum(1)
    wanted = {"4:2:2": np.tile(gain, 8), "4:2:0": np.outer(gain, gain).ravel()}
    for subsampling, gains in wanted.items():
        weights = rd_opt.error_weights(subsampling)
        np.testing.assert_allclose(weights[0], 1, rtol=1e-4)
        np.testing.assert_allclose(weights[1], 1.0862 * gains, rtol=1e-3)
        np.testing.assert_allclose(weights[2], 0.8252 * gains, rtol=1e-3)


# As measured once with an independent implementation (4:4:4, optimised Huffman tables).
@pytest.mark.parametrize(
    ("name", "bpp", "saving"),
    [("astronaut", 1.250, 20.1), ("coffee", 1.603, 25.6), ("chelsea", 1.109, 18.6)],
)
def test_real_files_are_smaller_at_equal_quality(name, bpp, saving):
    image = getattr(data, name)()
    ladder = [
        measure(image, jpeg.quality_tables(quality)) for quality in range(70, 95, 5)
    ]
    size, psnr = measure(image, rd_opt.rd_opt([image], 20.0))
    sizes, psnrs = zip(*ladder, strict=True)
    assert psnrs[0] < psnr < psnrs[-1]
    assert size == pytest.approx(bpp, rel=0.01)
    usual = np.exp(np.interp(psnr, psnrs, np.log(sizes)))
    assert 100 * (1 - size / usual) == pytest.approx(saving, abs=0.7)


def measure(image, tables):
    file = io.BytesIO()
    Image.fromarray(image).save(
        file,
        "JPEG",
        qtables=[table.ravel().tolist() for table in tables],
        subsampling=0,
        optimize=True,
    )
    error = np.square(np.asarray(Image.open(file), np.float64) - image).mean()
    pixels = image.shape[0] * image.shape[1]
    return 8 * file.tell() / pixels, 10 * np.log10(255**2 / error)


def test_images_count_alike():
    small, large = crop("astronaut", 16, 24), crop("coffee", 40, 33)
    both, rates = rd_opt.candidates([small, large])
    each = [rd_opt.candidates([image])[0] for image in (small, large)]
    np.testing.assert_allclose(both, np.mean(each, axis=0), rtol=1e-6, atol=1e-9)
    twice = rd_opt.candidates([small, large, small, large])
    np.testing.assert_allclose(twice, (both, rates), rtol=1e-6, atol=1e-9)


def test_weight_moves_tables():
    costs = rd_opt.candidates([crop("chelsea", 64, 64)])
    # Squared error alone; where all is zero at any step, the finest.
    assert (rd_opt.choose(*costs, 0.0) == 1).all()
    previous = None
    for weight in (1.0, 10.0, 100.0, 1000.0):
        tables = rd_opt.choose(*costs, weight)
        assert tables.dtype == np.int32
        assert tables.shape == (2, 8, 8)
        assert tables.max() <= 255
        chosen = np.searchsorted(rd_opt.STEPS, tables.reshape(2, 64, 1))
        squared, bits = (np.take_along_axis(c, chosen, -1).sum() for c in costs)
        if previous:
            assert squared > previous[0]
            assert bits < previous[1]
        previous = squared, bits


def test_flat_image_has_no_rate_to_save():
    flat = np.full((1, 1, 3), 128, np.uint8)
    distortions, rates = rd_opt.candidates([flat], "4:2:0")
    assert not distortions.any()
    assert not rates.any()
    # Extreme values are in the histogram's range.
    checkers = np.indices((16, 16)).sum(0) % 2 * np.array([255], np.uint8)
    image = np.repeat(checkers.astype(np.uint8)[..., None], 3, -1)
    white = np.full((8, 8, 3), 255, np.uint8)
    assert np.isfinite(rd_opt.candidates([image, white])).all()


def test_wrong_input_is_refused():
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(DataError, match="no images"):
        rd_opt.rd_opt([], 20.0)
    with pytest.raises(DataError, match=r"float64 \[8, 8, 3\]; expected uint8"):
        rd_opt.rd_opt([image / 255], 20.0)
    with pytest.raises(DataError, match=r"uint8 \[8, 8\]; expected"):
        rd_opt.rd_opt([image[..., 0]], 20.0)
    with pytest.raises(ConfigError, match="subsampling"):
        rd_opt.rd_opt([image], 20.0, "4:1:1")
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"rate_weight={weight}"):
            rd_opt.rd_opt([image], weight)
