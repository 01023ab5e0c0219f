"""Weights of examples in the training step and in the loop."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common import config as configs
from common.data.sources.chosen import Chosen
from common.errors import ConfigError, DataError
from common.task import LossOutput
from common.train import example_weights, loop, reweighting
from common.train.experiment import Experiment
from tests.common import toy

STEPS, BATCH, COUNT = 4, 64, 1400


def config_of(mode="deferred", **overrides):
    config = toy.get_config(model__dropout=0.0)
    config.reweighting.mode, config.reweighting.eta = mode, 0.5
    for name, value in overrides.items():
        section = config.reweighting if name in config.reweighting else config
        section.update_from_flattened_dict({name.replace("__", "."): value})
    return config


class Weighed(toy.Toy):
    """The toy on 1,400 digits, with a loss for passes, and bad ones where wanted."""

    weight_losses = ("doubled",)
    bad_ids = ()

    def source(self, split, data_dir):
        source = super().source(split, data_dir)
        return Chosen(source, range(COUNT)) if split == "train" else source

    def loss(self, variables, batch, key):
        out = super().loss(variables, batch, key)
        bad = jnp.isin(batch["id"], jnp.array(self.bad_ids or (-5,)))
        loss = jnp.where(bad, jnp.nan, out.loss)
        doubled = 2 * loss if self.config.reweighting.loss else None
        return LossOutput(loss, out.model_state, weight_loss=doubled)

    def example_losses(self, variables, batch):
        logits = self.model.apply(variables, self._inputs(batch), train=False)
        losses = optax.softmax_cross_entropy_with_integer_labels
        return losses(logits, batch["label"])


def run(config, devices=1, steps=STEPS, task=Weighed):
    """Returns the state after some steps, the ids seen, and the metrics."""
    experiment = Experiment(task(config), config, devices=jax.devices()[:devices])
    step, state = experiment.compile_step(), experiment.init_state()
    ids, found = [], []
    with contextlib.closing(experiment.train_iterator()) as iterator:
        for _ in range(steps):
            batch = next(iterator)
            ids.append(np.asarray(batch["id"]))
            state, metrics = step(state, batch)
            found.append({k: float(v) for k, v in metrics.items()})
    return jax.device_get(state), np.stack(ids), found


@pytest.fixture(scope="module")
def one_device():
    return run(config_of())


def test_names_are_those_of_the_config():
    assert set(configs._CHOICES["reweighting.mode"]) == {"", *example_weights.MODES}
    assert configs._CHOICES["reweighting.estimator"] == reweighting.ESTIMATORS


def test_weights_of_the_examples_that_were_seen_move(one_device):
    state, ids, metrics = one_device
    normalized = reweighting.normalize(state.weights)
    log_weights = np.asarray(reweighting.log_weights(normalized))
    seen = np.zeros(COUNT, bool)
    seen[ids.ravel()] = True
    assert np.exp(log_weights).sum() == pytest.approx(1, rel=1e-5)
    assert len(set(log_weights[~seen])) == 1  # they only take part in normalising
    assert log_weights[seen].max() < log_weights[~seen].max()  # losses are above 0
    assert len(set(log_weights[seen])) > 200
    assert state.weights.step == STEPS
    # Equal weights at first, and the first batch was weighted with them.
    assert metrics[0]["loss"] == pytest.approx(metrics[0]["unweighted_loss"], rel=1e-5)


def test_the_gradient_is_that_of_the_weighted_loss():
    config = config_of()
    experiment = Experiment(Weighed(config), config, devices=jax.devices()[:1])
    state = experiment.init_state()
    rng = np.random.default_rng(0)
    log_weights = jnp.asarray(rng.normal(0, 2, COUNT), jnp.float32)
    state = state.replace(weights=state.weights.replace(logw=log_weights))
    with contextlib.closing(experiment.train_iterator()) as iterator:
        batch = next(iterator)
    _, metrics = jax.jit(experiment.step_function(1))(state, batch)
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    variables = {"params": state.params, **state.model_state}
    w = np.exp(np.asarray(log_weights)[np.asarray(batch["id"])])

    def objective(params):
        losses = experiment.task.loss({**variables, "params": params}, batch, key).loss
        return losses @ (w / w.sum())

    value, grads = jax.value_and_grad(objective)(state.params)
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-5)
    norm = float(optax.tree.norm(grads))
    assert float(metrics["grad_norm"]) == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize(
    "mesh", [{}, {"mesh__fsdp": 2, "mesh__fsdp_min_size": 4}], ids=["data", "fsdp"]
)
def test_result_does_not_depend_on_the_devices(one_device, mesh):
    config = config_of(**mesh)
    experiment = Experiment(Weighed(config), config, devices=jax.devices()[:8])
    split = not experiment.abstract_state.weights.logw.sharding.is_fully_replicated
    assert split == bool(mesh)
    state, ids, metrics = run(config, devices=8)
    np.testing.assert_array_equal(ids, one_device[1])
    found, expected = state.weights, one_device[0].weights
    np.testing.assert_allclose(found.logw, expected.logw, rtol=0, atol=2e-5)
    for ours, theirs in zip(metrics, one_device[2], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=2e-5)


def test_parts_of_a_batch_are_weighted_as_the_whole():
    """One weight for each example: the batch norm alone sees the parts."""
    config = config_of(grad_accumulation=4)
    state, ids, metrics = run(config, steps=1)
    moved = np.flatnonzero(state.weights.logw < state.weights.logw.max() - 1e-6)
    assert set(moved) == set(ids.ravel())
    assert metrics[0]["loss"] == pytest.approx(metrics[0]["unweighted_loss"], rel=1e-5)


def test_a_bad_loss_costs_the_step_and_no_other_weight():
    config = config_of()
    _, ids, _ = run(config, steps=1, task=Weighed)
    task = type("Bad", (Weighed,), {"bad_ids": (int(ids[0, 3]),)})
    state, _, metrics = run(config, steps=1, task=task)
    assert state.guard.total == 1
    assert metrics[0]["nonfinite_total"] == 1
    assert state.weights.skipped == 1
    logw = state.weights.logw
    highest = np.flatnonzero(logw > logw.max() - 1e-6)
    assert ids[0, 3] in highest  # it keeps its weight
    assert len(highest) == COUNT - BATCH + 1


def test_a_loss_of_its_own_for_the_weights(one_device):
    state, _, metrics = run(config_of(loss="doubled", eta=0.25))
    np.testing.assert_allclose(
        state.weights.logw, one_device[0].weights.logw, rtol=0, atol=1e-5
    )
    assert metrics[-1]["loss"] == pytest.approx(one_device[2][-1]["loss"], rel=1e-5)


def test_rate_over_the_run():
    config = configs.default().reweighting
    config.mode, config.eta, config.eta_decay = "deferred", 0.5, 0.1
    config.warmup_epochs, config.until_steps = 1.0, 35
    made = example_weights.make(config, 100, 10.4, None)
    assert made.every == 10
    steps = jnp.array([0, 9, 10, 19, 20, 34, 35, 1000])
    expected = [0, 0, 0.05, 0.05, 0.005, 0.0005, 0, 0]
    np.testing.assert_allclose([made.eta(s) for s in steps], expected, rtol=1e-6)


def test_once_per_epoch_the_weights_are_kept_from_gathering():
    config = config_of(clean_fraction=0.5, share=0.1, pull=0.2).reweighting
    made = example_weights.make(config, 8, 3.0, jax.make_mesh((1,), ("data",)))
    state = reweighting.init(8)
    update = jax.jit(made.update)
    ids, losses = np.arange(8), jnp.arange(8.0)
    before = update(update(state, ids, losses, 0), ids, losses, 1)
    raw = reweighting.update(before, ids, losses, 0.5)
    after = update(before, ids, losses, 2)
    assert float(reweighting.weights(raw).max()) > 1 / 4
    expected = reweighting.share(reweighting.project_cap(raw, 4.0), 0.1)
    expected = reweighting.weights(reweighting.pull(expected, 0.2))
    np.testing.assert_allclose(reweighting.weights(after), expected, rtol=1e-5)


def test_unbiased_factors_in_the_middle_of_an_epoch():
    """They need the sum of the weights, which others leave to the epoch's end."""
    config = config_of(estimator="horvitz_thompson").reweighting
    made = example_weights.make(config, 8, 9.0, jax.make_mesh((1,), ("data",)))
    ids, losses = np.arange(8), jnp.arange(8.0)
    state = made.update(made.init(), ids[:4], losses[:4], 0)
    factors = made.factors(state, ids, jax.random.key(0))
    np.testing.assert_allclose(factors, 8 * reweighting.weights(state), rtol=1e-5)
    assert float(factors.sum()) == pytest.approx(8, rel=1e-5)


def test_averages_of_losses_are_kept_where_asked_for():
    config = config_of(ema_decay=0.5).reweighting
    made = example_weights.make(config, 8, 9.0, jax.make_mesh((1,), ("data",)))
    ids, state = np.arange(8), made.init()
    for step, loss in enumerate((4.0, 2.0)):
        state = made.update(state, ids[:1], jnp.array([loss]), step)
    np.testing.assert_array_equal(state.ema, [3.0, *[np.nan] * 7])
    moved = state.logw[1] - state.logw[0]
    assert float(moved) == pytest.approx(0.5 * (4 + 3), rel=1e-5)


def test_a_pass_ends_an_epoch():
    config = config_of("full", clean_fraction=0.5).reweighting
    made = example_weights.make(config, 8, 9.0, jax.make_mesh((1,), ("data",)))
    state = made.update_all(made.init(), jnp.arange(8.0), 9)
    assert float(reweighting.weights(state).max()) == pytest.approx(1 / 4, rel=1e-5)


def test_modes_of_a_batch_alone():
    config = config_of("batch_local", temperature=0.5).reweighting
    losses = jnp.array([1.0, 3.0, 0.5, 2.0])
    factors = example_weights.make(config, 8, 3.0, None).local_factors(losses)
    np.testing.assert_allclose(factors, 4 * jax.nn.softmax(-losses / 0.5), rtol=1e-6)
    # The gradient of the negatively tilted loss is that of the weighted mean.
    tilted = jax.grad(lambda x: -0.5 * jnp.log(jnp.mean(jnp.exp(-x / 0.5))))(losses)
    np.testing.assert_allclose(factors / 4, tilted, rtol=1e-5)
    config = config_of("small_loss", clean_fraction=0.75).reweighting
    factors = example_weights.make(config, 8, 3.0, None).local_factors(losses)
    np.testing.assert_allclose(factors, [4 / 3, 0, 4 / 3, 4 / 3])


@pytest.mark.parametrize(
    ("mode", "stop", "total"), [("full", 22, 46), ("deferred", 3, 6)]
)
def test_a_stopped_run_goes_on_exactly(tmp_path, mode, stop, total):
    """The weights are in the checkpoint; a pass that was due is made on resuming."""
    short = {"checkpoint_every_steps": stop, "eval_every_steps": total}

    def train(workdir, stop=None):
        config, seen = config_of(mode, total_steps=total, **short), []

        class Watched(Weighed):
            def pictures(self, variables, outputs, source, workdir):
                seen.append(variables)
                return []

        metrics = loop.train(Watched(config), config, workdir, stop_after_steps=stop)
        return metrics, seen

    whole, (expected,) = train(tmp_path / "whole")
    train(tmp_path / "stopped", stop=stop)
    resumed, (found,) = train(tmp_path / "stopped")
    assert resumed == whole
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert whole["ess_share"] < 0.999
    assert whole["skipped_losses"] == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "small_loss"}, "needs clean_fraction"),
        ({"mode": "batch_local", "pull": 0.1}, "pull=0.1 has no meaning"),
        ({"mode": "unnormalized"}, "must be horvitz_thompson"),
        ({"loss": "tripled"}, "did you mean|choices: doubled"),
        ({"mode": "batch_local", "ema_decay": 0.5}, "ema_decay=0.5 has no meaning"),
    ],
)
def test_fields_that_do_not_go_together(fields, message):
    config = config_of(**fields)
    with pytest.raises(ConfigError, match=message):
        Experiment(Weighed(config), config, devices=jax.devices()[:1]).check()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mode", "defered", "did you mean 'deferred'"),
        ("estimator", "snis", "unknown config.reweighting.estimator"),
        ("eta", -0.1, "at least 0"),
        ("clean_fraction", 1.5, r"in \[0, 1\]"),
        ("share", 1.0, r"in \[0, 1\)"),
        ("temperature", 0.0, "greater than 0"),
    ],
)
def test_values_that_cannot_be(field, value, message):
    config = config_of(**{field: value})
    with pytest.raises(ConfigError, match=message):
        configs.validate(config, ["toy"])


def test_data_that_changed_between_runs(tmp_path):
    config = config_of(total_steps=2, checkpoint_every_steps=1)
    loop.train(Weighed(config), config, tmp_path, stop_after_steps=1)

    class Fewer(Weighed):
        def source(self, split, data_dir):
            return Chosen(super().source(split, data_dir), range(500))

    with pytest.raises(
        ConfigError, match="1400 examples and the training data has 500"
    ):
        loop.train(Fewer(config), config, tmp_path)


def test_a_run_warns_when_one_example_has_all_the_weight(tmp_path, caplog):
    class Few(Weighed):
        def source(self, split, data_dir):
            return Chosen(super().source(split, data_dir), range(BATCH))

    config = config_of(eta=1e5, total_steps=1)
    metrics = loop.train(Few(config), config, tmp_path)
    assert metrics["ess_share"] == pytest.approx(1 / BATCH, rel=1e-3)
    assert f"effective sample size 1.0 of {BATCH}" in caplog.text


def test_ids_that_are_no_positions():
    class Wrong(toy.Toy):
        def source(self, split, data_dir):
            source = super().source(split, data_dir)

            class Shifted:
                class_names = source.class_names

                def __len__(self):
                    return len(source)

                def __getitem__(self, index):
                    return {**source[index], "id": index + 1}

            return Shifted()

    config = config_of()
    experiment = Experiment(Wrong(config), config, devices=jax.devices()[:1])
    with pytest.raises(DataError, match="id 1 at position 0"):
        experiment.check()
