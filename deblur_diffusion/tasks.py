"""What predict-and-refine diffusion hands to the shared training loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from common import config as configs
from common.data.normalization import to_unit
from common.errors import ConfigError
from common.restoration import task
from common.restoration.inference import Restorer
from common.restoration.task import training_psnr
from common.task import Batch, LossOutput, Variables
from deblur_diffusion import models, sampler, schedule
from deblur_diffusion.config import default_config

_LOSSES = ("diffusion", "regression")


class Deblurring(task.Restoration):
    """A predictor, and a diffusion of what it leaves to be found.

    With `config.loss.name=regression` the predictor is trained alone, by L2: the
    paper's baseline, and what a diffusion has to be measured against.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        """Builds the networks, so that a mistake in them shows at once.

        Raises:
          ConfigError: a field is unknown or out of range.
        """
        super().__init__(config)
        configs.check_sections(config, default_config(), ("model", "loss"))
        loss, evaluation = config.loss, config.evaluation
        if loss.name not in _LOSSES:
            raise ConfigError(configs.unknown("config.loss.name", loss.name, _LOSSES))
        if self._regresses and config.model.variant == "plain":
            raise ConfigError("config.model.variant=plain has no predictor to regress")
        self._levels = training_levels(loss.beta_min, loss.beta_max, loss.steps)
        sampler.clamp(evaluation.steps, evaluation.beta_max)
        if evaluation.num_samples < 1:
            raise ConfigError("config.evaluation.num_samples must be at least 1")
        self.model = self._build(config.dtype)
        multiple = self.model.size_multiple
        if any(side % multiple for side in self.batch_spec(1)["image"].shape[1:3]):
            raise ConfigError(
                f"config.data.image_size={config.data.image_size} must be a multiple "
                f"of {multiple}, as the networks ask"
            )

    @staticmethod
    def defaults() -> ml_collections.ConfigDict:
        """Returns the fields that a config of this task has."""
        return default_config()

    def _build(self, dtype: str) -> models.Deblurrer:
        fields = self.config.model
        options = fields.options.to_dict()
        return models.create(fields.variant, dtype=dtype, remat=fields.remat, **options)

    @property
    def _regresses(self) -> bool:
        return self.config.loss.name == "regression"

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Random parameters of both networks."""
        return self.model.init(key, to_model(batch["image"][:1]))

    def loss(self, variables: Variables, batch: Batch, key: jax.Array) -> LossOutput:
        """The mean error of the predicted noise (section 3), or the regression's.

        Every image has a noise level of its own. The predictor learns through the noisy
        residual alone.
        """
        blurry, sharp = to_model(batch["image"]), to_model(batch["target"])
        level_key, noise_key, dropout_key, other_key = jax.random.split(key, 4)
        apply = functools.partial(self.model.apply, variables, train=True)
        guess: Any = apply(blurry, method="predict", rngs={"dropout": dropout_key})
        metrics = {"psnr_predictor": training_psnr((guess + 1) / 2, (sharp + 1) / 2)}
        if self._regresses:
            loss = jnp.square(guess - sharp).mean((1, 2, 3))
            return LossOutput(loss, {}, metrics)
        level = self._draw_levels(level_key, len(blurry))
        share = level[:, None, None, None]
        noise = jax.random.normal(noise_key, sharp.shape)
        z = jnp.sqrt(share) * (sharp - guess) + jnp.sqrt(1 - share) * noise
        rngs = {"dropout": other_key}
        found: Any = apply(z, level, blurry, method="denoise", rngs=rngs)
        loss = jnp.abs(found - noise).mean((1, 2, 3))
        return LossOutput(loss, {}, metrics)

    def _draw_levels(self, key: jax.Array, count: int) -> jax.Array:
        """Draws `alpha_bar` uniformly between two neighbours of the schedule."""
        step_key, place_key = jax.random.split(key)
        levels = jnp.asarray(self._levels)
        step = jax.random.randint(step_key, (count,), 0, len(self._levels) - 1)
        place = jax.random.uniform(place_key, (count,))
        return levels[step] + place * (levels[step + 1] - levels[step])

    def restorer(self, variables: Variables, bfloat16: bool = False) -> Restorer:
        """Binds the networks: the mean of as many samples as evaluation draws.

        The same image has the same result each time.
        """
        evaluation = self.config.evaluation
        model = self.network(bfloat16)
        if self._regresses:
            return _predicting(model, variables, bfloat16)

        def apply(variables: Variables, images: jax.Array) -> jax.Array:
            samples = sampler.sample(
                jax.random.key(0),
                model,
                {"params": variables["params"]},
                images,
                evaluation.steps,
                evaluation.beta_max,
                evaluation.num_samples,
            )
            return samples.mean(0)

        return Restorer(apply, variables, model.size_multiple, bfloat16)

    def predictor(self, variables: Variables, bfloat16: bool = False) -> Restorer:
        """Binds the predictor alone."""
        return _predicting(self.network(bfloat16), variables, bfloat16)

    def network(self, bfloat16: bool = False) -> models.Deblurrer:
        """Returns the networks for inference, in float32 unless asked not to."""
        return self._build("bfloat16" if bfloat16 else "float32")

    def evaluator(
        self, variables: Variables
    ) -> Callable[[Mapping[str, np.ndarray]], dict[str, float]]:
        """Scores one image, and what the predictor makes of it."""
        score = super().evaluator(variables)
        if self._regresses or self.model.predictor is None:
            return score
        predictor = self._shared_predictor.with_variables(variables)

        def run(example: Mapping[str, np.ndarray]) -> dict[str, float]:
            guess = predictor(to_unit(example["image"]))
            return score(example) | {
                "psnr_predictor": self._psnr(guess, example["target"])
            }

        return run

    @functools.cached_property
    def _shared_predictor(self) -> Restorer:
        return self.predictor({})


def to_model(images: Any) -> jax.Array:
    """Returns images, uint8 or in [0, 1], on the scale [-1, 1] of the networks."""
    return 2 * jnp.asarray(to_unit(images), jnp.float32) - 1


def training_levels(beta_min: float, beta_max: float, steps: int) -> np.ndarray:
    """Returns `alpha_bar` of the training schedule with 1 before it, float32."""
    made = schedule.linear(beta_min, beta_max, steps)
    return np.concatenate([[1.0], made.alpha_bar]).astype(np.float32)


def _predicting(
    model: models.Deblurrer, variables: Variables, bfloat16: bool
) -> Restorer:
    def apply(variables: Variables, images: jax.Array) -> jax.Array:
        params = {"params": variables["params"]}
        guess: Any = model.apply(params, to_model(images), method="predict")
        return (guess + 1) / 2

    return Restorer(
        apply,
        variables,
        model.size_multiple,
        bfloat16,
        radius=model.receptive_radius,
    )
