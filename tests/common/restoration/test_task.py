"""Restoration as a task: data, whole images of many sizes, scores, pictures."""

import csv
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from common.data import pipeline
from common.data.normalization import to_unit
from common.errors import ConfigError
from common.metrics import image as metrics
from common.restoration import task
from common.restoration.inference import Restorer
from common.restoration.results import Published
from common.task import LossOutput
from common.train import loop
from common.train.experiment import Experiment

GAIN = 0.9


class Gain(task.Restoration):
    """Its network multiplies, by one number per channel."""

    def init(self, key, batch):
        return {"params": {"gain": jnp.full(3, GAIN)}}

    def loss(self, variables, batch, key):
        restored = to_unit(batch["image"]) * variables["params"]["gain"]
        error = jnp.square(restored - to_unit(batch["target"]))
        return LossOutput(error.mean((1, 2, 3)), {}, {})

    def restorer(self, variables, bfloat16=False):
        def apply(variables, images):
            return images * variables["params"]["gain"]

        return Restorer(apply, variables, 4, bfloat16)

    def published(self):
        return [Published("somebody's", 33.3, 0.944)]


def config_of(**fields):
    config = task.default_config()
    config.data.image_size = 16
    config.batch_size = 8
    config.total_steps = 2
    config.schedule.peak = 0.1
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    return config


@pytest.fixture
def folder(tmp_path):
    """Pairs of three sizes."""
    rng = np.random.default_rng(0)
    for split in ("train", "validation"):
        for number, size in enumerate([(24, 32), (33, 17), (16, 48)]):
            target = rng.integers(20, 236, (*size, 3)).astype(np.uint8)
            noise = rng.integers(-20, 20, target.shape)
            for kind, image in (("input", target + noise), ("target", target)):
                path = tmp_path / split / kind / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image.astype(np.uint8)).save(path)
    return tmp_path


def paired(folder, **fields):
    fields = {"data.source": "paired", "data.dir": str(folder)} | fields
    return Gain(config_of(**fields))


def read(folder, number, kind):
    return np.asarray(Image.open(folder / f"validation/{kind}/{number}.png"))


def evaluate(gain):
    experiment = Experiment(gain, gain.config)
    variables = {"params": {"gain": jnp.full(3, GAIN)}}
    return experiment, variables, experiment.evaluate(variables)


def test_every_image_is_scored_whole_in_its_own_size(folder):
    _, _, outputs = evaluate(paired(folder))
    np.testing.assert_array_equal(outputs["id"], [0, 1, 2])
    for number in range(3):
        image, target = (read(folder, number, kind) for kind in ("input", "target"))
        restored = image / 255 * GAIN
        assert outputs["psnr"][number] == pytest.approx(
            metrics.psnr(restored * 255, target), abs=1e-4
        )
        saved = np.floor(restored * 255 + 1e-4)
        assert outputs["psnr_8bit"][number] == pytest.approx(
            metrics.psnr(saved, target), abs=1e-4
        )
        assert outputs["ssim"][number] == pytest.approx(
            metrics.ssim(restored * 255, target), abs=1e-5
        )
        assert outputs["psnr_input"][number] == pytest.approx(
            metrics.psnr(image, target), abs=1e-4
        )


def test_luma(folder):
    _, _, outputs = evaluate(paired(folder, **{"evaluation.channels": "y"}))
    image, target = (read(folder, 1, kind) for kind in ("input", "target"))
    ours, theirs = metrics.rgb_to_y(image * GAIN), metrics.rgb_to_y(target)
    assert outputs["psnr"][1] == pytest.approx(metrics.psnr(ours, theirs), abs=1e-4)
    ours = metrics.rgb_to_y(np.floor(image * GAIN + 1e-4), rounded=True)
    theirs = metrics.rgb_to_y(target, rounded=True)
    assert outputs["psnr_8bit"][1] == pytest.approx(
        metrics.psnr(ours, theirs), abs=1e-4
    )


def test_what_cannot_be_read_is_left_out(folder):
    (folder / "validation/input/1.png").write_bytes(b"no image")
    _, _, outputs = evaluate(paired(folder))
    np.testing.assert_array_equal(outputs["id"], [0, 2])
    assert np.isfinite(outputs["psnr"]).all()


def test_files_of_an_evaluation(folder, tmp_path):
    gain = paired(folder)
    experiment, variables, outputs = evaluate(gain)
    out = tmp_path / "out"
    [(caption, picture)] = gain.pictures(
        variables, outputs, experiment.eval_source, out
    )
    assert "3 images" in caption
    with Image.open(picture) as image:
        assert image.width > image.height
    with (out / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"].rsplit("/", 1)[-1] for row in rows] == [
        f"{number}.png" for number in range(3)
    ]
    for row, value in zip(rows, outputs["psnr"], strict=True):
        assert float(row["psnr"]) == pytest.approx(value, abs=1e-3)
    table = (out / "table.md").read_text()
    assert "somebody's" in table
    assert f"{outputs['psnr'].mean():.2f}" in table
    assert len(list((out / "examples").glob("*.png"))) == 3


def test_a_tiny_image_has_no_similarity_but_counts(folder):
    for kind in ("input", "target"):
        path = folder / "validation" / kind / "0.png"
        Image.fromarray(read(folder, 0, kind)[:5, :5]).save(path)
    gain = paired(folder)
    outputs = evaluate(gain)[2]
    assert math.isnan(outputs["ssim"][0])
    means = gain.summarize(outputs)
    assert means["ssim"] == pytest.approx(outputs["ssim"][1:].mean())
    assert means["psnr"] == pytest.approx(outputs["psnr"].mean())


def photos(**fields):
    fields = {
        "data.source": "bundled",
        "data.name": "photos",
        "degradation.name": "gaussian_noise",
        "evaluation.crop": 24,
    } | fields
    return Gain(config_of(**fields))


def test_degraded_photographs_are_the_same_in_every_evaluation():
    gain = photos(**{"evaluation.baseline": "nl_means"})
    (_, _, first), (_, _, second) = evaluate(gain), evaluate(gain)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    assert gain.summarize(first)["psnr_input"] == pytest.approx(20.17, abs=0.3)
    assert (first["psnr_nl_means"] > first["psnr_input"] + 3).all()


def test_training_batches_are_as_promised():
    for gain in (photos(), Gain(config_of(**{"data.source": "fake"}))):
        dataset = pipeline.train_dataset(
            gain.source("train", None), gain.transforms("train"), batch_size=2, seed=0
        )
        batch = next(iter(dataset))
        spec = gain.batch_spec(2)
        assert batch.keys() == spec.keys()
        for name, array in batch.items():
            assert (array.shape, array.dtype) == (spec[name].shape, spec[name].dtype)


def test_a_whole_run(tmp_path):
    gain = photos()
    metrics = loop.train(gain, gain.config, tmp_path)
    assert metrics["psnr"] > 15
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "per_image.csv").exists()
    example = next((tmp_path / "examples").glob("*.png"))
    words = gain.predict_words(example, tmp_path)
    assert words == [f"--input={example}", f"--output={tmp_path / 'restored'}"]


def test_inference_takes_bytes():
    gain = Gain(config_of())
    images = np.full((2, 16, 16, 3), 100, np.uint8)
    restored = jax.jit(gain.inference({"params": {"gain": jnp.full(3, GAIN)}}))(images)
    np.testing.assert_allclose(restored, 100 / 255 * GAIN, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"evaluation.channels": "luma"}, "evaluation.channels"),
        ({"degradation.name": "gausian_noise"}, "did you mean 'gaussian_noise'"),
        ({"data.image_size": (16, 32)}, "augment.rotate=False"),
        ({"evaluation.baseline": "nl_means"}, "needs gaussian_noise"),
        ({"evaluation.crop": 0}, "evaluation.crop"),
        (
            {"evaluation.chanels": "y"},
            "evaluation key 'chanels'; did you mean 'channels",
        ),
        ({"data.source": "images"}, "holds clean images: set config.degradation.name"),
        (
            {"data.source": "paired", "degradation.name": "jpeg"},
            "degraded ones already",
        ),
        ({"degradation.name": "haze", "evaluation.baseline": "nl_means"}, "Haze"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ConfigError, match=message):
        Gain(config_of(**fields))


def test_training_psnr():
    a = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)
    b = np.clip(a + 0.1, 0, 1)
    expected = [metrics.psnr(x, y, data_range=1.0) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(task.training_psnr(a, b), expected, rtol=1e-5)
    assert np.isfinite(task.training_psnr(a, a)).all()
