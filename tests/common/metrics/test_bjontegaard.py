"""Differences of curves against the package `bjontegaard`, and what follows by hand."""

import math

import numpy as np
import pytest

from common.errors import DataError
from common.metrics import bjontegaard

# Bits per pixel and PSNR of real files of skimage's coffee: Annex K at quality 10 to
# 95, and tables of one number from 60 to 8.
LADDER = (
    [0.3170, 0.6460, 0.9146, 1.1611, 1.5340, 2.4051, 4.5533],
    [26.3763, 29.1468, 30.5074, 31.5014, 32.8094, 35.4580, 40.3247],
)
FLAT = (
    [0.4752, 0.7231, 1.1955, 1.7300, 2.2026, 3.0500],
    [28.2490, 30.2171, 32.8475, 35.0973, 36.7032, 39.0313],
)
TWO = (LADDER[0][:2], LADDER[1][:2])
THIN = (LADDER[0][::2], LADDER[1][::2])


def scaled(curve, factor=1.0, shift=0.0):
    return [rate * factor for rate in curve[0]], [score + shift for score in curve[1]]


@pytest.mark.parametrize(
    ("reference", "curve", "rate", "psnr"),
    [
        # Of bjontegaard 1.3.0, method="pchip", min_overlap=0.
        (LADDER, FLAT, -20.3578522442, 1.1905461364),
        (FLAT, LADDER, 25.5616565071, -1.1905461364),
        (TWO, FLAT, -8.8667902024, 0.3999549351),
        (THIN, FLAT, -21.2421522391, 1.2033818577),
    ],
)
def test_differences_are_those_of_another_package(reference, curve, rate, psnr):
    assert bjontegaard.bd_rate(*reference, *curve) == pytest.approx(rate, abs=1e-9)
    assert bjontegaard.bd_psnr(*reference, *curve) == pytest.approx(psnr, abs=1e-9)
    shuffled = [np.array(values)[::-1] for values in curve]
    assert bjontegaard.bd_rate(*reference, *shuffled) == pytest.approx(rate, abs=1e-9)
    assert bjontegaard.bd_psnr(*reference, *shuffled) == pytest.approx(psnr, abs=1e-9)


@pytest.mark.parametrize("curve", [LADDER, TWO])
def test_what_scaled_rates_and_shifted_scores_give(curve):
    fewer = scaled(curve, factor=0.8)
    assert bjontegaard.bd_rate(*curve, *fewer) == pytest.approx(-20, abs=1e-9)
    assert bjontegaard.bd_rate(*fewer, *curve) == pytest.approx(25, abs=1e-9)
    better = scaled(curve, shift=1.0)
    assert bjontegaard.bd_psnr(*curve, *better) == pytest.approx(1, abs=1e-9)
    assert bjontegaard.bd_psnr(*curve, *curve) == bjontegaard.bd_rate(*curve, *curve)
    # The unit of the rates does not matter.
    bytes_ = scaled(curve, 30_000), scaled(fewer, 30_000)
    assert bjontegaard.bd_rate(*bytes_[0], *bytes_[1]) == pytest.approx(-20, abs=1e-9)


def test_a_line_in_log_rate_by_hand():
    # 10 dB per tenfold rate; the other is 5 dB better at a rate of 1, 15 dB at 100.
    reference, curve = ([1, 10, 100], [20, 30, 40]), ([1, 10, 100], [25, 40, 55])
    assert bjontegaard.bd_psnr(*reference, *curve) == pytest.approx(10)
    # From 25 to 40 dB the reference takes 10^0.5 to 100, the other 1 to 10.
    assert bjontegaard.bd_rate(*reference, *curve) == pytest.approx(
        100 * (10**-0.75 - 1)
    )
    gain, saving = bjontegaard.saving_at(*reference, 10**0.5, 35)
    assert gain == pytest.approx(10)
    assert saving == pytest.approx(1 - 10**-1.0)


def test_saving_of_a_point():
    for rate, score in zip(*LADDER, strict=True):
        on_it = bjontegaard.saving_at(*LADDER, rate, score)
        assert on_it == pytest.approx((0, 0), abs=1e-12)
        # A fifth fewer bits at equal score, and one dB more at equal rate.
        _, saving = bjontegaard.saving_at(*LADDER, 0.8 * rate, score)
        assert saving == pytest.approx(0.2)
        gain, _ = bjontegaard.saving_at(*LADDER, rate, score + 1)
        assert gain == pytest.approx(1)
    # Between the points it is near what lines between them give.
    rate, score = FLAT[0][2], FLAT[1][2]
    gain, saving = bjontegaard.saving_at(*LADDER, rate, score)
    line = np.interp(np.log10(rate), np.log10(LADDER[0]), LADDER[1])
    assert gain == pytest.approx(score - line, abs=0.1)
    line = 10 ** np.interp(score, LADDER[1], np.log10(LADDER[0]))
    assert saving == pytest.approx(1 - rate / line, abs=0.02)


def test_nothing_is_extrapolated():
    gain, saving = bjontegaard.saving_at(*LADDER, 0.3, 30)
    assert math.isnan(gain)
    assert 0.5 < saving < 1
    gain, saving = bjontegaard.saving_at(*LADDER, 2, 41)
    assert 6 < gain < 8
    assert math.isnan(saving)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (([1], [30]), "1 points given, 2 are needed"),
        (([], []), "0 points given"),
        (([1, 2, 1], [30, 31, 32]), "two points have the rate 1"),
        (([0, 1], [30, 31]), "rate 0 is not positive"),
        (([1, -2], [30, 31]), "rate -2 is not positive"),
        (([1, 2], [30, math.inf]), "not finite"),
        (([1, math.nan], [30, 31]), "not finite"),
    ],
)
def test_curves_that_are_refused(curve, message):
    for metric in (bjontegaard.bd_rate, bjontegaard.bd_psnr):
        with pytest.raises(DataError, match=f"reference curve: .*{message}"):
            metric(*curve, *FLAT)
        with pytest.raises(DataError, match=f"compared curve: .*{message}"):
            metric(*FLAT, *curve)
    with pytest.raises(DataError, match=f"reference curve: .*{message}"):
        bjontegaard.saving_at(*curve, 1, 30)


@pytest.mark.parametrize("scores", [[30, 32, 31], [30, 31, 31]])
def test_scores_that_do_not_rise_have_no_rate_of_their_own(scores):
    curve = [1, 2, 3], scores
    with pytest.raises(DataError, match=rf"given {scores[1]} at 2 and 31 at 3"):
        bjontegaard.bd_rate(*FLAT, *curve)
    with pytest.raises(DataError, match="reference curve: scores must rise"):
        bjontegaard.saving_at(*curve, 1, 30)
    # Each rate has its score all the same.
    more = scaled(curve, shift=2.0)
    assert bjontegaard.bd_psnr(*curve, *more) == pytest.approx(2)


def test_curves_without_a_common_interval():
    with pytest.raises(DataError, match="no scores in common"):
        bjontegaard.bd_rate([1, 2], [30, 31], [1, 2], [31, 32])
    with pytest.raises(DataError, match="no rates in common"):
        bjontegaard.bd_psnr([1, 2], [30, 31], [3, 4], [30, 31])
    with pytest.raises(DataError, match="rate 0 is not positive"):
        bjontegaard.saving_at(*LADDER, 0, 30)
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        bjontegaard.bd_psnr([1, 2], [30, 31, 32], *FLAT)
