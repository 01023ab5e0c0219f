"""Tables of how well metrics meet people's preferences, and the rivals' scores."""

import csv
import io
import itertools

import ml_collections
import numpy as np
import pytest
from PIL import Image
from skimage import data

from common.errors import ConfigError
from common.metrics import image as metrics
from iqa import jpeg_pairs, preference_evaluation, preference_rivals
from iqa.pairs import Pair, PairSource, Version
from iqa.preference_config import default_config
from iqa.preference_evaluation import OURS, Judged
from iqa.preference_rivals import QUALITY, SIZE

QUALITIES = (90, 60, 30, 10)


def pairs_of(key, tile, opinions=False):
    """All pairs of four qualities, of people who mostly prefer the higher."""
    versions = [
        Version(f"{key}/{q}", quality=q, opinion=float(q) if opinions else None)
        for q in QUALITIES
    ]
    found = []
    for first, second in itertools.combinations(versions, 2):
        share = 1 / (1 + np.exp((first.quality - second.quality) / 15))
        found.append(Pair(key, tile, first, second, float(share), 32))
    return found


@pytest.fixture(scope="module")
def compared():
    image = data.coffee()
    tiles = [image[y : y + 64, x : x + 80] for y, x in ((100, 200), (150, 330))]
    return [p for k, tile in enumerate(tiles) for p in pairs_of(f"t{k}", tile)]


@pytest.fixture(scope="module")
def options():
    return default_config().evaluation


@pytest.fixture(scope="module")
def outputs(compared):
    """Of a metric that knows all but the last pair, which it has the wrong way."""
    gap = np.array([(p.second.quality - p.first.quality) / 15 for p in compared])
    gap[-1] *= -1
    return {
        "id": np.arange(len(compared)),
        "first": np.zeros(len(compared)),
        "second": gap,
        "probability": 1 / (1 + np.exp(-gap)),
    }


@pytest.fixture(scope="module")
def judged(outputs, compared, options):
    return preference_evaluation.judge(outputs, compared, options)


def test_rivals_score_what_they_say(compared, options):
    found = preference_rivals.score(compared, options)
    assert list(found) == [QUALITY, SIZE, "PSNR", "SSIM", "MS-SSIM"]
    pair = compared[2]  # of qualities 90 and 10
    np.testing.assert_array_equal(found[QUALITY][2], [90, 10])
    files = [jpeg_pairs.encode(Image.fromarray(pair.reference), q) for q in (90, 10)]
    np.testing.assert_array_equal(found[SIZE][2], [len(file) for file in files])
    shown = np.asarray(Image.open(io.BytesIO(files[1])))
    expected = metrics.psnr(shown, pair.reference)
    assert found["PSNR"][2, 1] == pytest.approx(expected, abs=1e-9)
    assert np.all(found["SSIM"][:, 0] > found["SSIM"][:, 1])
    # The tiles are smaller than its coarsest window.
    assert np.isnan(found["MS-SSIM"]).all()


def test_a_file_that_is_no_jpeg_has_no_size(tmp_path, options):
    tile = data.coffee()[:32, :32]
    paths = [tmp_path / "a.png", tmp_path / "b.jpg"]
    for path in paths:
        Image.fromarray(tile).save(path)
    versions = [Version(path.name, str(path)) for path in paths]
    found = preference_rivals.score([Pair("k", tile, *versions, 0.5)], options)
    assert np.isnan(found[QUALITY]).all()
    assert np.isnan(found[SIZE][0, 0])
    assert found[SIZE][0, 1] == paths[1].stat().st_size
    # An equal picture has no bound: the largest number that is shown.
    assert found["PSNR"][0, 0] == 100


def test_nets_are_checked(options):
    wrong = ml_collections.ConfigDict({**options, "lpips_net": "squeeze"})
    with pytest.raises(ConfigError, match=r"lpips_net 'squeeze'.*alex, vgg"):
        preference_rivals.check(wrong)


def test_the_table(judged):
    header, *rows = preference_evaluation.preference_table(judged)
    table = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    # MS-SSIM has no score here, and no row.
    assert list(table) == [
        *(OURS, QUALITY, SIZE, "PSNR", "SSIM", "the majority itself", "chance")
    ]
    share = judged.share
    ceiling = np.maximum(share, 1 - share).mean()
    assert table["the majority itself"]["2AFC"] == f"{ceiling:.4f}"
    assert table[QUALITY]["2AFC"] == f"{ceiling:.4f}"
    assert table[QUALITY]["of ceiling"] == "1.000"
    assert table[QUALITY]["less quality rule, 95 %"] == ""
    assert table[QUALITY]["SRCC per reference"] == "1.000"
    # One of twelve pairs the wrong way round.
    wrong = max(share[-1], 1 - share[-1])
    lost = ceiling - (2 * wrong - 1) / 12
    assert table[OURS]["2AFC"] == f"{lost:.4f}"
    assert table[OURS]["majority met"] == f"{11 / 12:.3f}"
    low, high = map(float, table[OURS]["less quality rule, 95 %"].split(" to "))
    assert low == pytest.approx(2 * (lost - ceiling), abs=1e-3)
    assert high == 0
    for name in (OURS, "chance", "PSNR"):
        assert float(table[name]["2AFC"]) <= round(ceiling, 4)
    entropy = float(table["the majority itself"]["cross-entropy"])
    assert all(float(table[n]["cross-entropy"]) >= entropy for n in (OURS, "PSNR"))


def test_bins(judged):
    header, counts, *rows = preference_evaluation.bins_table(judged)
    assert header[1] == "share 0.5 to 0.6"
    # Factors of the six pairs of a tile: 30, 60, 80, 30, 50 and 20 apart.
    apart = dict(zip(header, counts, strict=True))
    assert [apart[h] for h in header[4:]] == ["0", "6", "6"]
    assert sum(map(int, counts[1:4])) == 12
    assert dict(zip(header, rows[0], strict=True))["metric"] == OURS
    assert {row[0]: row[-1] for row in rows}[QUALITY] == "1.000"


def test_slopes():
    rng = np.random.default_rng(0)
    gap = rng.normal(0, 3, 4000)
    share = rng.random(4000) < 1 / (1 + np.exp(-0.7 * gap))
    assert preference_evaluation.fit_slope(gap, share) == pytest.approx(0.7, rel=0.06)
    assert preference_evaluation.fit_slope(1e6 * gap, share) == pytest.approx(
        0.7e-6, rel=0.06
    )
    # Told apart without an error: certain, and finite.
    assert np.isfinite(preference_evaluation.fit_slope(gap, gap > 0))
    # The wrong way round: not told apart at all.
    assert preference_evaluation.fit_slope(-gap, share) == pytest.approx(0, abs=1e-3)
    assert np.isnan(preference_evaluation.fit_slope(np.zeros(3), np.ones(3)))


def test_probabilities_come_from_other_references():
    gap, share = np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.9, 0.9, 0.6, 0.6])
    sure = preference_evaluation.cross_fitted(gap, share, np.array(list("aabb")))
    np.testing.assert_allclose(sure, [0.6, 0.6, 0.9, 0.9], atol=1e-3)
    alone = preference_evaluation.cross_fitted(gap, share, np.array(list("aaaa")))
    assert np.isnan(alone).all()


def test_people_rank_the_versions_of_a_reference(judged):
    assert set(judged.people) == {"t0", "t1"}
    scores = judged.people["t0"]
    assert sorted(scores, key=scores.get, reverse=True) == [
        f"t0/{q}" for q in QUALITIES
    ]
    # The shares follow the model: its scores are the factors over 15, a prior apart.
    gap = scores["t0/90"] - scores["t0/60"]
    assert gap == pytest.approx(2, abs=0.1)
    two = [
        p for p in judged.compared if {p.first.quality, p.second.quality} <= {90, 60}
    ]
    few = Judged(two, {OURS: np.zeros((2, 2))}, np.full(2, 0.5))
    assert np.isnan(preference_evaluation.per_reference(few, OURS))


def test_mean_scores_of_people(options):
    tile = data.coffee()[100:164, 200:280]
    compared = pairs_of("k", tile, opinions=True)
    outputs = {
        "id": np.arange(6),
        "first": np.array([p.first.quality for p in compared], float),
        "second": np.array([p.second.quality for p in compared], float),
        "probability": np.full(6, 0.4),
    }
    judged = preference_evaluation.judge(outputs, compared, options)
    header, *rows = preference_evaluation.opinions_table(judged)
    assert header == ("metric", "SRCC", "KRCC", "PLCC", "versions")
    assert rows[0][1:3] == ("1.000", "1.000")
    assert rows[0][4] == "4"


def test_files(outputs, compared, options, tmp_path):
    source = PairSource(compared)
    pictures = preference_evaluation.write(outputs, source, options, tmp_path)
    assert [path.name for _, path in pictures] == [
        "calibration.png",
        "quality_gaps.png",
    ]
    for _, path in pictures:
        with Image.open(path) as image:
            assert min(image.size) > 300
    with (tmp_path / "pairs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    assert rows[2]["share for the second"] == f"{compared[2].preference:.6g}"
    assert rows[2][f"{QUALITY}: first"] == "90"
    assert rows[2]["MS-SSIM: first"] == ""
    # The clearest pair, to try: qualities 90 and 10.
    shown = sorted(path.name for path in (tmp_path / "examples").iterdir())
    assert shown == ["0_reference.png", "1_first.png", "2_second.png"]
    with Image.open(tmp_path / "examples/0_reference.png") as image:
        np.testing.assert_array_equal(np.asarray(image), compared[2].reference)
    assert not (tmp_path / "opinions.md").exists()
