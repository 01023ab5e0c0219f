"""Studies: what runs, in which order, and what the tables say. Nothing is trained."""

import csv

import jax
import numpy as np
import pytest
from absl.testing import flagsaver

from common.checkpoint import weights
from common.errors import ConfigError
from common.train import loop
from configs.enhancement import photos, satellite_photos
from enhancement import matrix, runs, study
from enhancement.satellite_task import SatelliteSR
from enhancement.tasks import Restoration

GAIN = {"": 0.0, "pdl": -0.8, "vgg_l1": -0.3}


@pytest.fixture
def trained(monkeypatch):
    """Replaces training by weights and metrics that follow from the config."""
    calls = []

    def train(task, config, folder, *, data_dir, init_from):
        calls.append((folder.name, init_from, config.copy_and_resolve_references()))
        folder.mkdir(parents=True)
        shapes = jax.eval_shape(task.init, jax.random.key(0), task.batch_spec(1))
        zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
        weights.save(folder / "weights.safetensors", zeros)
        loss = config.loss
        psnr = 30 + 0.1 * config.seed + GAIN[loss.feature] * loss.ratio
        return {
            "psnr": psnr,
            "ssim": 0.9,
            "sharpness_error": 0.3 / (1 + loss.ratio),
            "random_alex": 0.1,
        }

    monkeypatch.setattr(loop, "train", train)
    return calls


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def run_study(home, **given):
    config = photos.get_config("smoke")
    config.evaluation.lpips = "random"
    given = {"repeats": 2, "losses": ["pdl"], "ratios": ["1", "3"]} | given
    with flagsaver.flagsaver(**given):
        return study.run(Restoration(config), config, str(home), None)


def test_losses_begin_with_one_first_phase_and_have_a_control(
    trained, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(runs, "draw", lambda shown, *_: drawn.append(list(shown)))
    text = run_study(tmp_path)
    names = [name for name, _, _ in trained]
    single = ["first", "pixel-1", "pdl-1", "pdl-3"]
    assert names == [f"{name}-{seed}" for seed in (0, 1) for name in single]
    by_name = {name: (start, config) for name, start, config in trained}
    assert by_name["first-1"][0] is None
    start = str(tmp_path / "runs/first-1/weights.safetensors")
    assert all(by_name[f"{name}-1"][0] == start for name in single[1:])
    control, ours = by_name["pixel-1-1"][1], by_name["pdl-3-1"][1]
    for field in ("total_steps", "schedule", "seed", "batch_size", "augment"):
        assert control[field] == ours[field]
    assert (control.loss.feature, ours.loss.feature) == ("", "pdl")
    assert ours.loss.ratio == 3
    found = {row["loss"]: row for row in rows(tmp_path / "study.csv")}
    assert found["pixel"]["psnr"] == "30.05 ± 0.07"
    assert found["pdl 3"]["psnr less control"] == "-2.40 ± 0.00"
    assert "random_alex" in text
    assert len(rows(tmp_path / "study_runs.csv")) == 6
    assert (tmp_path / "perception_distortion.png").is_file()
    assert drawn == [["pixel", "pdl 1"]]
    run_study(tmp_path)
    assert len(trained) == 8  # nothing was run again


def test_a_picture_of_what_runs_make(trained, tmp_path):
    run_study(tmp_path, repeats=1, ratios=["1"])
    from PIL import Image

    with Image.open(tmp_path / "restored.png") as image:
        assert image.width > image.height


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"losses": ["pld"]}, "did you mean 'pdl'"),
        ({"losses": []}, "at least one"),
        ({"losses": ["pdl", "pdl"]}, "each once"),
        ({"ratios": ["0"]}, "above 0"),
        ({"ratios": ["x"]}, "not numbers"),
        ({"repeats": 0}, "repeats=0"),
    ],
)
def test_flags_that_cannot_be(trained, tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        run_study(tmp_path, **given)
    assert not trained


def test_a_matrix_tests_every_run_on_every_kind(trained, tmp_path, monkeypatch):
    tested = []

    def evaluate(kind, config, init_from, data_dir):
        tested.append((init_from, config.evaluation.preset))
        same = config.degradation.name == config.evaluation.preset
        psnr = (30 if same else 27) + 0.5 * config.seed
        return {"psnr": psnr, "ssim": 0.9, "psnr_input": 26.0}

    monkeypatch.setattr(runs, "evaluate", evaluate)
    monkeypatch.setattr(runs, "draw", lambda *_: None)
    config = satellite_photos.get_config("smoke")
    with flagsaver.flagsaver(repeats=2):
        matrix.run(SatelliteSR(config), config, str(tmp_path), None)
    names = [f"satsr-{x}-{s}" for s in (0, 1) for x in ("ideal_bicubic", "full")]
    assert [name for name, _, _ in trained] == names
    assert [config.degradation.name for _, _, config in trained[:2]] == [
        "ideal_bicubic",
        "full",
    ]
    assert len(tested) == 8
    found = {row["trained on"]: row for row in rows(tmp_path / "matrix.csv")}
    assert found[""]["on full"] == "26.00"
    assert found["full"]["on full"] == "30.25 ± 0.35"
    assert found["full less ideal_bicubic"]["on full"] == "+3.00 ± 0.00"
    assert found["full less ideal_bicubic"]["on ideal_bicubic"] == "-3.00 ± 0.00"
    assert len(rows(tmp_path / "matrix_runs.csv")) == 8


def test_a_matrix_is_of_satellite_images(tmp_path):
    config = photos.get_config("smoke")
    with pytest.raises(ConfigError, match="satellite"):
        matrix.run(Restoration(config), config, str(tmp_path), None)
