"""A grid over schedules: what it runs, goes on with, and says."""

import csv

import jax
import numpy as np
import pytest
from absl.testing import flagsaver

from common import modes
from common.errors import ConfigError
from deblur_diffusion import config as configs
from deblur_diffusion import grid, predict
from deblur_diffusion.tasks import Deblurring


@pytest.fixture
def task():
    config = configs.default_config()
    config.data.source = "bundled"
    config.data.name = "photos"
    config.degradation.name = "gaussian_noise"
    config.schedule.warmup_steps = None
    configs.shrink(config)
    return Deblurring(config)


@pytest.fixture
def made(task, monkeypatch):
    """Replaces the samples by an image whose error follows from the schedule."""
    calls = []

    def deblur(model, params, image, preset):
        calls.append(preset)
        error = 0.01 if preset is None else 0.1 / preset.steps
        samples = None if preset is None else np.stack([image, image + 0.1])
        return predict.Result(image + np.float32(error), samples)

    monkeypatch.setattr(predict, "deblur", deblur)
    monkeypatch.setattr(modes, "find_variables", lambda *_: (shapes_of(task), "here"))
    return calls


def shapes_of(task):
    return jax.eval_shape(task.init, jax.random.key(0), task.batch_spec(1))


def run(task, home, **given):
    given = {"grid_steps": ["10", "50"], "grid_beta_max": ["0.1", "0.5"]} | given
    with flagsaver.flagsaver(**given):
        return grid.run(task, task.config, str(home), None)


def test_every_cell_of_every_image_once(task, made, tmp_path, monkeypatch):
    text = run(task, tmp_path)
    assert len(made) == 3 * 5  # three photographs, the predictor and four cells
    with open(tmp_path / "grid.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [(row["steps"], row["beta_max"]) for row in rows]
    assert names[0] == ("predictor", "")
    assert names[1:] == [("10", "0.1"), ("10", "0.5"), ("50", "0.1"), ("50", "0.5")]
    assert float(rows[3]["psnr"]) > float(rows[1]["psnr"])
    # Two samples that differ by 0.1: a deviation of 25.5 levels over the root of 2.
    assert float(rows[1]["samples_differ"]) == pytest.approx(25.5 / 2**0.5, rel=1e-3)
    assert rows[0]["samples_differ"] == ""
    assert "sharpness_error" in text
    assert (tmp_path / "perception_distortion.png").is_file()
    # It goes on where it was stopped, with the cells that are new.
    run(task, tmp_path, grid_steps=["10", "50", "100"])
    assert len(made) == 3 * 5 + 3 * 2
    assert made[-1].steps == 100
    # Other weights, other samples.
    monkeypatch.setattr(modes, "find_variables", lambda *_: (shapes_of(task), "there"))
    run(task, tmp_path)
    assert len(made) == 3 * 5 + 3 * 2 + 3 * 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"grid_steps": []}, "a value each"),
        ({"grid_steps": ["0"]}, "from 1 on"),
        ({"grid_beta_max": ["1.5"]}, "in"),
        ({"grid_steps": ["x"]}, "numbers"),
    ],
)
def test_flags_that_cannot_be(task, made, tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        run(task, tmp_path, **given)
    assert not made
