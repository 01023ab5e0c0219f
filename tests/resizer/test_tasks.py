"""The tasks: phases, weights, pictures, and NIMA with the resizer by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.checkpoint import matching, weights
from common.data.sources.fake import FakeSource
from common.errors import ConfigError, DataError
from common.models import registry
from common.train import optim
from iqa.nima import Nima
from resizer import phases, pictures
from resizer import weights as readers
from resizer.tasks import Classification
from tests.resizer.small import config_of, described, filled, run_of


def names(variables):
    return {name for name, _ in matching.leaves(variables)}


def test_loss_and_logits_of_images_that_are_resized():
    task = Classification(config_of())
    variables = described(task)
    assert set(variables["params"]) == {"resizer", "backbone"}
    spec = task.batch_spec(4)
    assert spec["image"].shape == (4, 16, 16, 3)
    out = jax.eval_shape(task.loss, variables, spec, jax.random.key(0))
    assert out.loss.shape == (4,)
    assert names(out.model_state) == {n for n in names(variables) if "batch_st" in n}


def test_the_control_has_no_parameters():
    task = Classification(config_of("bilinear", 0))
    assert set(described(task)) == {"params"}
    assert set(described(task)["params"]) == {"backbone"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model__backbone": "resnet5"}, "unknown backbone"),
        ({"model__output_size": 0}, "positive integer"),
        ({"model__widht": 3}, "config.model key 'widht'"),
        ({"model__resizer__feature": 3}, "did you mean 'features'"),
        ({"model__options": {"hiden": 3}}, "unknown field of CnnIqa 'hiden'"),
        ({"phases__tune_rate": -1.0}, "config.phases.tune_rate=-1.0 must be"),
        ({"phases__tune": 1.0}, "config.phases key 'tune'"),
    ],
    ids=str,
)
def test_configs_that_cannot_be(fields, message):
    with pytest.raises(ConfigError, match=message):
        Classification(config_of(**fields))


def test_phases_set_lengths_rates_and_what_is_new():
    config = config_of("bilinear", 0)
    config.optimizer.lr_multipliers = (("^backbone/", 0.5),)
    for resizer, phase in (("learned", 1), ("learned", 1), ("bilinear", 1)):
        phases.choose(config, resizer)
        phases.apply(config, phase)
        learned = resizer == "learned"
        assert config.schedule.peak == 0.005
        assert config.total_epochs == config.phases.tune_epochs
        assert config.reinitialize == (("/resizer/",) if learned else ())
        assert len(config.optimizer.lr_multipliers) == 1 + learned
    config.phases.resizer_factor = 10.0
    phases.choose(config, "zero_init")
    phases.apply(config, 1)
    params = described(Classification(config))["params"]
    factors = optim.multipliers(params, config.optimizer.lr_multipliers)
    assert set(jax.tree.leaves(factors["resizer"])) == {10.0}
    assert set(jax.tree.leaves(factors["backbone"])) == {0.5}
    phases.apply(config, 0)
    assert config.schedule.peak == 0.05
    with pytest.raises(ConfigError, match="phase=2"):
        phases.apply(config, 2)
    with pytest.raises(ConfigError, match="did you mean 'antialias'"):
        phases.choose(config, "antialiased")
    with pytest.raises(ConfigError, match="has no resizer"):
        phases.section(config_of(model={"backbone": "cnniqa"}))


def test_weights_of_a_network_alone_and_of_both(tmp_path):
    """Phase 0 has no resizer: phase 1 begins with its network and a new resizer."""
    _, before = run_of(tmp_path / "before", config_of("bilinear", 0))
    task = Classification(config_of())
    target = described(task)
    arrays = task.read_weights(str(tmp_path / "before"), target)
    loaded, report = matching.match(
        target, arrays, reinitialize=task.config.reinitialize
    )
    report.raise_if_any()
    assert all("/resizer/" in name for name in report.replaced)
    np.testing.assert_array_equal(
        loaded["params"]["backbone"]["logits"]["kernel"],
        before["params"]["backbone"]["logits"]["kernel"],
    )
    with pytest.raises(ConfigError, match="published weights of cnniqa are not read"):
        task.read_weights(str(tmp_path / "nothing"), target)


def test_published_weights_go_to_the_backbone(tmp_path):
    config = config_of(
        model__backbone="maxvit_testing",
        model__options={"depths": (1,), "channels": (8,)},
    )
    task = Classification(config)
    target = described(task)
    alone = {group: tree["backbone"] for group, tree in target.items()}
    weights.save(tmp_path / "weights.npz", filled(alone))
    arrays = task.read_weights(str(tmp_path / "weights.npz"), target)
    assert set(arrays) == {name for name in names(target) if "/backbone/" in name}


def nima_config():
    from iqa.config import default_config

    config = default_config()
    config.data.source = "fake"
    config.data.image_size = 16
    config.augment.resize = 0
    config.model.backbone = "resized"
    with config.model.options.unlocked():
        config.model.options.update(
            backbone="cnniqa",
            output_size=8,
            options={"hidden": 4, "kernels": 2},
            resizer={"kind": "learned", "features": 4},
        )
    return config


def test_scores_with_the_resizer_by_name():
    config = nima_config()
    assert phases.is_learned(config)
    task = Nima(config)
    variables = described(task)
    assert set(variables["params"]) == {"backbone", "head"}
    assert set(variables["params"]["backbone"]) == {"resizer", "backbone"}
    out = jax.eval_shape(task.loss, variables, task.batch_spec(3), jax.random.key(0))
    assert out.loss.shape == (3,)
    phases.choose(config, "bilinear")
    assert set(described(Nima(config))["params"]["backbone"]) == {"backbone"}


def test_scores_begin_with_a_classifier_behind_the_same_resizer(tmp_path):
    _, before = run_of(tmp_path / "run")
    target = {
        group: tree["backbone"]
        for group, tree in described(Nima(nima_config())).items()
        if "backbone" in tree
    }
    arrays = registry.read_weights("resized", str(tmp_path / "run"), target)
    assert set(arrays) == names(target)
    assert set(arrays) < names(before)  # but for the classifier
    with pytest.raises(ConfigError, match="named with it, such as resnet50:"):
        readers.read(str(tmp_path / "none"), target)
    with pytest.raises(ConfigError, match="published weights of cnniqa are not read"):
        readers.read("cnniqa:file.npz", target)
    # Two layers more are another network's.
    other = {**arrays, "params/backbone/a/kernel": 0, "params/backbone/b/kernel": 0}
    assert readers._without_classifier(other, dict.fromkeys(arrays)) == other


def test_pictures_of_what_the_resizer_does(tmp_path):
    task, variables = run_of(tmp_path)
    source = FakeSource("eval", image_size=16, num_classes=3)
    caption, path = pictures.draw(task, variables, source, tmp_path / "resized.png")
    assert path.is_file()
    assert "bilinear" in caption

    class Broken:
        class_names = ()

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {"image": b"no image", "id": index, "name": "broken"}

    with pytest.raises(DataError, match="no example to draw"):
        pictures.draw(task, variables, Broken(), tmp_path / "none.png")


def test_what_an_exported_model_computes():
    task = Classification(config_of())
    run = task.inference(filled(described(task)))
    assert jax.eval_shape(run, task.inference_spec()).shape == (1, 3)
    assert task.inference_spec().dtype == jnp.uint8
