"""Runs of a study: trained once, and not taken for another."""

import ml_collections
import pytest

from common.errors import ConfigError
from common.train import loop, once


@pytest.fixture
def trained(monkeypatch):
    calls = []

    def train(task, config, folder, *, data_dir, init_from):
        calls.append((task, folder, data_dir, init_from))
        folder.mkdir(parents=True)
        return {"psnr": 30.0 + config.seed}

    monkeypatch.setattr(loop, "train", train)
    return calls


def config_of(**fields):
    return ml_collections.ConfigDict({"seed": 1, "model": {"width": (1, 2)}, **fields})


def run(folder, config=None, **given):
    return once.train(lambda c: "task", config or config_of(), folder, "data", **given)


def test_a_run_is_made_once(trained, tmp_path):
    first = run(tmp_path / "a", init_from="weights")
    again = run(tmp_path / "a", init_from="weights")
    assert first == again
    assert first["psnr"] == 31
    assert first["seconds"] >= 0
    assert trained == [("task", tmp_path / "a", "data", "weights")]


def test_what_is_kept_is_chosen(trained, tmp_path):
    def collect(metrics, folder):
        return {"double": 2 * metrics["psnr"], "where": folder.name}

    found = run(tmp_path / "a", collect=collect)
    assert found.pop("seconds") >= 0
    assert found == {"double": 62.0, "where": "a"}


@pytest.mark.parametrize(
    ("config", "given", "message"),
    [
        (config_of(seed=2), {}, "seed=1, and now it is 2"),
        (config_of(model={"width": (1, 3)}), {}, "model.width"),
        (config_of(extra=1), {}, "extra=None"),
        (config_of(), {"init_from": "w"}, "from=None, and now it is 'w'"),
    ],
)
def test_another_run_is_not_taken_for_it(trained, tmp_path, config, given, message):
    run(tmp_path / "a")
    with pytest.raises(ConfigError, match=message):
        run(tmp_path / "a", config, **given)
    assert len(trained) == 1
