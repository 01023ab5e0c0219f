"""`config.reweighting`: weights of examples as a switch in the training step."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections
import optax

from common.errors import ConfigError
from common.parallel import sharding
from common.train import durations, reweighting
from common.train.reweighting import WeightState

# Weights that follow from the losses of a batch alone; nothing is kept between steps.
STATELESS = ("batch_local", "small_loss")
MODES = (*reweighting.MODES, *STATELESS)


@dataclasses.dataclass(frozen=True)
class ExampleWeights:
    """How a run weights its examples.

    Attributes:
      config: `config.reweighting`.
      num_examples: of the training data, `N`.
      every: steps of an epoch, after which the weights are kept from gathering; and
        between two passes over all examples in mode "full".
      eta: step -> rate of the weights; 0 in the warm-up.
      mesh: over which batches are spread.
    """

    config: ml_collections.ConfigDict
    num_examples: int
    every: int
    eta: optax.Schedule
    mesh: jax.sharding.Mesh

    @property
    def stateful(self) -> bool:
        """Whether a distribution over all examples is kept."""
        return self.config.mode not in STATELESS

    @property
    def by_passes(self) -> bool:
        """Whether the weights move between steps, by a pass over all examples."""
        return self.config.mode == "full"

    def init(self) -> WeightState | None:
        """Returns the state before the first step."""
        if not self.stateful:
            return None
        return reweighting.init(self.num_examples, ema=self.config.ema_decay > 0)

    def factors(
        self, state: WeightState | None, ids: jax.Array, key: jax.Array
    ) -> jax.Array | None:
        """Returns what the losses of a batch are multiplied with before their mean.

        1 for equal weights. None when it depends on the losses: `local_factors`.
        """
        if state is None:
            return None
        estimator = self.config.estimator
        return ids.size * reweighting.coefficients(state, ids, estimator, key)

    def local_factors(self, losses: jax.Array) -> jax.Array:
        """Returns the factors of the modes without a state, `[B]`; their mean is 1.

        "batch_local" has the weights `softmax(-loss / temperature)` of CIW (Kumar and
        Amid, arXiv 2111.05428), whose gradient is that of the negatively tilted loss.
        "small_loss" keeps the share `clean_fraction` of smallest losses.
        """
        losses = jax.lax.stop_gradient(losses)
        if self.config.mode == "batch_local":
            return losses.size * jax.nn.softmax(-losses / self.config.temperature)
        kept = max(1, round(self.config.clean_fraction * losses.size))
        ranks = jnp.argsort(jnp.argsort(losses))
        return jnp.where(ranks < kept, losses.size / kept, 0.0)

    def update(
        self,
        state: WeightState,
        ids: jax.Array,
        losses: jax.Array,
        step: jax.Array,
        active: jax.typing.ArrayLike = True,
    ) -> WeightState:
        """Moves the weights of a batch, and once per epoch all of them.

        Args:
          state: the weights.
          ids: `[B]`.
          losses: `[B]`.
          step: number of the step.
          active: whether anything is to move.
        """
        whole = sharding.replicated(self.mesh)
        # A batch is small: every device gets it and moves its copy of the weights.
        ids = jax.lax.with_sharding_constraint(ids, whole)
        losses = jax.lax.with_sharding_constraint(losses, whole)
        eta = jnp.where(active, self.eta(step), 0.0)
        # Where only ratios of weights are asked for, their sum can wait for the epoch's
        # end: it is the one thing here that takes time in proportion to N.
        lazy = self.config.estimator != "horvitz_thompson"
        moved = reweighting.update(
            state, ids, losses, eta, self.config.mode, self.config.ema_decay, lazy
        )
        due = ((step + 1) % self.every == 0) & (eta > 0)
        return jax.lax.cond(due, self._settle, lambda same: same, moved)

    def update_all(
        self, state: WeightState, losses: jax.Array, step: jax.Array
    ) -> WeightState:
        """Moves all weights by the losses of a pass, `[N]`; NaN where there is none."""
        eta = jnp.asarray(self.eta(step))
        moved = reweighting.update(
            state,
            jnp.arange(self.num_examples),
            losses,
            eta,
            "full",
            self.config.ema_decay,
        )
        return jax.lax.cond(eta > 0, self._settle, lambda same: same, moved)

    def pass_due(self, state: WeightState, step: int) -> bool:
        """Whether a pass over all examples comes before the next step.

        The state counts its passes, so a run that stopped before one resumes with it.
        """
        return self.by_passes and int(state.step) < step // self.every

    def _settle(self, state: WeightState) -> WeightState:
        """What is done once per epoch; also keeps the logarithms near 0."""
        config = self.config
        if config.mode == "unnormalized":
            return state
        if config.clean_fraction:
            state = reweighting.project_cap(
                state, max(1.0, config.clean_fraction * self.num_examples)
            )
        if config.share:
            state = reweighting.share(state, config.share)
        if config.pull:
            state = reweighting.pull(state, config.pull)
        return reweighting.normalize(state)


def make(
    config: ml_collections.ConfigDict,
    num_examples: int,
    steps_per_epoch: float,
    mesh: jax.sharding.Mesh,
) -> ExampleWeights | None:
    """Returns what `config.reweighting` asks for; None when it is off.

    Args:
      config: `config.reweighting`.
      num_examples: of the training data.
      steps_per_epoch: not rounded.
      mesh: of the run.

    Raises:
      ConfigError: fields that do not go together.
    """
    if not config.mode:
        return None
    _check(config)
    every = max(1, round(steps_per_epoch))
    return ExampleWeights(
        config, num_examples, every, _rate(config, steps_per_epoch, every), mesh
    )


def _rate(
    config: ml_collections.ConfigDict, steps_per_epoch: float, every: int
) -> optax.Schedule:
    """Returns step -> eta: nothing in the warm-up and from `until` on."""
    warmup = durations.steps(config, "warmup", steps_per_epoch) or 0
    until = durations.steps(config, "until", steps_per_epoch)

    def eta(step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(step)
        on = step >= warmup
        if until is not None:
            on &= step < until
        epochs = (step // every).astype(jnp.float32)
        return jnp.where(on, config.eta * config.eta_decay**epochs, 0.0)

    return eta


def _check(config: ml_collections.ConfigDict) -> None:
    """Refuses fields that the mode would not read."""
    mode, keeps = config.mode, ("clean_fraction", "share", "pull", "ema_decay")
    ignored: tuple[str, ...] = ()
    if mode == "batch_local":
        ignored = keeps
    elif mode == "small_loss":
        ignored = keeps[1:]
        if not config.clean_fraction:
            raise ConfigError(
                "config.reweighting.mode=small_loss needs clean_fraction, the share of "
                "each batch that is kept"
            )
    elif mode == "unnormalized":
        ignored = keeps[:3]
        if config.estimator != "horvitz_thompson":
            raise ConfigError(
                "config.reweighting.mode=unnormalized keeps no sum of weights: "
                "estimator must be horvitz_thompson, not " + config.estimator
            )
    for name in ignored:
        if config[name]:
            raise ConfigError(
                f"config.reweighting.{name}={config[name]} has no meaning with "
                f"mode={mode}"
            )
