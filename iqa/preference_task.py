"""Learns from pairs of compressed pictures which of two people prefer."""

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
from common.data import decode
from common.data.normalization import STYLES, normalize
from common.data.sources import Source
from common.errors import ConfigError, DataError
from common.metrics import preference
from common.models import backbone_weights
from common.size import height_width
from common.task import Batch, LossOutput, Monitor, Task, Variables
from iqa import compression_metric, pairs, preference_data, preference_evaluation
from iqa.preference_config import default_config
from iqa.rank_smoothing import pairwise_losses


class Preference(Task):
    """A full-reference metric, trained on shares of people who prefer one of two."""

    monitor = Monitor("two_alternative", "max")
    one_by_one = True

    def __init__(self, config: ml_collections.ConfigDict):
        """Checks the config, the model's part by building it.

        Raises:
          ConfigError: a field is unknown or out of range.
        """
        sections = ("augment", "preprocess", "model", "loss", "evaluation")
        configs.check_sections(config, default_config(), sections)
        super().__init__(config)
        style = config.preprocess.normalization
        if style not in STYLES:
            field = "config.preprocess.normalization"
            raise ConfigError(configs.unknown(field, style, STYLES))
        if config.loss.reference_weight < 0:
            raise ConfigError(
                f"config.loss.reference_weight={config.loss.reference_weight} must be "
                "at least 0"
            )
        preference_evaluation.check(config.evaluation)
        pairs.check_aligned(config.data.image_size)
        self.model  # noqa: B018 it checks its fields

    @property
    def model(self) -> Any:
        """The network of the config."""
        config = self.config
        return compression_metric.create(
            config.model.name,
            config.model.backbone,
            tuple(config.model.taps),
            config.model.dropout,
            config.data.image_size,
            config.dtype,
        )

    def source(self, split: str, data_dir: str | None) -> Source:
        """Opens the pairs."""
        return preference_data.open_source(self.config.data, split, data_dir)

    def transforms(self, split: str) -> Sequence[Any]:
        """Training sees crops between the blocks of JPEG, evaluation whole pictures."""
        if split == "eval":
            return [pairs.Decode(), pairs.WholeBlocks()]
        chain: list[Any] = [
            pairs.Decode(),
            pairs.AlignedCrop(self.config.data.image_size),
        ]
        return [*chain, pairs.AlignedFlip()] if self.config.augment.flip else chain

    def batch_spec(self, size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """uint8 reference and two versions, with the share who prefer the second."""
        height, width = height_width(self.config.data.image_size)
        picture = jax.ShapeDtypeStruct((size, height, width, 3), jnp.uint8)
        return {
            **dict.fromkeys(pairs.PICTURES, picture),
            "preference": jax.ShapeDtypeStruct((size,), jnp.float32),
            "id": jax.ShapeDtypeStruct((size,), jnp.int32),
        }

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Random variables of the model."""
        reference, versions = self._pictures(batch)
        return self.model.init(key, reference[:1], versions[:, :1])

    def read_weights(self, init_from: str, target: Variables) -> dict[str, np.ndarray]:
        """Reads weights of ours, or published ones of the backbone.

        With the latter set `config.reinitialize` to what is not of the backbone, as
        the config for CIQA does.
        """
        backbone = self.config.model.backbone
        return backbone_weights.read(backbone, init_from, target)

    def loss(self, variables: Variables, batch: Batch, key: jax.Array) -> LossOutput:
        """Cross-entropy to the shares; with a weight, nothing beats the reference."""
        reference, versions = self._pictures(batch)
        weight = self.config.loss.reference_weight
        if weight:
            versions = jnp.concatenate([versions, reference[None]])
        scores, model_state = self.model.apply(
            variables,
            *(reference, versions),
            train=True,
            mutable=[name for name in variables if name != "params"],
            rngs={"dropout": key},
        )
        gap = scores[1] - scores[0]
        loss = pairwise_losses(gap, batch["preference"])
        if weight:
            loss += weight * jnp.mean(jax.nn.relu(scores[:2] - scores[2]), 0)
        agreed = (gap > 0) * batch["preference"] + (gap < 0) * (1 - batch["preference"])
        return LossOutput(
            loss=loss,
            model_state=model_state,
            metrics={"two_alternative": agreed + 0.5 * (gap == 0)},
        )

    def evaluate(self, variables: Variables, batch: Batch) -> Mapping[str, jax.Array]:
        """Scores of both versions, and what follows from them, `[B]` each."""
        first, second = self._scores(variables, batch)
        gap = second - first
        return {
            "first": first,
            "second": second,
            "probability": compression_metric.probability(gap),
            "preference": batch["preference"],
            "loss": pairwise_losses(gap, batch["preference"]),
        }

    def example_losses(self, variables: Variables, batch: Batch) -> jax.Array:
        """The losses without dropout."""
        return self.evaluate(variables, batch)["loss"]

    def evaluator(
        self, variables: Variables
    ) -> Callable[[Mapping[str, np.ndarray]], dict[str, float]]:
        """Scores one pair of whole pictures."""
        names = self.batch_spec(1).keys() - {"id"}

        def run(example: Mapping[str, np.ndarray]) -> dict[str, float]:
            batch = {name: example[name][None] for name in names}
            found = jax.device_get(self._evaluate(variables, batch))
            return {name: float(value[0]) for name, value in found.items()}

        return run

    @functools.cached_property
    def _evaluate(self) -> Callable[..., Mapping[str, jax.Array]]:
        """Keeps what was compiled from one evaluation to the next."""
        return jax.jit(self.evaluate)

    def summarize(self, outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The two-alternative score, its ceiling, and how good probabilities are."""
        gap, share = outputs["second"] - outputs["first"], outputs["preference"]
        score = preference.two_alternative_score(gap, share)
        ceiling = preference.two_alternative_ceiling(share)
        sure = outputs["probability"]
        return {
            "two_alternative": score,
            "ceiling": ceiling,
            "share_of_ceiling": score / ceiling,
            "majority_accuracy": preference.majority_accuracy(gap, share),
            "cross_entropy": float(np.mean(outputs["loss"])),
            "label_entropy": preference.label_entropy(share),
            "brier": preference.brier(sure, share),
            "calibration_error": preference.expected_calibration_error(sure, share),
        }

    def pictures(
        self,
        variables: Variables,
        outputs: Mapping[str, np.ndarray],
        source: Source,
        workdir: Path,
    ) -> list[tuple[str, Path]]:
        """Writes the tables with all rivals, and draws the calibration."""
        del variables
        return preference_evaluation.write(
            outputs, source, self.config.evaluation, workdir
        )

    def predict_words(self, example: Path, workdir: Path) -> list[str]:
        """Flags to try the result."""
        del workdir
        return [f"--image={path}" for path in sorted(example.parent.glob("*.png"))]

    def predict(
        self, variables: Variables, paths: Sequence[str], home: Path
    ) -> list[str]:
        """One line for each version of the reference, which comes first."""
        del home
        if len(paths) < 2:
            raise ConfigError(
                "a version is scored against its reference: "
                "--image=REFERENCE --image=VERSION, and more of them"
            )
        reference, *versions = (np.asarray(decode.read(path)) for path in paths)
        lines = []
        for path, version in zip(paths[1:], versions, strict=True):
            if version.shape != reference.shape:
                raise DataError(
                    f"{path} has {version.shape[1]} x {version.shape[0]} pixels, "
                    f"{paths[0]} {reference.shape[1]} x {reference.shape[0]}"
                )
            found = self.score(variables, reference, version)
            lines.append(f"{path}: score {found:.4f}")
        return lines

    def score(
        self, variables: Variables, reference: np.ndarray, version: np.ndarray
    ) -> float:
        """Returns the score of a version, uint8 `[H, W, 3]`, higher being better."""
        batch = {"image": reference, "first": version, "second": version}
        one = {name: array[None] for name, array in batch.items()}
        return float(self._both(variables, one)[0, 0])

    @functools.cached_property
    def _both(self) -> Callable[..., jax.Array]:
        return jax.jit(self._scores)

    def _scores(self, variables: Variables, batch: Batch) -> jax.Array:
        """Returns the scores of both versions, `[2, B]`."""
        scores = self.model.apply(variables, *self._pictures(batch))
        return jnp.asarray(scores)

    def _pictures(self, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Returns the normalised references, and the versions `[2, B, H, W, 3]`."""
        style = self.config.preprocess.normalization
        reference, *versions = (normalize(batch[k], style) for k in pairs.PICTURES)
        return reference, jnp.stack(versions)
