"""The audit of a run's examples: right order, whole files, safe to open."""

import csv

import numpy as np
import pytest
from PIL import Image

from common import audit
from common.train import weight_metrics
from tests.common.logging import html_page

CLASSES = ("cat", "<b>dog</b>")


class Pictures:
    """Six pictures, the last of which nobody can read."""

    class_names = CLASSES
    names = ("a.png", "=cmd|x", "<i>.png", "ж" * 300, "@sum", "broken.jpg")

    def __init__(self, labels=True):
        self._labels = labels

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        picture = np.full((70, 90, 3) if index == 1 else (8, 8, 3), index, np.uint8)
        broken = index == 5
        found = {"image": b"no picture" if broken else picture, "id": index}
        if self._labels:
            found |= {"label": index % 2}
        return found | {"name": self.names[index]}


class Known(Pictures):
    """The noise in these is known."""

    noise_mask = np.array([True, False, False, False, True, False])
    true_labels = np.array([1, 1, 0, 1, 1, 1])


LOG_WEIGHTS = np.log(np.array([1, 30, 4, 20, 2, 43]) / 100)
LOWEST_FIRST = [0, 4, 2, 3, 1, 5]


@pytest.fixture(autouse=True)
def quick_plots(monkeypatch, tmp_path):
    """A picture of one pixel in place of a histogram, which has its own test."""

    def histogram(relative, path, mask):
        Image.new("RGB", (1, 1)).save(path)
        return path

    monkeypatch.setattr(audit.weight_plots, "histogram", histogram)


def table(folder):
    with open(folder / audit.TABLE, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_lowest_weights_come_first_and_names_are_harmless(tmp_path):
    said = {"id": [0, 5], "prediction": [1, 7], "confidence": [0.875, 0.5]}
    said = {name: np.array(column) for name, column in said.items()}
    audit.write(Known(), LOG_WEIGHTS, CLASSES, tmp_path, said, limit=5)

    rows = table(tmp_path)
    assert [int(row["id"]) for row in rows] == LOWEST_FIRST
    np.testing.assert_allclose(
        [float(row["weight"]) for row in rows], np.sort(np.exp(LOG_WEIGHTS)) * 6, 1e-5
    )
    by_id = {int(row["id"]): row for row in rows}
    assert by_id[0]["suggestion"] == "<b>dog</b>"
    assert by_id[0]["confidence"] == "0.8750"
    assert by_id[5]["suggestion"] == "7"  # a class that has no name
    assert [by_id[i]["noisy"] for i in range(6)] == list("100010")
    for cell in (cell for row in rows for cell in row.values()):
        assert not cell.startswith(("=", "+", "-", "@"))
    assert by_id[1]["name"] == "'=cmd|x"

    page = html_page.read(tmp_path / audit.PAGE)
    assert page.open == []
    assert "i" not in page.tags  # a file's name is text, and no tag
    text = " ".join(page.text)
    names = [text.index(Pictures.names[index]) for index in LOWEST_FIRST[:5]]
    assert names == sorted(names)
    assert "broken.jpg" not in text  # beyond the limit
    assert "in truth" in text
    assert "weight of the wrong" in text
    assert all(link.startswith("data:image/") for link in page.links)


def test_a_picture_that_cannot_be_read_is_said_to_be_so(tmp_path):
    audit.write(Pictures(), LOG_WEIGHTS[::-1], CLASSES, tmp_path)
    text = html_page.read(tmp_path / audit.PAGE).text
    assert text.count("cannot be read") == 1
    assert not any("in truth" in piece for piece in text)


def test_data_without_labels_has_no_table_of_classes(tmp_path):
    audit.write(Pictures(labels=False), LOG_WEIGHTS, (), tmp_path)
    page = html_page.read(tmp_path / audit.PAGE)
    assert not any("labelled " in piece for piece in page.text)
    assert "table" not in page.tags
    assert {row["label"] for row in table(tmp_path)} == {""}


def test_weights_of_nothing_are_the_lowest(tmp_path):
    log_weights = np.array([-1e9, np.log(0.5), -np.inf, np.log(0.5), -np.inf, -800])
    audit.write(Known(), log_weights, CLASSES, tmp_path)
    rows = table(tmp_path)
    assert [int(row["id"]) for row in rows] == [2, 4, 0, 5, 1, 3]
    assert [float(row["weight"]) for row in rows] == [0, 0, 0, 0, 3, 3]
    html_page.read(tmp_path / audit.PAGE)


def test_measures_of_weights():
    found = weight_metrics.summarize(LOG_WEIGHTS, Known.noise_mask)
    w = np.exp(LOG_WEIGHTS)
    assert found == pytest.approx(
        {
            "ess_share": 1 / np.sum(w**2) / 6,
            "largest_weight": 0.43 * 6,
            "noisy_mass": 0.03,
            "noise_auroc": 1.0,
            "noise_precision": 1.0,
        }
    )
    shifted = weight_metrics.summarize(LOG_WEIGHTS - 700, ~Known.noise_mask)
    assert shifted["noise_auroc"] == 0
    assert shifted["noisy_mass"] == pytest.approx(0.97)
    no_noise = weight_metrics.summarize(LOG_WEIGHTS, np.zeros(6, bool))
    assert set(no_noise) == {"ess_share", "largest_weight"}


def test_weights_on_one_example_are_warned_about(caplog):
    one = np.full(500, -np.inf)
    one[3] = 0
    weight_metrics.warn_if_collapsed(weight_metrics.summarize(one), 500)
    assert "effective sample size 1.0 of 500" in caplog.text
    caplog.clear()
    even = weight_metrics.summarize(np.zeros(500))
    weight_metrics.warn_if_collapsed(even, 500)
    alone = weight_metrics.summarize(np.zeros(1))
    weight_metrics.warn_if_collapsed(alone, 1)
    assert caplog.text == ""
