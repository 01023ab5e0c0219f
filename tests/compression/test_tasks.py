import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from common import config as configs
from common.checkpoint import weights
from common.errors import ConfigError
from common.task import Monitor
from compression import evaluation, jpeg, tables
from compression.config import default_config, use_classifier
from compression.evaluation import Coding
from compression.tasks import Tables
from maxvit import config as maxvit_config
from tests.compression.photographs import crop

IMAGE = crop("coffee", 48, 48)


def make(accuracy=False, **changes):
    config = default_config()
    if accuracy:
        judge = maxvit_config.default_config()
        judge.data.image_size = 48
        judge.data.num_classes = 3
        judge.model.variant = "testing"
        judge.model.depths, judge.model.channels = (1,), (8,)
        judge.model.window_size = 6
        use_classifier(config, "maxvit", judge)
    config.data.image_size = 48
    config.model.rate_weights = (10.0, 90.0)
    config.evaluation.qualities = (20, 50, 80)
    config.evaluation.flat_steps = (10, 30)
    config.update_from_flattened_dict(changes)
    return Tables(config.lock())


def batch(size=4):
    images = np.stack([IMAGE] * size)
    number = np.arange(size, dtype=np.int32)
    return {"image": images, "id": number, "label": number % 3}


@pytest.fixture(scope="module")
def accurate():
    """A task with a classifier of random weights, and its variables."""
    task = make(accuracy=True)
    return task, jax.jit(task.init)(jax.random.key(0), batch())


def gradient_of_loss(task, variables):
    given = {k: v for k, v in batch().items() if k in task.batch_spec(4)}

    def loss(params):
        out = task.loss({**variables, "params": params}, given, jax.random.key(1))
        return jnp.sum(out.loss), out

    return jax.jit(jax.grad(loss, has_aux=True))(variables["params"])


@pytest.fixture(scope="module")
def plain():
    """A task without a classifier, its variables, and one step."""
    task = make()
    variables = task.init(jax.random.key(0), batch())
    return task, variables, gradient_of_loss(task, variables)


def test_every_image_has_the_tables_of_one_rate_weight(plain):
    _, _, (gradient, out) = plain
    assert out.loss.shape == (4,)
    assert np.isfinite(gradient["log_tables"]).all()
    # Both luma tables are in use, two images each: equal images, equal losses.
    assert (np.count_nonzero(gradient["log_tables"][:, 0], axis=(1, 2)) > 40).all()
    first, second, third, fourth = np.asarray(out.loss)
    assert first == pytest.approx(third, rel=1e-5)
    assert second == pytest.approx(fourth, rel=1e-5)
    assert abs(first - second) > 1
    assert 25 < np.mean(out.metrics["psnr"]) < 45


def test_training_estimates_what_files_show(plain):
    task, variables, (_, out) = plain
    points = evaluation.curve(IMAGE, task.tables(variables), Coding())
    estimated = sorted(out.metrics["psnr"].tolist())[::2]
    assert estimated == pytest.approx([p.psnr for p in points][::-1], abs=0.3)


def test_scores_are_those_of_files(plain):
    task, variables, _ = plain
    scores = task.evaluator(variables)({"image": IMAGE, "id": 0})
    learned = task.tables(variables)
    np.testing.assert_array_equal(
        learned[0], np.rint(task.objective.start(10)).astype(int)
    )
    wanted = evaluation.curve(IMAGE, learned, Coding())
    assert scores["learned/0/bpp"] == wanted[0].bpp
    assert scores["learned/1/psnr"] == wanted[1].psnr
    annex_k = evaluation.curve(IMAGE, [jpeg.quality_tables(50)], Coding())[0]
    assert scores["Annex K/1/bytes"] == annex_k.bytes
    outputs = {name: np.array([value, value]) for name, value in scores.items()}
    summary = task.summarize(outputs)
    assert list(summary)[:2] == ["bd_rate", "bd_psnr"]
    assert summary["bpp_10"] == wanted[0].bpp
    assert summary["psnr_90"] == wanted[1].psnr
    # Of theory's flat tables at high rates even the first guess saves.
    assert summary["bd_rate"] < 0
    assert task.monitor == Monitor("bd_rate", "min")


def test_an_evaluation_leaves_tables_and_curves(plain, tmp_path):
    task, variables, _ = plain
    scores = task.evaluator(variables)({"image": IMAGE, "id": 0})
    outputs = {name: np.array([value]) for name, value in scores.items()}
    drawn = task.pictures(variables, outputs, [None], tmp_path)
    assert [path.name for _, path in drawn] == ["rate_distortion.png"]
    found = tables.read(tmp_path / "tables" / "rate_weight_90.json")
    np.testing.assert_array_equal(found, task.tables(variables)[1])
    assert tables.read(tmp_path / "tables" / "rate_weight_10.txt").shape == (2, 8, 8)


def test_accuracy_trains_tables_and_not_the_classifier(accurate):
    task, variables = accurate
    gradient, out = gradient_of_loss(task, variables)
    assert np.isfinite(gradient["log_tables"]).all()
    assert np.count_nonzero(gradient["log_tables"]) > 100
    same = jax.tree.map(
        np.array_equal, dict(out.model_state), {"classifier": variables["classifier"]}
    )
    assert all(jax.tree.leaves(same))
    assert out.metrics["top1"].shape == (4,)


def test_accuracy_is_of_decoded_files(accurate, tmp_path):
    task, variables = accurate
    apart = (
        variables["params"]["log_tables"] + jnp.array([-0.5, 0.5])[:, None, None, None]
    )
    variables = {**variables, "params": {"log_tables": apart}}
    evaluate = task.evaluator(variables)
    scores = [evaluate({"image": IMAGE, "id": i, "label": i}) for i in range(3)]
    # Equal images have one prediction: it is right once.
    for name in ("learned/0/top1", "Annex K/2/top1", "flat/1/top1", "top1_original"):
        assert sorted(one[name] for one in scores) == [0, 0, 1]
    outputs = {name: np.array([one[name] for one in scores]) for name in scores[0]}
    summary = task.summarize(outputs)
    assert summary["top1_original"] == pytest.approx(1 / 3)
    assert summary["bd_top1"] == pytest.approx(0, abs=1e-9)
    drawn = task.pictures(variables, outputs, [None] * 3, tmp_path)
    assert [path.stem for _, path in drawn] == ["rate_accuracy", "rate_distortion"]
    assert task.monitor == Monitor("bd_top1", "max")


def test_the_classifier_comes_from_its_own_run(accurate, tmp_path):
    task, variables = accurate
    weights.save(tmp_path / "weights.safetensors", variables["classifier"])
    abstract = jax.eval_shape(task.init, jax.random.key(0), batch())
    arrays = task.read_weights(str(tmp_path / "weights.safetensors"), abstract)
    for name, value in (("params/log_tables", variables["params"]["log_tables"]),):
        np.testing.assert_allclose(arrays[name], value, rtol=1e-6)
    inner = {n for n in arrays if n.startswith("classifier/")}
    assert len(inner) == len(jax.tree.leaves(variables["classifier"]))


def test_a_classifier_without_weights_is_refused():
    task = make(accuracy=True, **{"data.source": "bundled", "data.name": "digits"})
    task.config.data.num_classes = 10
    with pytest.raises(ConfigError, match="--init_from is needed"):
        task.source("train", None)
    task.config.classifier.weights = "runs/digits"
    assert len(task.source("train", None)) > 1000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.rate_weights": (10.0, -1.0)}, "must be positive"),
        ({"model.rate_weights": ()}, "must be positive"),
        ({"model.subsampling": "4:1:1"}, "unknown subsampling '4:1:1'"),
        ({"loss.rounding": "hard"}, "unknown rounding 'hard'"),
        ({"loss.rate_model": "entropy"}, "unknown config.loss.rate_model"),
        ({"loss.accuracy": 1.0}, "config.classifier.name is not"),
        ({"evaluation.qualities": (0, 50)}, "quality=0"),
        ({"evaluation.flat_steps": (0, 50)}, "flat_steps"),
    ],
)
def test_fields_that_cannot_be_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        make(**changes)


def test_an_unknown_classifier_is_named():
    config = default_config()
    use_classifier(config, "maxwit", maxvit_config.default_config())
    with pytest.raises(ConfigError, match="did you mean 'maxvit'"):
        Tables(config)


def test_a_saved_config_is_the_same_task(tmp_path):
    """JSON keeps the classifier's config within."""
    task = make(accuracy=True)
    configs.save(task.config, tmp_path, {})
    loaded = configs.load(tmp_path)
    assert isinstance(loaded, ml_collections.ConfigDict)
    configs.validate(loaded, ["tables"])
    again = Tables(loaded)
    assert again.classifier.model == task.classifier.model
    assert pathlib.Path(tmp_path / "config.json").is_file()
