"""The task with noisy training data, its methods, and what a study makes of runs."""

import json

import numpy as np
import pytest
from PIL import Image

from common import audit as pages
from common import config as configs
from common.config import flat
from common.errors import ConfigError
from configs.robust import digits, folder
from robust import audit, flags, methods, study
from robust.classification import Classification


def make(**fields):
    config = digits.get_config("smoke")
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in fields.items()}
    )
    configs.validate(config, ["classification"])
    return Classification(config)


def test_evaluation_data_stays_clean():
    task = make()
    training, held_out = task.source("train", None), task.source("eval", None)
    assert training.noise_mask.mean() == pytest.approx(0.4, abs=0.04)
    assert not hasattr(held_out, "noise_mask")
    assert task.num_classes == 10


def test_what_is_learned_by_heart():
    """A model that says what it was told, one that knows better, and one in between."""
    task = make()
    training = task.source("train", None)
    given = np.array([training[i]["label"] for i in range(len(training))])
    truth, mask = training.true_labels, training.noise_mask

    def conclude(prediction):
        outputs = {"id": np.arange(len(given)), "label": given}
        return task.conclude(lambda _: outputs | {"prediction": prediction}, training)

    told = {"train_top1_true": 1 - mask.mean(), "memorized": 1.0}
    assert conclude(given) == pytest.approx(told)
    assert conclude(truth) == pytest.approx({"train_top1_true": 1.0, "memorized": 0.0})
    half = np.where(mask & (np.arange(len(mask)) % 2 == 0), given, truth)
    assert conclude(half)["memorized"] == pytest.approx(0.5, abs=0.06)
    plain = make(noise__kind="none", noise__rate=0.0)
    assert plain.conclude(None, plain.source("train", None)) == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noise__kind": "symetric"}, "did you mean 'symmetric'"),
        ({"model__name": "resnet19"}, "did you mean 'resnet18'"),
        ({"model__hidden": 0}, "positive widths and hidden"),
        ({"noise__rate": 2.0}, "config.noise.rate"),
    ],
)
def test_fields_that_cannot_be(fields, message):
    with pytest.raises(ConfigError, match=message):
        make(**fields)


@pytest.mark.parametrize("name", methods.METHODS)
def test_methods_change_what_they_say(name):
    """Each makes a config of its own that a task takes."""
    made = {}
    for other in methods.METHODS:
        config = digits.get_config("smoke")
        methods.apply(other, config)
        made[other] = {key: str(value) for key, value in flat(config).items()}
    assert [other for other in made if made[other] == made[name]] == [name]
    config = digits.get_config("smoke")
    methods.apply(name, config)
    configs.validate(config, ["classification"])
    Classification(config)


def test_method_that_is_none():
    with pytest.raises(ConfigError, match="did you mean 'eg_cap'"):
        methods.apply("eg_caps", digits.get_config("smoke"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((("egg",), (0.4,), 1), "unknown --methods 'egg'; did you mean 'eg'"),
        ((("eg", "eg"), (0.4,), 1), "each once"),
        ((("eg",), (1.0,), 1), r"in \[0, 1\)"),
        ((("eg",), (0.4,), 0), "at least 1"),
        ((("eg",), (), 1), "at least one"),
    ],
)
def test_flags_that_cannot_be(given, message):
    with pytest.raises(ConfigError, match=message):
        flags.StudyOptions(*given)


def result(method, rate, seed, last, **more):
    curve = [0.5, 0.9, last]
    records = [{"kind": "eval", "top1": value} for value in curve]
    return {"method": method, "rate": rate, "seed": seed, "seconds": 1.0,
            **study.accuracies(records), **more}  # fmt: skip


def test_tables_of_a_study(tmp_path):
    results = [
        result("uniform", 0.4, 0, 0.7, memorized=0.8),
        result("uniform", 0.4, 1, 0.8, memorized=0.9),
        result("eg", 0.4, 0, 0.95, noise_auroc=0.99, ess_share=0.5),
    ]
    text = study.write(results, tmp_path)
    rows = (tmp_path / "study.csv").read_text().splitlines()
    assert rows[1] == "40 %,uniform,2,75.0 ± 7.1,71.7 ± 2.4,90.0 ± 0.0,85.0 ± 7.1,,"
    assert rows[2] == "40 %,eg,1,95.0,78.3,95.0,,0.990,50.0"
    assert "uniform" in text
    assert (tmp_path / "curves.png").is_file()
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 4


def test_a_study_goes_on_where_it_stopped(tmp_path, monkeypatch):
    task = make()
    ran = []

    def train(task, config, workdir, data_dir, init_from):
        ran.append((workdir.name, config.seed, config.noise.seed, config.noise.rate))
        workdir.mkdir(parents=True)
        line = {"step": 1, "kind": "eval", "time": 0.0, "top1": 0.5}
        (workdir / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        return {"top1": 0.5, "memorized": 0.25}

    monkeypatch.setattr(study.once.loop, "train", train)
    options = flags.StudyOptions(("uniform", "eg"), (0.4,), 2)
    monkeypatch.setattr(study.flags, "study_options", lambda: options)
    study.run(task, task.config, str(tmp_path), None)
    names = ["uniform-0.4-0", "uniform-0.4-1", "eg-0.4-0", "eg-0.4-1"]
    assert [name for name, *_ in ran] == names
    assert ran[1][1:] == (1, 1, 0.4)
    (tmp_path / "runs/eg-0.4-1/result.json").unlink()
    (tmp_path / "runs/eg-0.4-1/metrics.jsonl").unlink()
    (tmp_path / "runs/eg-0.4-1").rmdir()
    text = study.run(task, task.config, str(tmp_path), None)
    assert [name for name, *_ in ran[4:]] == ["eg-0.4-1"]
    assert "50.0 ± 0.0" in text
    assert task.config.reweighting.mode == "deferred"  # its own config is untouched


def test_audit_of_a_folder(tmp_path):
    """Red and blue squares, one of which lies in the wrong folder."""
    rng = np.random.default_rng(0)
    for name, color in (("blue", (0, 0, 200)), ("red", (200, 0, 0))):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            noise = rng.integers(0, 50, (8, 8, 3))
            image = Image.fromarray((np.array(color) + noise).astype(np.uint8))
            image.save(tmp_path / "data" / name / f"{number}.png")
    lost = tmp_path / "data/blue/7.png"
    (tmp_path / "data/red/5.png").replace(lost)
    config = folder.get_config("smoke")
    config.total_steps, config.batch_size, config.model.hidden = 30, 8, 32
    config.augment.crop = "none"
    config.reweighting.eta = 0.5
    config.schedule.warmup_epochs = None
    config.optimizer.name, config.schedule.peak = "adam", 0.02
    task = Classification(config)
    text = audit.run(task, config, str(tmp_path / "run"), str(tmp_path / "data"))
    assert text.endswith(str(tmp_path / "run" / pages.PAGE))
    table = (tmp_path / "run" / pages.TABLE).read_text().splitlines()
    assert len(table) == 1 + 23  # both splits
    assert str(lost) in table[1]
    config.reweighting.mode = "batch_local"
    with pytest.raises(ConfigError, match="an audit needs weights of all examples"):
        audit.run(task, config, str(tmp_path / "run"), None)
