import math

import numpy as np
import pytest

from common.metrics.image import psnr
from compression import evaluation, files, jpeg
from compression.evaluation import Coding, Point
from tests.compression.photographs import crop

IMAGE = crop("coffee", 176, 168)


def test_points_are_those_of_the_files():
    coding = Coding("4:2:0", optimize_huffman=False)
    ladder = evaluation.annex_k((20, 80))
    for point, tables in zip(
        evaluation.curve(IMAGE, ladder, coding), ladder, strict=True
    ):
        content = files.encode(IMAGE, tables, "4:2:0")
        assert point.bytes == len(content)
        assert point.bpp == 8 * len(content) / (176 * 168)
        assert point.psnr == psnr(files.decode(content), IMAGE)
        assert 0.9 < point.ms_ssim < 1
        assert math.isnan(point.top1)


def test_a_profile_counts():
    tables = jpeg.quality_tables(50)
    without, with_one = (
        evaluation.curve(IMAGE, [tables], Coding(profile=profile))[0]
        for profile in (None, b"\0" * 500)
    )
    assert with_one.bytes >= without.bytes + 500


def test_grey_images_are_compared_in_grey():
    point = evaluation.curve(IMAGE[..., 0], [np.ones((2, 8, 8), int)], Coding())[0]
    assert point.psnr > 55


def test_a_classifier_sees_what_is_decoded():
    seen = []

    def classify(images):
        seen.append(images)
        return np.array([True, False])

    points = evaluation.curve(IMAGE, evaluation.flat((8, 64)), Coding(), classify)
    assert [point.top1 for point in points] == [1, 0]
    assert psnr(seen[0][1], IMAGE) == points[1].psnr


def curve(rates, scores, score="psnr"):
    return [
        Point(**{"bytes": 1000 * r, "bpp": r, "psnr": 0, score: s})
        for r, s in zip(rates, scores, strict=True)
    ]


REFERENCE = curve([0.5, 1, 2, 4], [30, 33, 36, 39])


def test_gains_of_a_curve_that_is_known():
    ours = curve([0.4, 0.8, 1.6, 3.2], [30, 33, 36, 39])
    assert evaluation.bd_rate(REFERENCE, ours) == pytest.approx(-20)
    better = curve([0.5, 1, 2, 4], [31, 34, 37, 40])
    assert evaluation.bd_score(REFERENCE, better) == pytest.approx(1)
    assert math.isnan(evaluation.bd_rate(REFERENCE, curve([5, 6], [50, 51])))
    assert math.isnan(evaluation.bd_rate(REFERENCE, ours, "ms_ssim"))


def test_points_that_cost_more_and_are_no_better_do_not_count():
    ours = [*curve([0.4, 0.8, 1.6, 3.2], [30, 33, 36, 39]), *curve([1.7], [35])]
    assert evaluation.bd_rate(REFERENCE, ours) == pytest.approx(-20)


def test_accuracies_may_fall_with_the_rate():
    reference = curve([0.5, 2], [0.5, 0.5], "top1")
    ours = curve([0.5, 1, 2], [0.5, 0.9, 0.5], "top1")
    # A triangle of height 0.4 along the logarithm of the rate.
    gain = evaluation.mean_difference(reference, ours, "top1")
    assert gain == pytest.approx(0.2, abs=1e-3)
    assert math.isnan(
        evaluation.mean_difference(reference, curve([3, 4], [1, 1], "top1"), "top1")
    )


def test_scores_are_interpolated_along_the_logarithm():
    assert evaluation.at_rate(REFERENCE, math.sqrt(2), "psnr") == pytest.approx(34.5)
    assert math.isnan(evaluation.at_rate(REFERENCE, 5, "psnr"))


def test_annex_k_saves_nothing_against_itself():
    coding = Coding()
    for quality in (30, 77):
        point = evaluation.curve(IMAGE, evaluation.annex_k((quality,)), coding)[0]
        saved = evaluation.saving(IMAGE, point.bytes, point.psnr, coding)
        assert saved == pytest.approx(0, abs=1e-9)
    between = evaluation.saving(IMAGE, point.bytes, point.psnr - 0.05, coding)
    assert -0.03 < between < 0
    assert math.isnan(evaluation.saving(IMAGE, 1000, 99.0, coding))
