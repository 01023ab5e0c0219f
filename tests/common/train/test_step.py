"""One step: accumulation, moving average, and what happens to a NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common.errors import Diverged
from common.task import LossOutput
from common.train import guards, state, step


class Line:
    """Least squares whose loss is NaN where the input is."""

    def init(self, key, batch):
        return {"params": {"w": jnp.array([1.0, -1.0])}, "batch_stats": {"n": 0.0}}

    def loss(self, variables, batch, key):
        error = batch["x"] @ variables["params"]["w"] - batch["y"]
        seen = variables["batch_stats"]["n"] + len(batch["y"])
        return LossOutput(error**2, {"batch_stats": {"n": seen}}, {"e": error})


RATE = 0.1


def setup(ema_decay=0.0, **options):
    tx = optax.identity()
    made = step.make(Line(), tx, lambda s: RATE, seed=0, ema_decay=ema_decay, **options)
    start = state.create(Line(), tx, {}, 0, ema_decay > 0)
    return jax.jit(made), start


def batch(seed=0, nan=False):
    x = np.random.default_rng(seed).normal(size=(8, 2)).astype(np.float32)
    y = x @ np.array([2.0, 3.0], np.float32)
    return {"x": x, "y": y * np.nan if nan else y}


def gradient(w, data):
    return 2 * data["x"].T @ (data["x"] @ w - data["y"]) / 8


def test_update_is_the_gradient_times_the_rate():
    step_fn, start = setup()
    new, metrics = step_fn(start, batch())
    expected = start.params["w"] - RATE * gradient(start.params["w"], batch())
    np.testing.assert_allclose(new.params["w"], expected, rtol=1e-5)
    np.testing.assert_allclose(
        metrics["grad_norm"],
        np.linalg.norm(gradient(start.params["w"], batch())),
        rtol=1e-5,
    )
    assert int(new.step) == 1
    assert float(metrics["learning_rate"]) == pytest.approx(RATE)


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_equals_the_whole_batch(parts):
    whole, start = setup()
    cut, _ = setup(grad_accumulation=parts)
    a, metrics_a = whole(start, batch())
    b, metrics_b = cut(start, batch())
    np.testing.assert_allclose(a.params["w"], b.params["w"], rtol=1e-5)
    np.testing.assert_allclose(metrics_a["loss"], metrics_b["loss"], rtol=1e-5)
    assert float(b.model_state["batch_stats"]["n"]) == 8  # every part passed through


def test_moving_average_rises_to_its_decay():
    step_fn, now = setup(ema_decay=0.5)
    average = np.array(now.params["w"])
    for t in range(12):
        now, _ = step_fn(now, batch(t))
        decay = min(0.5, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * np.array(now.params["w"])
        np.testing.assert_allclose(now.ema["params"]["w"], average, rtol=1e-4)
    assert now.variables()["params"] is now.ema["params"]


def test_nan_step_is_skipped_and_counted():
    step_fn, start = setup(ema_decay=0.5, max_nonfinite_steps=3)
    good, _ = step_fn(start, batch())
    skipped, metrics = step_fn(good, batch(nan=True))
    assert int(skipped.step) == 2
    assert np.isnan(metrics["loss"])
    assert (int(metrics["nonfinite_in_a_row"]), int(metrics["diverged"])) == (1, 0)
    for name in ("params", "model_state", "opt_state", "ema"):
        jax.tree.map(
            np.testing.assert_array_equal, getattr(skipped, name), getattr(good, name)
        )
    after, metrics = step_fn(skipped, batch())
    assert not np.array_equal(after.params["w"], skipped.params["w"])
    assert int(metrics["nonfinite_in_a_row"]) == 0
    assert int(metrics["nonfinite_total"]) == 1


def test_too_many_in_a_row_is_final():
    """A good batch after the limit changes nothing: the host may notice late."""
    step_fn, now = setup(max_nonfinite_steps=3)
    for _ in range(3):
        now, metrics = step_fn(now, batch(nan=True))
    assert int(metrics["diverged"]) == 1
    later, metrics = step_fn(now, batch())
    np.testing.assert_array_equal(later.params["w"], now.params["w"])
    assert int(metrics["diverged"]) == 1
    with pytest.raises(Diverged, match="step 4: 3 steps"):
        guards.check_finite({k: float(v) for k, v in metrics.items()}, 4, 3)


class Seen(Line):
    """Whose loss reads what nothing trains, and returns all it was given."""

    def loss(self, variables, batch, key):
        out = super().loss(variables, batch, key)
        frozen = variables["frozen"]["factor"]
        state = {**out.model_state, "frozen": variables["frozen"]}
        return LossOutput(frozen * out.loss, state)


def test_what_is_frozen_is_read_and_no_part_of_the_state():
    tx = optax.identity()
    plain, start = setup()
    seen = step.make(Seen(), tx, lambda s: RATE, seed=0)
    frozen = {"factor": jnp.float32(0.5)}
    after, metrics = jax.jit(seen)(start, batch(), frozen)
    expected, plain_metrics = plain(start, batch())
    np.testing.assert_allclose(metrics["loss"], plain_metrics["loss"] / 2, rtol=1e-6)
    moved, twice = (x.params["w"] - start.params["w"] for x in (after, expected))
    np.testing.assert_allclose(2 * moved, twice, rtol=1e-5)
    assert set(after.model_state) == {"batch_stats"}
