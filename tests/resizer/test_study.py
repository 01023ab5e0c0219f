"""Studies: what runs, in which order, and what the tables say. Nothing is trained."""

import json

import numpy as np
import pytest
from absl.testing import flagsaver

from common.checkpoint import weights
from common.errors import ConfigError, DataError
from common.train import loop
from resizer import grid, models, phases, published, runs, study, table
from resizer.runs import Point, Runs
from resizer.tasks import Classification
from tests.resizer.small import config_of, described, filled

GAIN = {"bilinear": 0.0, "antialias": 0.02, "learned": 0.1, "zero_init": 0.05}


@pytest.fixture
def trained(monkeypatch):
    """Replaces training by weights and a metric that follow from the config."""
    calls = []

    def train(task, config, folder, *, data_dir, init_from):
        fields = config.model.resizer
        phase1 = config.schedule.peak == config.phases.tune_rate
        kind = "antialias" if fields.antialias else fields.kind
        calls.append((folder.name, init_from, config.copy_and_resolve_references()))
        folder.mkdir(parents=True)
        variables = filled(described(task), config.seed)
        weights.save(folder / "weights.safetensors", variables)
        value = 0.5 + 0.01 * config.seed + (0.1 + GAIN[kind] if phase1 else 0)
        return {"top1": value, "loss": 1.0, "step": 3.0}

    monkeypatch.setattr(loop, "train", train)
    return calls


def run_study(home, module=study, **given):
    config = config_of()
    with flagsaver.flagsaver(**{"repeats": 2, **given}):
        return module.run(Classification(config), config, str(home), "data")


def test_the_control_has_the_same_epochs_and_the_same_start(trained, tmp_path):
    text = run_study(tmp_path, resizers=["learned"])
    assert [name for name, _, _ in trained] == [
        f"cnniqa-{resizer}-phase{phase}-{seed}"
        for seed in (0, 1)
        for resizer, phase in (("bilinear", 0), ("bilinear", 1), ("learned", 1))
    ]
    by_name = {name: (start, config) for name, start, config in trained}
    control, learned = (
        by_name[f"cnniqa-{x}-phase1-1"] for x in ("bilinear", "learned")
    )
    start = tmp_path / "runs" / "cnniqa-bilinear-phase0-1" / "weights.safetensors"
    assert control[0] == learned[0] == str(start)
    assert by_name["cnniqa-bilinear-phase0-1"][0] is None
    for field in ("total_epochs", "schedule", "seed", "batch_size", "augment"):
        assert control[1][field] == learned[1][field]
    assert learned[1].reinitialize == ("/resizer/",)
    assert control[1].reinitialize == ()
    row = next(line for line in text.splitlines() if " learned " in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:6] == [
        "2",
        "50.50 ± 0.71",
        "70.50 ± 0.71",
        "+10.00 ± 0.00",
        "2 of 2",
    ]


def test_a_study_goes_on(trained, tmp_path):
    run_study(tmp_path, resizers=["learned"], repeats=1)
    first = len(trained)
    run_study(tmp_path, resizers=["learned", "antialias"], repeats=1)
    # The antialiased control has a network of its own to begin with.
    assert [name for name, _, _ in trained[first:]] == [
        "cnniqa-antialias-phase0-0",
        "cnniqa-antialias-phase1-0",
    ]
    assert (tmp_path / "study.csv").is_file()
    assert (tmp_path / "study_runs.md").is_file()


def test_pretrained_weights_are_for_phase_0(trained, tmp_path):
    run_study(tmp_path, resizers=["learned"], repeats=1, pretrained="file.npz")
    starts = [start for _, start, _ in trained]
    assert starts[0] == "file.npz"
    assert "file.npz" not in starts[1:]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"resizers": ["lerned"]}, "did you mean 'learned'"),
        ({"resizers": ["learned", "learned"]}, "each once"),
        ({"repeats": 0}, "--repeats=0 must be at least 1"),
    ],
    ids=str,
)
def test_wrong_flags(tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        run_study(tmp_path, **given)


def test_a_mistake_shows_before_anything_runs(trained, tmp_path):
    with pytest.raises(ConfigError, match="needs --backbones"):
        run_study(tmp_path, grid, backbones=["cnniqa"])
    with pytest.raises(ConfigError, match="unknown backbone"):
        run_study(tmp_path, grid, backbones=["cnniqa", "resnet5"])
    assert not trained


def test_grid_of_two_networks(trained, tmp_path, monkeypatch):
    evaluated = []

    def evaluate(config, data_dir, init_from):
        evaluated.append((config.model.backbone, init_from))
        return {"top1": 0.25}

    monkeypatch.setattr(grid, "_metrics", lambda kind, *given: evaluate(*given))
    names = ["cnniqa", "resnet20"]
    text = run_study(tmp_path, grid, backbones=names, repeats=1)
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 4
    assert all("25.00" in row for row in rows)
    # Per network: phase 0, its resizer, the control's few epochs; and every pair.
    assert len(trained) == 2 * 3 + 4
    by_name = {name: (start, config) for name, start, config in trained}
    start, config = by_name["cnniqa-to-resnet20-0"]
    assert config.model.backbone == "resnet20"
    assert config.total_epochs == config.phases.cross_epochs
    assert config.reinitialize == ()
    arrays = weights.load(start)
    giver, taker = (
        weights.load(tmp_path / "runs" / name / "weights.safetensors")
        for name in ("cnniqa-learned-phase1-0", "resnet20-bilinear-phase0-0")
    )
    assert set(arrays) == {x for x in giver if "/resizer/" in x} | set(taker)
    for name, array in arrays.items():
        source = giver if "/resizer/" in name else taker
        np.testing.assert_array_equal(array, source[name])
    assert ("resnet20", start) in evaluated
    again = run_study(tmp_path, grid, backbones=names, repeats=1)
    assert (again, len(trained), len(evaluated)) == (text, 10, 4)


def test_options_of_one_network_are_not_given_to_another(tmp_path):
    config = config_of()
    found = Runs(Classification, config, tmp_path).planned(
        Point("resnet20", "learned", 7)
    )
    assert found.model.options.to_dict() == {}
    assert found.seed == 7
    assert config.model.options.hidden == 4


def test_means_and_deviations():
    assert runs.spread([0.5], 100) == "50.00"
    assert runs.spread([0.5, 0.52], 100, signed=True) == "+51.00 ± 1.41"
    assert runs.scale_of("srcc") == (1.0, "srcc")


def test_tables_of_results_and_costs(tmp_path, monkeypatch):
    text = table.run(str(tmp_path))
    rows = {
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in text.splitlines()
        if line.startswith("|")
    }
    assert ("resnet50", "learned", "23.0", "368", "not run", "-") in rows
    assert ("inception_v2", "learned", "0.686 ?", "-", "not run", "-") in rows
    assert any(row[:4] == ("16", "1", "11,872", "12,035") for row in rows)
    assert (tmp_path / "cost.csv").is_file()
    mine = published.Result("imagenet", "resnet50", "learned", 448, 22.5, "command")
    found = [row for row in table.results("imagenet", [mine]) if "22.50" in row]
    assert found == [("resnet50", "learned", "23.0", "368", "22.50", "448")]


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "imagenette"},
        {"backbone": "vgg16"},
        {"resizer": "cubic"},
        {"input_size": 300},
        {"value": 0.0},
        {"command": " "},
    ],
    ids=str,
)
def test_results_that_cannot_be(fields, tmp_path):
    good = {"task": "ava", "backbone": "inception_v2", "resizer": "learned",
            "input_size": 448, "value": 0.6, "command": "c"}  # fmt: skip
    published.Result(**good)
    with pytest.raises(ConfigError):
        published.Result(**good | fields)
    path = tmp_path / "results.csv"
    lines = [",".join(good), ",".join(map(str, (good | fields).values()))]
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"results.csv:2"):
        published.read_results(path)


def test_each_resizer_is_what_its_name_says():
    """Whatever the config had before."""
    config = config_of()
    for name in ("zero_init", "learned", "antialias", "bilinear", "learned"):
        phases.choose(config, name)
        made = Classification(config).model.resizer
        if name in phases.LEARNED:
            assert isinstance(made, models.LearnedResizer)
            assert made.zero_init_tail == (name == "zero_init")
        else:
            assert made == models.BilinearResizer(antialias=name == "antialias")


def test_a_result_is_kept_in_its_folder(trained, tmp_path):
    point = Point("cnniqa", "bilinear", 0, 0)
    result = Runs(Classification, config_of(), tmp_path).run(point)
    kept = json.loads((tmp_path / "runs" / point.name / "result.json").read_text())
    assert kept.pop("asked")["config"]["seed"] == 0
    assert kept == result
    assert kept["seconds"] >= 0
