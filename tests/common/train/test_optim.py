"""Optimisers and schedules against hand-computed values."""

import jax.numpy as jnp
import numpy as np
import pytest

from common import config as configs
from common.errors import ConfigError
from common.train import durations, optim, schedules

PARAMS = {
    "stem": {"kernel": jnp.ones((2,)), "bias": jnp.ones((2,))},
    "head": {"kernel": jnp.ones((2,)), "relative_bias": jnp.ones((2,))},
}
GRADS = {
    "stem": {"kernel": jnp.full((2,), 3.0), "bias": jnp.full((2,), 3.0)},
    "head": {"kernel": jnp.full((2,), 3.0), "relative_bias": jnp.full((2,), 3.0)},
}


def section(section_name, **fields):
    config = configs.default()[section_name]
    config.update(fields)
    return config


def first_update(**fields):
    tx = optim.make(section("optimizer", **fields), PARAMS)
    return tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]


def test_adamw_decays_only_what_it_should():
    updates = first_update(name="adamw", weight_decay=0.1, no_decay=("bias",))
    # The first Adam step is the sign of the gradient.
    np.testing.assert_allclose(updates["stem"]["kernel"], 1.1, rtol=1e-5)
    np.testing.assert_allclose(updates["head"]["kernel"], 1.1, rtol=1e-5)
    np.testing.assert_allclose(updates["stem"]["bias"], 1.0, rtol=1e-5)
    np.testing.assert_allclose(updates["head"]["relative_bias"], 1.0, rtol=1e-5)


def test_sgd_decay_goes_through_the_momentum():
    tx = optim.make(
        section("optimizer", name="sgd", momentum=0.9, weight_decay=0.1), PARAMS
    )
    state = tx.init(PARAMS)
    for expected in (3.1, 3.1 * 1.9):
        updates, state = tx.update(GRADS, state, PARAMS)
        np.testing.assert_allclose(updates["stem"]["kernel"], expected, rtol=1e-6)


def test_adam_decay_is_part_of_the_gradient():
    """The first Adam step is the sign of gradient plus decay, whatever its size."""
    updates = first_update(name="adam", weight_decay=0.1)
    np.testing.assert_allclose(updates["stem"]["kernel"], 1.0, rtol=1e-5)


def test_learning_rate_multipliers_take_the_first_match():
    rules = (("head/kernel", 10.0), ("^head/", 0.0))
    updates = first_update(name="sgd", momentum=0.0, lr_multipliers=rules)
    np.testing.assert_allclose(updates["head"]["kernel"], 30.0)
    np.testing.assert_allclose(updates["head"]["relative_bias"], 0.0)
    np.testing.assert_allclose(updates["stem"]["kernel"], 3.0)


def test_clipping_is_by_global_norm():
    updates = first_update(name="sgd", momentum=0.0, clip_norm=1.0)
    flat = np.concatenate([np.ravel(v) for d in updates.values() for v in d.values()])
    np.testing.assert_allclose(np.linalg.norm(flat), 1.0, rtol=1e-6)


def test_sgd_momentum():
    tx = optim.make(section("optimizer", name="sgd", momentum=0.9), PARAMS)
    state = tx.init(PARAMS)
    for expected in (3.0, 5.7, 8.13):
        updates, state = tx.update(GRADS, state, PARAMS)
        np.testing.assert_allclose(updates["stem"]["bias"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [("no_decay", ("gamma",)), ("lr_multipliers", (("^body/", 0.1),))],
)
def test_unmatched_pattern_is_an_error(field, value):
    with pytest.raises(ConfigError, match=r"matches no parameter .*head/kernel"):
        first_update(weight_decay=0.1, **{field: value})


def test_malformed_pattern_is_an_error():
    with pytest.raises(ConfigError, match="is no regex"):
        first_update(weight_decay=0.1, no_decay=("(",))


def schedule(total=100, **fields):
    made = schedules.make(section("schedule", **fields), total, steps_per_epoch=10.0)
    return lambda s: float(made(s))


def test_cosine_with_warm_up():
    rate = schedule(name="cosine", peak=1.0, final=0.1, warmup_epochs=2.0)
    assert [rate(0), rate(10), rate(20)] == pytest.approx([0.0, 0.5, 1.0])
    assert rate(60) == pytest.approx(0.55)  # half way between peak and final
    assert rate(100) == pytest.approx(0.1)


def test_linear_and_constant():
    rate = schedule(name="linear", peak=1.0, final=0.0)
    assert [rate(0), rate(50), rate(100)] == pytest.approx([1.0, 0.5, 0.0])
    rate = schedule(name="constant", peak=0.3, warmup_steps=10)
    assert [rate(5), rate(10), rate(99)] == pytest.approx([0.15, 0.3, 0.3])


def test_exponential_goes_down_in_stairs():
    rate = schedule(
        name="exponential", peak=1.0, decay_rate=0.9, decay_every_epochs=1.0
    )
    values = [rate(s) for s in (0, 9, 10, 19, 20, 99)]
    assert values == pytest.approx([1, 1, 0.9, 0.9, 0.81, 0.9**9])
    with pytest.raises(ConfigError, match="decay_every"):
        schedule(name="exponential")


def test_warm_up_must_fit():
    with pytest.raises(ConfigError, match="warm-up of 100 steps does not fit"):
        schedule(name="cosine", warmup_steps=100)


def test_durations_in_steps_and_epochs():
    config = configs.default()
    assert durations.steps(config, "total", 312.5) is None
    config.total_epochs = 30.0
    # Fine-tuning on ImageNet at batch 512.
    assert durations.steps(config, "total", 1_281_167 / 512) == 75_068
    config.total_epochs, config.total_steps = None, 7
    assert durations.steps(config, "total", 312.5) == 7
