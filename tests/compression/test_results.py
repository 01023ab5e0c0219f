import csv
import math

import numpy as np
import pytest

from compression import results
from compression.evaluation import Point


def point(bpp, psnr, top1=math.nan):
    return Point(bytes=1000 * bpp, bpp=bpp, psnr=psnr, ms_ssim=0.9, top1=top1)


CURVES = {
    "learned": [point(0.4, 30), point(0.8, 33), point(1.6, 36)],
    "Annex K": [point(0.5, 30), point(1.0, 33), point(2.0, 36)],
}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_scores_of_images_become_mean_curves():
    images = [results.flatten(CURVES), results.flatten(CURVES)]
    outputs = {name: np.array([one[name] for one in images]) for name in images[0]}
    outputs["learned/1/psnr"] = np.array([33.0, 35.0])
    outputs["bd_rate"] = np.zeros(2)  # is no curve
    means = results.mean_curves(outputs)
    assert list(means) == ["learned", "Annex K"]
    assert [p.psnr for p in means["learned"]] == [30, 34, 36]
    assert math.isnan(means["learned"][0].top1)


def test_more_than_ten_points_keep_their_order():
    many = {"learned": [point(bpp, bpp) for bpp in range(1, 13)]}
    outputs = {name: np.array([v]) for name, v in results.flatten(many).items()}
    assert [p.bpp for p in results.mean_curves(outputs)["learned"]] == [*range(1, 13)]


def test_distortion_is_written_for_people_and_programs(tmp_path):
    path = results.write_distortion({"cup": CURVES}, tmp_path)
    assert path == tmp_path / "rate_distortion.png"
    assert path.stat().st_size > 10_000
    table = rows(tmp_path / "rate_distortion.csv")
    assert table[0] == ["image", "tables", "bpp", "psnr", "ms_ssim"]
    assert table[1] == ["cup", "learned", "0.400", "30.00", "0.9000"]
    assert len(table) == 7
    gains = rows(tmp_path / "rate_distortion_gain.csv")
    assert gains[1][:3] == ["cup", "learned", "-20.0"]
    assert (tmp_path / "rate_distortion.md").read_text().startswith("| image |")


def test_accuracy_compares_at_the_rates_of_annex_k(tmp_path):
    curves = {
        "Annex K": [point(0.5, 30, 0.5), point(1.0, 33, 0.7), point(3.0, 36, 0.9)],
        "learned": [point(0.25, 30, 0.4), point(1.0, 33, 0.8), point(2.0, 36, 0.9)],
    }
    results.write_accuracy(curves, 0.95, tmp_path)
    table = rows(tmp_path / "rate_accuracy.csv")
    assert table[0] == ["bytes", "bpp", "Annex K", "learned"]
    assert table[1][2:] == ["0.5000", "0.6000"]  # half way in octaves
    assert table[2][2:] == ["0.7000", "0.8000"]
    assert table[3][2:] == ["0.9000", ""]  # beyond what was learned
    assert (tmp_path / "rate_accuracy.png").stat().st_size > 10_000


def test_nothing_is_said_where_curves_do_not_meet():
    far = [point(9, 50), point(10, 51)]
    assert results.gain(CURVES["Annex K"], far) == ("", "", "")
    assert results.gain(CURVES["Annex K"], CURVES["learned"])[0] == "-20.0"
    assert float(results.gain(CURVES["Annex K"], CURVES["Annex K"])[0]) == (
        pytest.approx(0)
    )
