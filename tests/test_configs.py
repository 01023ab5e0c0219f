"""Every config in configs/ builds, validates, and runs one step."""

import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import pytest

from common import config as configs
from common.train import loop

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "configs").rglob("*.py")
    if path.name != "__init__.py"
)
# Package -> its tasks, as its main.py names them.
TASKS = {"maxvit": {"classification": "maxvit.tasks:Classification"}}
ARGUMENTS = {
    "configs/maxvit/imagenet1k.py": ("T", "S", "B", "L"),
    "configs/maxvit/folder.py": ("T", "B,finetune", "T,image_size=384"),
}


def load(path, arg):
    spec = importlib.util.spec_from_file_location("config_file", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, module.get_config(arg).lock()


def task_of(path, config):
    module, name = TASKS[path.parts[1]][config.task].split(":")
    return getattr(importlib.import_module(module), name)(config)


def test_every_package_has_its_tasks_here():
    assert {path.parts[1] for path in FILES} == set(TASKS)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_docstring_has_the_command_and_the_expectation(path):
    module, _ = load(path, None)
    text = module.__doc__
    assert f"--config={path}" in text.replace("\\\n", "")
    assert "Hardware" in text
    assert "top-1" in text or "metric" in text


@pytest.mark.parametrize(
    ("path", "arg"),
    [(p, arg) for p in FILES for arg in ARGUMENTS.get(str(p), (None,))],
    ids=str,
)
def test_full_size_config_validates_and_has_a_model(path, arg):
    """Shapes only: the largest would not fit into this machine."""
    _, config = load(path, arg)
    configs.validate(config, TASKS[path.parts[1]])
    config.data.num_classes = config.data.num_classes or 10
    task = task_of(path, config)
    spec = task.batch_spec(2)
    variables = jax.eval_shape(task.init, jax.random.key(0), spec)
    losses = jax.eval_shape(task.loss, variables, spec, jax.random.key(0)).loss
    assert losses.shape == (2,)
    assert losses.dtype == jnp.float32
    assert task.transforms("train")
    assert task.transforms("eval")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_smoke_run_takes_one_step(path, tmp_path):
    _, config = load(path, "smoke")
    config.data.source = "fake"
    config.data.num_classes = config.data.num_classes or 10
    config.total_steps = 1
    configs.validate(config, TASKS[path.parts[1]])
    metrics = loop.train(task_of(path, config), config, tmp_path)
    assert metrics["step"] == 1
    assert 0 < metrics["loss"] < 100
