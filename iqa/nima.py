"""Scores of pictures as people give them: the whole histogram, not its mean alone.

"NIMA: Neural Image Assessment" (Talebi and Milanfar 2018, arXiv 1709.05424): a network
predicts the share of each score and learns by the earth mover's distance to the votes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from common import config as configs
from common.data.sources import Source
from common.errors import ConfigError
from common.image_task import ImageTask
from common.losses.emd import earth_movers_distance
from common.metrics import correlation
from common.models import backbone_weights
from common.task import Batch, LossOutput, Monitor, Variables
from iqa import score_data, score_model, score_pictures
from iqa.config import default_config

__all__ = ["Nima", "earth_movers_distance", "score_deviation", "score_mean"]

# Above the middle of AVA's ten scores a picture counts as good (Murray et al. 2012).
_GOOD = 5.0


def score_mean(shares: Any) -> Any:
    """Returns the mean score, `[..., K]` -> `[...]`; the scores are 1 to K."""
    return shares @ _scores(shares)


def score_deviation(shares: Any) -> Any:
    """Returns the standard deviation of the scores, `[..., K]` -> `[...]`."""
    gap = _scores(shares) - score_mean(shares)[..., None]
    return (shares * gap**2).sum(-1) ** 0.5


def _scores(shares: Any) -> np.ndarray:
    return np.arange(1, shares.shape[-1] + 1, dtype=shares.dtype)


class Nima(ImageTask):
    """Learns the histogram of scores of a picture."""

    monitor = Monitor("srcc", "max")

    def __init__(self, config: ml_collections.ConfigDict):
        """Checks the config, the model's part by building it.

        Raises:
          ConfigError: a field is unknown or out of range.
        """
        sections = ("augment", "preprocess", "loss", "model")
        configs.check_sections(config, default_config(), sections)
        super().__init__(config)
        if config.loss.r < 1:
            raise ConfigError(f"config.loss.r={config.loss.r} must be at least 1")
        self.model  # noqa: B018 it checks its fields

    @property
    def model(self) -> score_model.ScoreModel:
        """The network of the config."""
        config = self.config
        return score_model.create(
            config.model.backbone,
            config.model.num_scores,
            config.data.image_size,
            config.dtype,
            config.model.dropout,
            config.model.options.to_dict(),
        )

    def source(self, split: str, data_dir: str | None) -> Source:
        """Opens the pictures and their votes.

        Raises:
          ConfigError: the votes are on another scale than the model.
        """
        source: Any = score_data.open_source(self.config.data, split, data_dir)
        if source.num_scores != self.config.model.num_scores:
            raise ConfigError(
                f"the data has scores up to {source.num_scores}: set "
                f"config.model.num_scores, which is {self.config.model.num_scores}"
            )
        return source

    def batch_spec(self, size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """uint8 images with the shares of their scores."""
        shape = (size, self.config.model.num_scores)
        scores = jax.ShapeDtypeStruct(shape, jnp.float32)
        return {**super().batch_spec(size), "scores": scores}

    def read_weights(self, init_from: str, target: Variables) -> dict[str, np.ndarray]:
        """Reads weights of ours, or published ones of the backbone.

        With the latter set `config.reinitialize=("^params/head/",)`, as the configs do.
        """
        backbone = self.config.model.backbone
        return backbone_weights.read(backbone, init_from, target)

    def loss(self, variables: Variables, batch: Batch, key: jax.Array) -> LossOutput:
        """The earth mover's distance to the votes."""
        images = self._normalize(batch["image"])
        logits, model_state = self._train_pass(variables, images, key)
        shares = jax.nn.softmax(logits)
        return LossOutput(
            loss=earth_movers_distance(shares, batch["scores"], self.config.loss.r),
            model_state=model_state,
            metrics={
                "mean_error": jnp.abs(score_mean(shares) - score_mean(batch["scores"]))
            },
        )

    def shares(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Returns the predicted share of each score, `[B, K]`, of uint8 images."""
        logits = self.model.apply(variables, self._normalize(images), train=False)
        return jax.nn.softmax(jnp.asarray(logits))

    def example_losses(self, variables: Variables, batch: Batch) -> jax.Array:
        """The distances on images without augmentation."""
        shares = self.shares(variables, batch["image"])
        return earth_movers_distance(shares, batch["scores"], self.config.loss.r)

    def evaluate(self, variables: Variables, batch: Batch) -> Mapping[str, jax.Array]:
        """Moments of the predicted and of the true scores, and their distances."""
        shares, votes = self.shares(variables, batch["image"]), batch["scores"]
        return {
            "mean": score_mean(shares),
            "deviation": score_deviation(shares),
            "true_mean": score_mean(votes),
            "true_deviation": score_deviation(votes),
            "emd": earth_movers_distance(shares, votes, 1),
            "loss": earth_movers_distance(shares, votes, self.config.loss.r),
        }

    def inference(self, variables: Variables) -> Callable[[jax.Array], jax.Array]:
        """uint8 images `[B, H, W, 3]` -> shares of the scores `[B, K]`."""
        return lambda images: self.shares(variables, images)

    def summarize(self, outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Correlations of means and deviations, two-class accuracy, EMD with r = 1."""
        mean, truth = outputs["mean"], outputs["true_mean"]
        spread = outputs["deviation"], outputs["true_deviation"]
        return {
            "srcc": correlation.srcc(mean, truth),
            "plcc": correlation.plcc(mean, truth),
            "krcc": correlation.krcc(mean, truth),
            "srcc_deviation": correlation.srcc(*spread),
            "plcc_deviation": correlation.plcc(*spread),
            "accuracy": float(np.mean((mean > _GOOD) == (truth > _GOOD))),
            "emd": float(np.mean(outputs["emd"])),
            "loss": float(np.mean(outputs["loss"])),
        }

    def pictures(
        self,
        variables: Variables,
        outputs: Mapping[str, np.ndarray],
        source: Source,
        workdir: Path,
    ) -> list[tuple[str, Path]]:
        """Predicted over true means, and examples from the best to the worst."""
        del variables
        return score_pictures.draw(outputs, source, self.transforms("eval"), workdir)

    def predict(
        self, variables: Variables, paths: Sequence[str], home: Path
    ) -> list[str]:
        """One line per image: mean and standard deviation of its scores."""
        del home
        lines = []
        for path, shares in zip(
            paths, self.predict_shares(variables, paths), strict=True
        ):
            mean, deviation = score_mean(shares), score_deviation(shares)
            lines.append(f"{path}: {mean:.2f} ± {deviation:.2f} of {len(shares)}")
        return lines

    def predict_shares(
        self, variables: Variables, paths: Sequence[str]
    ) -> list[np.ndarray]:
        """Returns the predicted share of each score of image files, `[K]` each.

        Raises:
          DataError: naming the file that cannot be read.
        """
        images = self._read_all(paths)
        return [
            np.asarray(self._compiled(variables, image[None]))[0] for image in images
        ]

    @functools.cached_property
    def _compiled(self) -> Any:
        """Keeps what was compiled from one file of a folder to the next."""
        return jax.jit(self.shares)
