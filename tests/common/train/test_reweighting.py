"""Golden vectors, what theory says of every run, and inputs that are wrong."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError, DataError
from common.train import reweighting as rw

PATH = pathlib.Path(__file__).parents[2] / "golden/reweighting.json"
GOLDEN = json.loads(PATH.read_text())["weights"]
L1, L2 = (np.array(losses) for losses in GOLDEN["losses"])
IDS = np.arange(4)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def close(state, expected):
    np.testing.assert_allclose(rw.weights(state), expected, atol=1e-7)


def moved(eta=1.0, mode="full", start=None):
    return rw.update(start or rw.init(4), IDS, jnp.asarray(L1), eta, mode)


def test_golden_steps():
    close(moved(), GOLDEN["eta_1"])
    np.testing.assert_allclose(jnp.exp(moved().log_z), GOLDEN["z_1"], atol=1e-7)
    close(moved(0.1), GOLDEN["eta_0.1"])
    np.testing.assert_allclose(jnp.exp(moved(0.1).log_z), GOLDEN["z_0.1"], atol=1e-7)
    both = rw.update(moved(), IDS, jnp.asarray(L2), 1.0)
    close(both, GOLDEN["two_steps"])
    close(both, jax.nn.softmax(-(L1 + L2)))
    close(moved(mode="unnormalized"), GOLDEN["unnormalized"])
    close(rw.normalize(moved(mode="unnormalized")), GOLDEN["eta_1"])
    assert both.step == 2


def test_golden_pull_and_share():
    pulled = rw.update(rw.pull(moved(), 0.1), IDS, jnp.asarray(L2), 1.0)
    close(pulled, GOLDEN["pull_then_second"])

    def body(_, state):
        return rw.update(rw.pull(state, 0.1), IDS, jnp.asarray(L1), 0.05)

    fixed = jax.lax.fori_loop(0, 300, body, rw.init(4))
    close(fixed, GOLDEN["pull_fixed_point"])
    both = rw.update(moved(), IDS, jnp.asarray(L2), 1.0)
    close(rw.share(both, 0.1), GOLDEN["share_of_two_steps"])
    close(rw.share(both, 1.0), [0.25] * 4)
    prior = [0.1, 0.2, 0.3, 0.4]
    close(rw.pull(both, 1.0, prior), prior)


@pytest.mark.parametrize("m", GOLDEN["cap"])
def test_golden_cap(m):
    start = rw.init(4, GOLDEN["cap_prior"])
    close(rw.project_cap(start, float(m)), GOLDEN["cap"][m])


def test_golden_batches():
    batch = GOLDEN["batch"]
    start, ids = rw.init(6, batch["prior"]), np.array(batch["ids"])
    losses = jnp.asarray(batch["losses"])
    deferred = rw.update(start, ids, losses, 1.0)
    close(deferred, batch["deferred"])
    np.testing.assert_allclose(deferred.log_z, batch["log_z"], atol=1e-7)
    close(
        rw.update(start, ids, losses, 1.0, "mass_preserving"), batch["mass_preserving"]
    )
    for estimator in ("self_normalized", "horvitz_thompson"):
        found = rw.coefficients(start, ids, estimator)
        np.testing.assert_allclose(found, batch[estimator], atol=1e-7)


def random_case(seed, size=40):
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.full(size, 0.5))
    return rng, rw.init(size, prior), jnp.asarray(rng.exponential(2.0, size))


def kl(p, q):
    return float(jnp.sum(p * (jnp.log(p) - jnp.log(q))))


@pytest.mark.parametrize("eta", [1e-3, 0.3, 5.0])
def test_progress_is_exactly_the_sum_of_both_divergences(eta):
    """T1: w.l - w'.l = (KL(w|w') + KL(w'|w)) / eta."""
    for seed in range(5):
        _, state, losses = random_case(seed)
        w = rw.weights(state)
        new = rw.weights(rw.update(state, np.arange(40), losses, eta))
        progress = float(jnp.sum((w - new) * losses))
        expected = (kl(w, new) + kl(new, w)) / eta
        assert progress == pytest.approx(expected, abs=1e-12, rel=1e-10)
        assert progress > 0
    both = float(jnp.sum((rw.weights(rw.init(4)) - rw.weights(moved())) * L1))
    assert both == pytest.approx(GOLDEN["progress"], abs=1e-12)


@pytest.mark.parametrize("m", [1, 25])
def test_hedge_bound(m):
    """T2 and T3: against any m of 40 examples, with no weight above 1 / m."""
    rng, size, steps, top, eta = np.random.default_rng(0), 40, 60, 3.0, 0.2
    kind = rng.uniform(0, top, size)  # examples differ, and the losses jump about
    losses = np.clip(kind + rng.normal(0, 1, (steps, size)), 0, top)

    def body(state, row):
        state = rw.project_cap(state, m)
        return rw.update(state, np.arange(size), row, eta), rw.weights(state) @ row

    _, paid = jax.lax.scan(body, rw.init(size), jnp.asarray(losses))
    best = np.sort(losses.sum(0))[:m].mean()  # of all such sets
    bound = np.log(size / m) / eta + eta * steps * top**2 / 8
    assert 0 < float(paid.sum()) - best <= bound


@pytest.mark.parametrize("variant", ["plain", "cap", "pull"])
def test_alternating_descent_never_rises(variant):
    """T5, on a weighted least squares with gradient steps of 1 / L."""
    rng, size, eta, a = np.random.default_rng(1), 30, 0.3, 0.2
    x, y = jnp.asarray(rng.normal(size=(size, 3))), jnp.asarray(rng.normal(size=size))
    ids = np.arange(size)

    def losses(theta):
        return 0.5 * (x @ theta - y) ** 2

    def objective(state, theta):
        value = rw.weights(state) @ losses(theta)
        if variant == "pull":
            w = rw.weights(state)
            value += a / eta * jnp.sum(w * (jnp.log(w) + jnp.log(size)))
        return value

    def body(carry, _):
        state, theta = carry
        before = objective(state, theta)
        if variant == "pull":
            state = rw.pull(state, a)
        state = rw.update(state, ids, losses(theta), eta)
        if variant == "cap":
            state = rw.project_cap(state, 20.0)
        middle, w = objective(state, theta), rw.weights(state)
        smooth = jnp.linalg.eigvalsh((x * w[:, None]).T @ x)[-1]
        theta = theta - jax.grad(lambda t: w @ losses(t))(theta) / smooth
        return (state, theta), jnp.stack([before, middle, objective(state, theta)])

    start = (rw.init(size), jnp.ones(3))
    _, history = jax.lax.scan(body, start, None, 60)
    history = np.asarray(history).ravel()
    assert np.all(np.diff(history) <= 1e-12)
    assert history[-1] < 0.5 * history[0]


def test_cap_is_the_nearest_point_in_divergence():
    """Against a projection found by bisection on the scale, and with few survivors."""
    for seed in range(6):
        rng, state, _ = random_case(seed)
        m = float(rng.uniform(1, 40))
        w, low, high = np.asarray(rw.weights(state)), 0.0, 1e30
        for _ in range(400):
            middle = np.sqrt(max(low, 1e-30) * high)
            total = np.minimum(w * middle, 1 / m).sum()
            low, high = (middle, high) if total < 1 else (low, middle)
        close(rw.project_cap(state, m), np.minimum(w * high, 1 / m))
    gone = rw.init(5).replace(logw=jnp.array([0.0, -400, -500, -900, -901]))
    close(rw.project_cap(gone, 3), [1 / 3, 1 / 3, 1 / 3, 0, 0])
    close(rw.project_cap(gone, 1), [1, 0, 0, 0, 0])


def test_order_of_a_frozen_loss_does_not_matter_and_old_losses_stay_known():
    """Modes "deferred" and "full" differ by when losses are taken, by nothing else."""
    rng, state, losses = random_case(3)
    order = rng.permutation(40)
    batched = state
    for ids in order.reshape(5, 8):
        batched = rw.update(batched, ids, losses[ids], 0.7)
    close(batched, rw.weights(rw.update(state, np.arange(40), losses, 0.7)))


def test_mass_preserving_moves_weight_within_the_batch():
    _, state, losses = random_case(4)
    ids = np.arange(10)
    new = rw.update(state, ids, losses[:10], 2.0, "mass_preserving")
    w, old = rw.weights(new), rw.weights(state)
    np.testing.assert_allclose(w[10:], old[10:], atol=1e-15)
    np.testing.assert_allclose(w[:10].sum(), old[:10].sum(), atol=1e-14)
    assert float(jnp.abs(w[:10] - old[:10]).sum()) > 0.01


def test_an_id_that_comes_twice_moves_twice():
    ids, losses = np.array([2, 0, 2]), jnp.array([0.5, 1.0, 0.25])
    for mode in rw.MODES:
        found = rw.update(rw.init(4), ids, losses, 1.0, mode)
        once, summed = np.array([0, 2]), jnp.array([1.0, 0.75])
        same = rw.update(rw.init(4), once, summed, 1.0, mode)
        close(found, rw.weights(same))


def test_average_of_losses():
    state, ids = rw.init(3, ema=True), np.array([0, 1])
    state = rw.update(state, ids, jnp.array([1.0, 2.0]), 0.0, ema_decay=0.5)
    state = rw.update(state, ids, jnp.array([3.0, jnp.inf]), 1.0, ema_decay=0.5)
    np.testing.assert_allclose(state.ema, [2.0, 2.0, np.nan])
    close(state, jax.nn.softmax(jnp.array([-2.0, 0, 0])))
    ids, losses = np.array([2, 2]), jnp.array([1.0, 3.0])
    twice = rw.update(state, ids, losses, 1.0, ema_decay=0.5)
    np.testing.assert_allclose(twice.ema, [2.0, 2.0, 2.0])
    close(twice, jax.nn.softmax(jnp.array([-2.0, 0, -4.0])))
    with pytest.raises(ConfigError, match="needs a state with an average"):
        rw.update(rw.init(3), ids, losses, 1.0, ema_decay=0.5)


@pytest.mark.parametrize("mode", rw.MODES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_moves_nothing_and_is_counted(mode, bad):
    start = rw.init(4, GOLDEN["cap_prior"])
    found = rw.update(start, np.array([0, 1]), jnp.array([bad, 1.0]), 1.0, mode)
    alone = rw.update(start, np.array([1]), jnp.array([1.0]), 1.0, mode)
    assert found.skipped == 1
    assert alone.skipped == 0
    close(found, rw.weights(alone))
    assert np.isfinite(rw.weights(found)).all()


@pytest.mark.parametrize("wrong", [-1, 4, 1000])
def test_ids_out_of_range(wrong):
    ids = np.array([1, wrong])
    for call in (rw.coefficients, lambda s, i: rw.update(s, i, jnp.ones(2), 1.0)):
        with pytest.raises(DataError, match=rf"id {wrong} is not in \[0, 4\)"):
            call(rw.init(4), ids)
    # Inside a jitted step nobody can be told: nothing moves, and it is counted.
    state = jax.jit(rw.update)(rw.init(4), ids, jnp.ones(2), 1.0)
    close(state, rw.weights(rw.update(rw.init(4), ids[:1], jnp.ones(1), 1.0)))
    assert state.skipped == 1
    np.testing.assert_allclose(jax.jit(rw.coefficients)(rw.init(4), ids), [1, 0])
    none = jax.jit(rw.coefficients)(rw.init(4), np.array([-1, -1]))
    np.testing.assert_array_equal(none, [0, 0])


def test_inputs_that_cannot_be():
    with pytest.raises(ConfigError, match=r"1 / m on 4 weights .* \[1, 4\], given 4.5"):
        rw.project_cap(rw.init(4), 4.5)
    with pytest.raises(ConfigError, match=r"given 0"):
        rw.project_cap(rw.init(4), 0)
    for call in (rw.pull, rw.share):
        with pytest.raises(ConfigError, match=r"=1.5 must be in \[0, 1\]"):
            call(rw.init(4), 1.5)
    with pytest.raises(ConfigError, match="at least 1 example"):
        rw.init(0)
    for prior in ([1, 2], [1, -1, 1, 1], [np.nan] * 4, [[1] * 4]):
        with pytest.raises(ConfigError, match="a prior is"):
            rw.init(4, prior)
    with pytest.raises(ConfigError, match="above 0"):
        rw.init(4, [0] * 4)
    with pytest.raises(ConfigError, match="did you mean 'deferred'"):
        rw.update(rw.init(4), IDS, jnp.ones(4), 1.0, "defered")
    with pytest.raises(ConfigError, match="unknown estimator 'ht'"):
        rw.coefficients(rw.init(4), IDS, "ht")
    with pytest.raises(ConfigError, match="needs a key"):
        rw.coefficients(rw.init(4), IDS, "sampling")


def test_estimators_agree_with_the_objective_they_estimate():
    rng, state, losses = random_case(5)
    target = float(rw.weights(state) @ losses)
    everyone = np.arange(40)
    for estimator in ("self_normalized", "horvitz_thompson"):
        whole = rw.coefficients(state, everyone, estimator) @ losses
        assert float(whole) == pytest.approx(target, rel=1e-12)
    # Unbiased: over all batches of one example the mean is exact.
    each = [
        float(rw.coefficients(state, np.array([i]), "horvitz_thompson")[0] * losses[i])
        for i in everyone[:40]
    ]
    assert np.mean(each) == pytest.approx(target, rel=1e-12)
    ids = rng.permutation(40)[:16]
    draw = jax.vmap(lambda key: rw.coefficients(state, ids, "sampling", key))
    counts = draw(jax.random.split(jax.random.key(0), 4000))
    np.testing.assert_allclose(counts.sum(-1), 1)
    expected = rw.coefficients(state, ids)
    spread = np.sqrt(expected * (1 - expected) / 16 / 4000)
    assert np.all(np.abs(counts.mean(0) - expected) < 5 * spread + 1e-6)


def test_effective_sample_size():
    assert float(rw.effective_sample_size(rw.init(7))) == pytest.approx(7)
    one = rw.init(7, [1, 0, 0, 0, 0, 0, 0])
    assert float(rw.effective_sample_size(one)) == pytest.approx(1)
    half = rw.init(4, GOLDEN["cap_prior"])
    expected = 1 / np.sum(np.square(GOLDEN["cap_prior"]))
    assert float(rw.effective_sample_size(half)) == pytest.approx(expected)


def test_float32_by_default_and_no_gradient_through_the_weights():
    with jax.enable_x64(False):
        state = rw.init(4)
        assert state.logw.dtype == jnp.float32

        def loss(logw):
            return rw.coefficients(state.replace(logw=logw), IDS) @ jnp.asarray(
                L1, jnp.float32
            )

        np.testing.assert_array_equal(jax.grad(loss)(state.logw), 0)
        # Two hundred epochs of losses apart: nothing underflows to a wrong order.
        for _ in range(3):
            state = rw.update(state, IDS, jnp.asarray(100 * L1, jnp.float32), 1.0)
        assert np.all(np.isfinite(state.logw))
        assert np.all(np.diff(np.asarray(state.logw)[[2, 1, 3, 0]]) > 0)


def test_size_of_the_state():
    """1.3 million examples: 5.2 MB, and twice that with averages."""
    with jax.enable_x64(False):
        state = jax.eval_shape(lambda: rw.init(1_300_000))
        bytes_ = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        assert bytes_ < 5_200_100
