"""Calibration: its lines against least squares, its counts against real files."""

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image
from scipy import stats

from common.errors import DataError
from compression import calibration, files, jpeg, rate
from compression.calibration import Photograph, Samples
from tests.compression.photographs import crop


@pytest.fixture
def quick(monkeypatch):
    """Without the estimator that has to be trained."""
    monkeypatch.setattr(rate, "NAMES", ("laplace", "log_magnitude", "nonzero"))


def scattered(count=40, seed=0):
    generator = np.random.default_rng(seed)
    estimated = generator.uniform(0.1, 4, count)
    return estimated, (1.3 * estimated + 0.2) * generator.uniform(0.8, 1.25, count)


def test_line_has_the_least_relative_error():
    estimated, measured = scattered()
    report = calibration.fit_affine(estimated, measured)
    system = np.stack([estimated, np.ones(40)], axis=1) / measured[:, None]
    expected = np.linalg.lstsq(system, np.ones(40), rcond=None)[0]
    np.testing.assert_allclose((report.slope, report.intercept), expected, rtol=1e-9)
    weighted = np.polyfit(estimated, measured, 1, w=1 / measured)
    np.testing.assert_allclose((report.slope, report.intercept), weighted)
    exact = calibration.fit_affine(estimated, 3 * estimated - 0.05)
    np.testing.assert_allclose((exact.slope, exact.intercept), (3, -0.05))
    np.testing.assert_allclose((exact.mape, exact.median_error), 0, atol=1e-9)
    np.testing.assert_allclose((exact.r2, exact.spearman), 1)


def test_errors_are_those_of_the_line():
    estimated = np.array([1.0, 2.0, 3.0, 4.0])
    measured = np.array([2.0, 5.0, 5.0, 10.0])
    report = calibration.judge(2.0, 0.0, estimated, measured)
    assert (report.slope, report.intercept, report.samples) == (2.0, 0.0, 4)
    np.testing.assert_allclose(report.mape, 100 * (0 + 1 / 5 + 1 / 5 + 1 / 5) / 4)
    np.testing.assert_allclose(report.median_error, 20)
    rest = 0 + 1 + 1 + 4
    np.testing.assert_allclose(report.r2, 1 - rest / ((measured - 5.5) ** 2).sum())
    np.testing.assert_allclose(report.spearman, stats.spearmanr(estimated, measured)[0])
    assert not report.reached
    assert calibration.judge(2.0, 0.0, estimated, 2.1 * estimated).reached


def test_line_is_of_one_half_and_errors_of_the_other():
    estimated, measured = scattered()
    held_out = np.arange(40) % 3 == 0
    measured = np.where(held_out, 2 * estimated, measured)
    samples = Samples(measured, {"one": estimated, "two": estimated**2}, held_out)
    reports = calibration.evaluate(samples)
    assert list(reports) == ["one", "two"]
    line = calibration.fit_affine(estimated[~held_out], measured[~held_out])
    assert (reports["one"].slope, reports["one"].intercept) == (
        line.slope,
        line.intercept,
    )
    error = np.abs((line.slope * estimated + line.intercept) / measured - 1)[held_out]
    np.testing.assert_allclose(reports["one"].median_error, 100 * np.median(error))
    assert reports["one"].samples == held_out.sum()
    for half in (held_out, ~held_out):
        few = Samples(measured, {"one": estimated}, half | (np.arange(40) > 0))
        with pytest.raises(DataError, match="too few"):
            calibration.evaluate(few)


def test_measured_is_what_a_file_has(quick):
    image = crop(height=64, width=96)
    generator = np.random.default_rng(calibration._SEED)
    expected = []
    for pair in calibration.trial_tables(generator):
        content = files.encode(image, pair)
        # Behind the header of 623 bytes; an end marker of two; a zero behind each 0xFF.
        scan = content[623:-2]
        expected.append(8 * (len(scan) - scan.count(b"\xff\x00")) / (64 * 96))
    expected = np.array(expected)
    low, high = calibration.RANGE
    expected = expected[(expected >= low) & (expected <= high)]
    samples = calibration.measure([Photograph(image, True), Photograph(image, False)])
    count = len(expected)
    assert samples.held_out[:count].all()
    assert not samples.held_out[count:].any()
    # Our transform is real; a file ends with a whole byte.
    np.testing.assert_allclose(samples.measured[:count], expected, rtol=0.005)
    for name in rate.NAMES:
        assert samples.estimated[name].shape == samples.measured.shape
        correlation = stats.spearmanr(samples.estimated[name], samples.measured)[0]
        assert correlation > 0.97, name


def test_crops_are_the_middles_of_halves():
    rows, columns = np.mgrid[:300, :700]
    image = np.stack([rows, columns], axis=-1)
    both = calibration.crops(image)
    assert [c.shape[:2] for c in both] == [(256, 256)] * 2
    assert [c[0, 0].tolist() for c in both] == [[22, 47], [22, 397]]
    turned = calibration.crops(image.swapaxes(0, 1))
    for one, other in zip(both, turned, strict=True):
        np.testing.assert_array_equal(one, other.swapaxes(0, 1))
    (single,) = calibration.crops(image[:, :500])
    assert single[0, 0].tolist() == [22, 122]
    (whole,) = calibration.crops(image[:9, :31])
    assert whole.shape == (9, 31, 2)


def test_trial_tables():
    tables = calibration.trial_tables(np.random.default_rng(1))
    count = len(calibration.QUALITIES)
    assert tables.shape == (3 * count, 2, 8, 8)
    assert tables.dtype == np.int32
    assert tables.min() >= 1
    assert tables.max() <= 255
    plain, jittered, flatter = tables.reshape(3, count, 2, 8, 8)
    for quality, pair in zip(calibration.QUALITIES, plain, strict=True):
        np.testing.assert_array_equal(pair, jpeg.quality_tables(quality))
    assert (jittered != plain).mean() > 0.5
    spread = [np.log(kind[3:]).std((1, 2, 3)) for kind in (flatter, plain)]
    assert (spread[0] < 0.7 * spread[1]).all()


def test_nothing_is_fitted_to_what_tables_are_judged_with():
    chosen = calibration.bundled()
    stems = {path.rsplit("/")[-1].split(".")[0]: held for path, held in chosen}
    assert len(stems) == 16
    for name in ("astronaut", "chelsea", "china", "coffee"):
        assert stems[name]
    assert sum(not held for held in stems.values()) == 9


def save(image, path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(image).save(path)


def test_folder(tmp_path):
    for number in range(5):
        save(crop(height=8, width=8), tmp_path / "deep" / f"{number}.png")
    (tmp_path / "deep" / "1.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("no image")
    found = calibration.of_folder(str(tmp_path))
    assert [path[-5:] for path, _ in found] == [f"{n}.png" for n in range(5)]
    assert [held for _, held in found] == [False, True, False, True, False]
    read = list(calibration.read(found))
    assert [photograph.held_out for photograph in read] == [False, False, True, False]
    assert read[0].pixels.shape == (8, 8, 3)
    with pytest.raises(DataError, match="no such folder"):
        calibration.of_folder(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="no images to calibrate with"):
        calibration.measure([])


def test_mode(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration.compile_cache, "use", lambda: None)
    monkeypatch.setattr(calibration, "setup_runtime", lambda *_: None)
    folder, workdir = tmp_path / "in", tmp_path / "out"
    save(crop(height=64, width=96), folder / "a.png")
    with (
        flagsaver.flagsaver(input=str(folder)),
        pytest.raises(DataError, match="too few"),
    ):
        calibration.run(None)
    save(crop("coffee", height=64, width=96), folder / "b.png")
    with flagsaver.flagsaver(input=str(folder), subsampling="4:2:0"):
        text = calibration.run(str(workdir))
    assert "2 images at 4:2:0" in text
    table = (workdir / "calibration.csv").read_text()
    assert table in text + "\n"
    assert (workdir / "calibration.md").read_text() in text
    header, *rows = [line.split(",") for line in table.splitlines()]
    assert [row[0] for row in rows] == list(rate.NAMES)
    numbers = dict(zip(header, rows[1], strict=True))
    assert 2 < float(numbers["slope"]) < 4
    assert float(numbers["Spearman"]) > 0.98
    with Image.open(workdir / "calibration.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.slow
def test_one_estimator_is_as_good_as_asked_for():
    """On the bundled photographs; and the default constants are those of the lines."""
    photographs = calibration.read(calibration.bundled())
    reports = calibration.evaluate(calibration.measure(photographs))
    assert reports["log_magnitude"].reached
    for name, model in (
        ("log_magnitude", rate.LogMagnitude()),
        ("nonzero", rate.Nonzero()),
    ):
        line = reports[name]
        np.testing.assert_allclose(
            (model.slope, model.intercept), (line.slope, line.intercept), atol=0.005
        )
    # What densities reach, so that nobody makes them worse unseen.
    assert reports["laplace"].spearman > 0.94
    assert reports["learned_cdf"].spearman > 0.97
