"""Tables of a data set, as a task for the shared training loop.

The parameters are one pair of tables for each rate weight of a ladder; every training
image is compressed with one of them. Evaluation writes real files.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from common import config as configs
from common.checkpoint import weights
from common.classification import Classification
from common.data import paired_transforms, sources
from common.data.sources import Source
from common.errors import ConfigError
from common.models import registry
from common.size import height_width
from common.task import Batch, LossOutput, Monitor, Task, Variables
from compression import evaluation, jpeg, rate, results, tables
from compression.config import default_config
from compression.evaluation import Coding, Point
from compression.objective import Judge, Objective, to_integers, to_tables
from compression.results import ANNEX_K

_SECTIONS = ("model", "loss", "evaluation", "augment")
_TABLES = "params/log_tables"
LEARNED = "learned"


class Tables(Task):
    """Tables that minimise rate with distortion, or with a classifier's errors."""

    adopted = ("classifier",)
    one_by_one = True

    def __init__(self, config: ml_collections.ConfigDict):
        """Checks the config's fields of tables.

        Raises:
          ConfigError: one of them is unknown or out of range.
        """
        super().__init__(config)
        configs.check_sections(config, default_config(), _SECTIONS)
        loss, model = config.loss, config.model
        self.objective = Objective(
            loss.distortion, loss.accuracy, model.subsampling, loss.rounding
        )
        self.coding = Coding(model.subsampling, config.evaluation.optimize_huffman)
        self._others = self._reference_ladders()
        if loss.rate_model not in rate.NAMES:
            raise ConfigError(
                configs.unknown("config.loss.rate_model", loss.rate_model, rate.NAMES)
            )
        weights = tuple(model.rate_weights)
        if not weights or not all(math.isfinite(w) and w > 0 for w in weights):
            raise ConfigError(f"config.model.rate_weights={weights} must be positive")
        starts = np.stack([self.objective.start(weight) for weight in weights])
        self._start = np.log(starts).astype(np.float32)
        self.monitor = Monitor("bd_rate", "min")
        if loss.accuracy:
            self.monitor = Monitor("bd_top1", "max")
            self._check_classifier()

    def _reference_ladders(self) -> dict[str, list[np.ndarray]]:
        given = self.config.evaluation
        try:
            ladders = {
                ANNEX_K: evaluation.annex_k(given.qualities),
                "flat": evaluation.flat(given.flat_steps),
            }
            for pair in ladders["flat"]:
                tables.check(pair)
        except ConfigError as error:
            raise ConfigError(
                f"config.evaluation.qualities={given.qualities} and "
                f"flat_steps={given.flat_steps}: {error}"
            ) from error
        return ladders

    def _check_classifier(self) -> None:
        if not self.config.classifier.name:
            raise ConfigError(
                "config.loss.accuracy is set, and config.classifier.name is not"
            )
        _ = self.classifier

    @functools.cached_property
    def classifier(self) -> Classification:
        """The frozen classifier's task."""
        given = self.config.classifier
        config = ml_collections.ConfigDict(given.config)
        with config.unlocked():
            config.data = self.config.data
        return registry.find(given.name)(config)

    def adopt(
        self, init_from: str, given: Collection[str], training: bool = False
    ) -> None:
        """Adapts the classifier's config to its weights, see its own task."""
        if self.objective.accuracy:
            prefix = "classifier.config."
            inner = [x.removeprefix(prefix) for x in given if x.startswith(prefix)]
            self.classifier.adopt(init_from, inner, training=False)
            self.config.classifier.weights = init_from

    def read_weights(self, init_from: str, target: Variables) -> dict[str, np.ndarray]:
        """Reads the classifier's weights, or the state of a run of this task."""
        if not self.objective.accuracy:
            return weights.load(weights.find(init_from))
        arrays = self.classifier.read_weights(init_from, target["classifier"])
        if _TABLES in arrays:
            return arrays
        return {_TABLES: self._start} | {
            f"classifier/{name}": array for name, array in arrays.items()
        }

    def source(self, split: str, data_dir: str | None) -> Source:
        """Opens images, with labels if there is a classifier.

        Raises:
          ConfigError: of a classifier that knows nothing nothing can be learned.
        """
        if self.objective.accuracy:
            made_up = self.config.data.source == "fake"
            if split == "train" and not (self.config.classifier.weights or made_up):
                raise ConfigError(
                    "--init_from is needed: the classifier's weights, such as the "
                    f"directory of a run of {self.config.classifier.name}"
                )
            return self.classifier.source(split, data_dir)
        return sources.open_source(self.config.data, split, data_dir)

    def transforms(self, split: str) -> Sequence[Any]:
        """Crops without resampling; with a classifier, what it evaluates on.

        Images are resized for the classifier before they are compressed, not after:
        those of ImageNet are JPEG files, quantised on their own grid already.
        """
        if self.objective.accuracy:
            return self.classifier.transforms("eval")
        if split == "eval":
            return [paired_transforms.ToArrays()]
        crop = paired_transforms.RandomCrop(self.config.data.image_size)
        return [crop, paired_transforms.ToArrays()]

    def batch_spec(self, size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """uint8 images with id, and label if there is a classifier."""
        if self.objective.accuracy:
            return self.classifier.batch_spec(size)
        height, width = height_width(self.config.data.image_size)
        image = jax.ShapeDtypeStruct((size, height, width, 3), jnp.uint8)
        return {"image": image, "id": jax.ShapeDtypeStruct((size,), jnp.int32)}

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Tables to begin with for every rate weight; a classifier's are random."""
        variables: dict[str, Any] = {"params": {"log_tables": jnp.asarray(self._start)}}
        if self.objective.accuracy:
            variables["classifier"] = self.classifier.init(key, batch)
        return variables

    def loss(self, variables: Variables, batch: Batch, key: jax.Array) -> LossOutput:
        """The objective of every image with the tables of one rate weight."""
        count, images = len(self.config.model.rate_weights), batch["image"]
        rungs = (
            jax.random.randint(key, (), 0, count) + jnp.arange(len(images))
        ) % count
        coefficients = jpeg.coefficients(
            images, self.objective.subsampling, self.objective.rounding
        )
        terms = self.objective.terms(
            to_tables(variables["params"]["log_tables"][rungs]),
            images,
            coefficients,
            rate.fit(self.config.loss.rate_model, coefficients),
            key,
            judge=self._judge(variables) if self.objective.accuracy else None,
            labels=batch.get("label"),
        )
        metrics = {"bpp": terms.bpp, "psnr": terms.psnr()}
        if self.objective.accuracy:
            metrics["top1"] = terms.correct
        weight = jnp.asarray(self.config.model.rate_weights, jnp.float32)[rungs]
        state = {name: variables[name] for name in variables if name != "params"}
        return LossOutput(self.objective.loss(terms, weight), state, metrics)

    def _judge(self, variables: Variables) -> Judge:
        frozen = jax.lax.stop_gradient(variables["classifier"])
        return functools.partial(self.classifier.judge, frozen)

    def tables(self, variables: Variables) -> list[np.ndarray]:
        """Returns the learned tables as files hold them, one pair per rate weight."""
        return [to_integers(one) for one in variables["params"]["log_tables"]]

    def evaluator(
        self, variables: Variables
    ) -> Callable[[Mapping[str, np.ndarray]], dict[str, float]]:
        """Scores one image in real files, with our tables and with others."""
        learned = self.tables(variables)

        def run(example: Mapping[str, np.ndarray]) -> dict[str, float]:
            classify = self._classify(variables, example)
            ours = evaluation.curve(example["image"], learned, self.coding, classify)
            curves = {LEARNED: ours} | self._reference(example, classify)
            scores = results.flatten(curves)
            if classify is not None:
                scores["top1_original"] = float(classify(example["image"][None])[0])
                return scores
            return scores | {
                "bd_rate": evaluation.bd_rate(curves[ANNEX_K], ours),
                "bd_psnr": evaluation.bd_score(curves[ANNEX_K], ours),
                "bd_rate_ms_ssim": evaluation.bd_rate(curves[ANNEX_K], ours, "ms_ssim"),
            }

        return run

    def _classify(
        self, variables: Variables, example: Mapping[str, np.ndarray]
    ) -> evaluation.Classify | None:
        if not self.objective.accuracy:
            return None

        def known(images: np.ndarray) -> np.ndarray:
            logits = self._jitted_logits(variables["classifier"], images)
            return np.argmax(np.asarray(logits), -1) == example["label"]

        return known

    @functools.cached_property
    def _jitted_logits(self) -> Callable[..., jax.Array]:
        return jax.jit(self.classifier.logits)

    def _reference(
        self, example: Mapping[str, np.ndarray], classify: evaluation.Classify | None
    ) -> dict[str, list[Point]]:
        """Scores tables that do not change, once for each image."""
        key = int(example["id"])
        if key not in self._known:
            self._known[key] = {
                name: evaluation.curve(example["image"], ladder, self.coding, classify)
                for name, ladder in self._others.items()
            }
        return self._known[key]

    @functools.cached_property
    def _known(self) -> dict[int, dict[str, list[Point]]]:
        return {}

    def summarize(self, outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Mean gains over Annex K, and means of every rate weight."""
        curves = results.mean_curves(outputs)
        weights = self.config.model.rate_weights
        rungs = dict(zip(weights, curves[LEARNED], strict=True))
        bpp = {f"bpp_{weight:g}": point.bpp for weight, point in rungs.items()}
        if self.objective.accuracy:
            gain = evaluation.mean_difference(curves[ANNEX_K], curves[LEARNED], "top1")
            top1 = {f"top1_{weight:g}": point.top1 for weight, point in rungs.items()}
            original = float(np.mean(outputs["top1_original"]))
            return {"bd_top1": gain, "top1_original": original} | bpp | top1
        names = ("bd_rate", "bd_psnr", "bd_rate_ms_ssim")
        gains = {name: _nanmean(outputs[name]) for name in names}
        psnr = {f"psnr_{weight:g}": point.psnr for weight, point in rungs.items()}
        return gains | bpp | psnr

    def pictures(
        self,
        variables: Variables,
        outputs: Mapping[str, np.ndarray],
        source: Source,
        workdir: Path,
    ) -> list[tuple[str, Path]]:
        """Writes the tables, and draws the curves."""
        weights = self.config.model.rate_weights
        for weight, pair in zip(weights, self.tables(variables), strict=True):
            stem = workdir / "tables" / f"rate_weight_{weight:g}"
            tables.write_json(
                stem.with_suffix(".json"),
                pair,
                rate_weight=weight,
                subsampling=self.config.model.subsampling,
            )
            tables.write_qtables(stem.with_suffix(".txt"), pair)
        curves = results.mean_curves(outputs)
        count = len(source)
        title = f"mean of {count} images"
        drawn = [
            (
                f"Rate and distortion of real files, {title}",
                results.write_distortion({title: curves}, workdir),
            )
        ]
        if self.objective.accuracy:
            original = float(np.mean(outputs["top1_original"]))
            path = results.write_accuracy(curves, original, workdir)
            drawn.insert(0, ("Rate and accuracy of real files", path))
        return drawn


def _nanmean(values: np.ndarray) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else math.nan
