import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common.errors import ConfigError, DataError
from compression import evaluation, jpeg, optimize, rd_opt
from compression.evaluation import Coding
from compression.objective import Objective
from compression.optimize import Ladder, optimize_ladder, optimize_tables
from tests.compression.photographs import crop


def tiles(image):
    """Cuts 128 x 128 pixels into four: one shape for all tests is compiled once."""
    return image.reshape(2, 64, 2, 64, 3).swapaxes(1, 2).reshape(4, 64, 64, 3)


IMAGE = crop("astronaut", 128, 128, 64, 160)


@pytest.mark.parametrize("rate_weight", [20, 60])
def test_steps_are_those_of_theory_at_high_rates(rate_weight):
    """D = T^2 / 12 and dR/dT = -1 / (T ln 2) per coefficient: the best T is known."""
    # Of grey noise every luma coefficient is larger than a step.
    rng = np.random.default_rng(0)
    grey = np.clip(rng.normal(128, 50, (128, 128, 1)), 0, 255)
    images = tiles(np.repeat(grey, 3, axis=-1).astype(np.uint8))
    # From elsewhere: it begins at theory's steps by itself.
    start = jpeg.quality_tables(75)
    tables, _ = optimize_tables(images, rate_weight, start=start, steps=200)
    theory = math.sqrt(6 * rate_weight / math.log(2))
    assert np.mean(tables[0]) == pytest.approx(theory, rel=0.05)
    # 256 blocks leave each entry some chance.
    assert np.mean(np.abs(tables[0] / theory - 1) < 0.1) > 0.85


def test_tables_save_bytes_in_real_files():
    coding = Coding("4:4:4", optimize_huffman=True)

    def saved(tables):
        point = evaluation.curve(IMAGE, [tables], coding, with_ms_ssim=False)[0]
        # The header of so small a file would hide what is saved.
        return evaluation.saving(IMAGE, point.bytes, point.psnr, coding)

    ours, _ = optimize_tables(tiles(IMAGE), 20)
    gradient, exhaustive = saved(ours), saved(rd_opt.rd_opt([IMAGE], 20))
    assert gradient >= 0.15
    assert gradient >= exhaustive - 0.02


def test_result_is_what_a_file_can_hold():
    tables, history = optimize_tables(tiles(IMAGE), 1e6, steps=30, learning_rate=0.5)
    assert tables.dtype == np.int32
    assert tables.shape == (2, 8, 8)
    assert tables.min() >= 1
    assert tables.max() == 255  # it wants no bits at all
    assert history["log_tables"].shape == (30, 2, 8, 8)
    assert all(len(values) == 30 for values in history.values())
    fine, _ = optimize_tables(tiles(IMAGE), 1e-6, steps=30, learning_rate=0.5)
    assert fine.min() == 1


def test_theory_is_where_it_begins():
    assert Objective().start(20) == pytest.approx(13.158, abs=1e-3)
    assert Objective(distortion=4).start(80) == pytest.approx(13.158, abs=1e-3)
    assert (Objective().start(1e9) == 255).all()
    accuracy = Objective(distortion=0, accuracy=1)
    np.testing.assert_array_equal(accuracy.start(20), jpeg.quality_tables(50))


def test_a_larger_rate_weight_makes_smaller_files():
    ladder = optimize_ladder(tiles(IMAGE), [80, 10], steps=60)
    assert ladder.rate_weights == (10, 80)
    points = evaluation.curve(IMAGE, [ladder.at(w) for w in (10, 30, 80)], Coding())
    assert points[0].bytes > points[1].bytes > points[2].bytes
    assert points[0].psnr > points[1].psnr > points[2].psnr


def test_steps_beyond_the_last_change_nothing():
    """Steps run in groups, and the history has only those that were asked for."""
    calls = []
    start = jpeg.quality_tables(90)
    tables, history = optimize_tables(
        tiles(IMAGE), 20, steps=25, start=start, report=calls.append
    )
    assert calls == [20, 25]
    assert len(history["loss"]) == 25
    # Adam's first step is as long as the learning rate.
    first = history["log_tables"][0] - np.log(start)
    np.testing.assert_allclose(np.abs(first), optimize.LEARNING_RATE, rtol=1e-3)
    np.testing.assert_array_equal(
        tables, optimize.to_integers(history["log_tables"][-1])
    )


def test_images_of_different_sizes_are_learned_from_together():
    stack, _ = optimize._stack([crop(), crop("coffee", 150, 140)], None)
    assert stack.shape[1:] == (128, 128, 3)


def test_batches_are_drawn_when_there_are_more_images():
    _, history = optimize_tables(tiles(IMAGE), 20, steps=20, batch_size=1)
    # One image after the other: their errors differ more than those of a step.
    assert np.abs(np.diff(history["mse"][:10])).max() > 1


class Grey:
    """A classifier of two classes that looks at one high frequency alone."""

    def logits(self, images):
        stripes = images.mean((1, 3)) @ jnp.asarray([1.0, -1.0] * 8)
        return jnp.stack([stripes, jnp.zeros_like(stripes)], axis=-1)

    def judge(self, images, labels):
        logits = self.logits(images)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return loss, jnp.argmax(logits, -1) == labels


def test_accuracy_keeps_what_a_classifier_looks_at():
    from jax import tree_util

    tree_util.register_pytree_node(Grey, lambda x: ((), None), lambda *_: Grey())
    rng = np.random.default_rng(1)
    labels = np.arange(16) % 2
    stripes = np.where(labels, -1, 1)[:, None] * np.array([5, -5] * 8)
    images = rng.normal(128, 20, (16, 16, 16, 1)) + stripes[:, None, :, None]
    images = np.repeat(np.clip(images, 0, 255), 3, axis=-1).astype(np.uint8)
    tables, history = optimize_tables(
        images,
        0.5,
        objective=Objective(distortion=0, accuracy=1),
        classifier=Grey(),
        labels=labels,
        steps=60,
        learning_rate=0.1,
    )
    # The highest horizontal frequency without vertical ones is what stripes are.
    assert tables[0, 0, 7] < 0.5 * np.median(tables[0])
    assert history["correct"][-1] == 1
    assert history["bpp"][-1] < 0.5 * history["bpp"][0]


def test_interpolation_between_rate_weights_is_geometric():
    steps = np.array([8.0, 32.0])[:, None, None, None] * np.ones((1, 2, 8, 8))
    ladder = Ladder((10.0, 40.0), np.log(steps))
    assert (ladder.at(20) == 16).all()
    assert (ladder.at(10) == 8).all()
    assert (ladder.at(1000) == 32).all()


BLACK = np.zeros((1, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ConfigError, "rate_weight=0", {"rate_weight": 0}),
        (ConfigError, "rate_weight=nan", {"rate_weight": math.nan}),
        (ConfigError, "steps=0", {"steps": 0}),
        (ConfigError, "learning_rate=-1", {"learning_rate": -1}),
        (ConfigError, "unknown rate model", {"rate_model": "laplase"}),
        (ConfigError, "labels need a classifier", {"labels": np.zeros(1, int)}),
        (
            ConfigError,
            "an objective with accuracy needs a classifier",
            {"objective": Objective(accuracy=1)},
        ),
        (DataError, "no images", {"images": []}),
        (DataError, r"expected \[B, H, W, 3\]", {"images": BLACK[0]}),
        (DataError, "values outside", {"images": BLACK - 1.0}),
    ],
)
def test_wrong_arguments_are_named(error, message, arguments):
    with pytest.raises(error, match=message):
        optimize_tables(**{"images": BLACK, "rate_weight": 20} | arguments)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("unknown subsampling '4:1:1'", {"subsampling": "4:1:1"}),
        ("unknown rounding 'hard'", {"rounding": "hard"}),
        ("weight accuracy=-1", {"accuracy": -1}),
        ("one of the weights", {"distortion": 0}),
    ],
)
def test_objectives_that_cannot_be_are_refused(message, arguments):
    with pytest.raises(ConfigError, match=message):
        Objective(**arguments)
