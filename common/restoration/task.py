"""Restoration as a task: any network that maps degraded images to clean ones.

A package derives from `Restoration` and brings its network and its loss. Here are the
data (stored pairs, or clean images that are degraded as they are read), whole-image
evaluation, scores per image, and pictures. Training sees crops, evaluation sees every
image whole, in its own size.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from ml_collections import config_dict

from common import config as configs
from common.data import degradations, paired_transforms, sources
from common.data.normalization import to_unit
from common.data.sources import Source
from common.errors import ConfigError
from common.metrics import image as metrics
from common.restoration import baselines, measures, results
from common.restoration.inference import Restorer
from common.restoration.patches import Patches
from common.restoration.results import Published
from common.size import height_width
from common.task import Monitor, Task, Variables

_CHANNELS = ("rgb", "y")


def default_config() -> ml_collections.ConfigDict:
    """Returns the shared defaults with the fields of restoration."""
    config = configs.default()
    config.task = "restoration"
    config.data.image_size = 256  # of training crops
    config.data.pairs = True  # unless a degradation makes them
    config.augment.flip = True
    config.augment.rotate = True
    config.degradation = ml_collections.ConfigDict()
    config.degradation.name = ""  # of clean images, see common.data.degradations
    config.degradation.parameters = ml_collections.ConfigDict()
    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.channels = "rgb"  # or y: luma, as deraining is scored
    # One side or (height, width) of the centre to score; None: the whole image.
    config.evaluation.crop = config_dict.placeholder(object)
    config.evaluation.border = 0  # pixels at each side that are not scored
    config.evaluation.test_set = ""  # its name in tables, to find what is published
    config.evaluation.baseline = ""  # a key of `baselines.BASELINES`, scored beside
    # Files of weights, or "": not measured. Of lpips also "random": a distance by a
    # network that learned nothing, for runs without weights.
    config.evaluation.lpips = ""
    config.evaluation.lpips_net = "alex"
    config.evaluation.dists = ""
    config.evaluation.niqe = ""
    config.evaluation.fid = ""  # of patches, as KID
    config.evaluation.fid_backbone = "inception_v3"
    # One side or (height, width); 64 is our choice, usual where images are few.
    config.evaluation.fid_patch = config_dict.FieldReference(64, field_type=object)
    return config


def measure_nothing(config: ml_collections.ConfigDict) -> None:
    """Leaves out of an evaluation what needs further networks."""
    for name in ("lpips", "dists", "niqe", "fid"):
        config.evaluation[name] = ""


class Restoration(Task):
    """Restoration of images, scored by PSNR and SSIM."""

    monitor = Monitor("psnr", "max")
    one_by_one = True

    def __init__(self, config: ml_collections.ConfigDict):
        """Checks the config's fields of restoration.

        Raises:
          ConfigError: one of them is unknown or out of range.
        """
        super().__init__(config)
        channels = config.evaluation.channels
        if channels not in _CHANNELS:
            raise ConfigError(
                configs.unknown("config.evaluation.channels", channels, _CHANNELS)
            )
        height, width = height_width(config.data.image_size, "config.data.image_size")
        if config.augment.rotate and height != width:
            raise ConfigError(
                f"crops of {height} x {width} cannot be turned by 90 degrees: set "
                "config.augment.rotate=False"
            )
        sections = ("evaluation", "degradation")
        configs.check_sections(config, self.defaults(), sections)
        self._check_source()
        border, crop = config.evaluation.border, config.evaluation.crop
        if border < 0:
            raise ConfigError(f"config.evaluation.border={border} must be at least 0")
        if crop is not None:
            sides = height_width(crop, "config.evaluation.crop")
            if 2 * border >= min(sides):
                raise ConfigError(
                    f"config.evaluation.border={border} leaves nothing of a crop of "
                    f"{crop}"
                )
        measures.check(config.evaluation)
        if any(side % self.multiple for side in (height, width)):
            raise ConfigError(
                f"config.data.image_size={config.data.image_size} must be a multiple "
                f"of {self.multiple}, as the degradation asks"
            )
        if config.evaluation.baseline:
            baselines.check(config.evaluation.baseline, self._degradation)
        for split in ("train", "eval"):
            self.transforms(split)  # their constructors check the rest

    @staticmethod
    def defaults() -> ml_collections.ConfigDict:
        """Returns the fields that a config of this task has."""
        return default_config()

    def _check_source(self) -> None:
        """Refuses pairs that would be degraded, and clean images that would not."""
        source, name = self.config.data.source, self.config.degradation.name
        if name and source == "paired":
            raise ConfigError(
                f"config.degradation.name={name} is for clean images, and "
                "config.data.source=paired holds degraded ones already"
            )
        if not name and source not in ("paired", "fake"):
            raise ConfigError(
                f"config.data.source={source} holds clean images: set "
                "config.degradation.name"
            )
        self.config.data.pairs = not name

    @abc.abstractmethod
    def restorer(self, variables: Variables, bfloat16: bool = False) -> Restorer:
        """Binds the network to variables, for images of any size."""

    def published(self) -> Sequence[Published]:
        """Returns published scores of the evaluation data; none by default."""
        return ()

    @functools.cached_property
    def _degradation(self) -> degradations.Degradation | None:
        given = self.config.degradation
        return self.make_degradation(given) if given.name else None

    def make_degradation(
        self, given: ml_collections.ConfigDict
    ) -> degradations.Degradation:
        """Returns what `config.degradation` names; a package can know further ones.

        Raises:
          ConfigError: it cannot be.
        """
        return degradations.create(given.name, **given.parameters.to_dict())

    def degradation(self, split: str) -> degradations.Degradation:
        """Returns what makes pairs of a split's clean images; the same for both."""
        del split
        assert self._degradation is not None
        return self._degradation

    @property
    def scale(self) -> int:
        """How many times the sides of an input its target has."""
        return self._degradation.scale if self._degradation else 1

    @property
    def multiple(self) -> int:
        """What the sides of training crops must be multiples of."""
        return self._degradation.multiple if self._degradation else 1

    def source(self, split: str, data_dir: str | None) -> Source:
        """Opens stored pairs, or clean images."""
        return sources.open_source(self.config.data, split, data_dir)

    def transforms(self, split: str) -> Sequence[Any]:
        """Crops and turns in training; where images are clean, degrades them.

        Evaluation degrades each image in the same way every time.
        """
        chain: list[Any] = []
        if split == "train":
            augment = self.config.augment
            chain.append(paired_transforms.RandomCrop(self.config.data.image_size))
            if augment.flip or augment.rotate:
                turn = paired_transforms.RandomOrientation(augment.flip, augment.rotate)
                chain.append(turn)
        elif self.config.evaluation.crop is not None:
            size = self.config.evaluation.crop
            height_width(size, "config.evaluation.crop")
            chain.append(paired_transforms.CenterCrop(size))
        if self._degradation is not None:
            chain.append(degradations.Degrade(self.degradation(split)))
        return [*chain, paired_transforms.ToArrays()]

    def batch_spec(self, size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """uint8 pairs with id; made degradations are float32 in [0, 1]."""
        height, width = height_width(self.config.data.image_size)
        small = (size, height // self.scale, width // self.scale, 3)
        stored = self._degradation is None
        return {
            "image": jax.ShapeDtypeStruct(small, jnp.uint8 if stored else jnp.float32),
            "target": jax.ShapeDtypeStruct((size, height, width, 3), jnp.uint8),
            "id": jax.ShapeDtypeStruct((size,), jnp.int32),
        }

    def evaluator(
        self, variables: Variables
    ) -> Callable[[Mapping[str, np.ndarray]], dict[str, float]]:
        """Scores one image; see `score` for what the names mean."""
        restorer = self._shared_restorer.with_variables(variables)
        # Made before devices work side by side.
        _ = self._measures, self._patches

        def run(example: Mapping[str, np.ndarray]) -> dict[str, float]:
            image = to_unit(example["image"])
            scores = self.score(restorer(image), example["target"])
            given = self._psnr(results.enlarge(image, self.scale), example["target"])
            return scores | {"psnr_input": given} | self._baseline(example)

        return run

    def summarize(self, outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Means over the images, and distances of the sets of their patches."""
        found = results.means(outputs)
        return found | self._patches.summarize() if self._patches else found

    def pictures(
        self,
        variables: Variables,
        outputs: Mapping[str, np.ndarray],
        source: Source,
        workdir: Path,
    ) -> list[tuple[str, Path]]:
        """Writes the scores, and draws the worst, median and best images."""
        # Where evaluation had them, so that its programs serve again.
        variables = jax.device_put(variables, jax.local_devices()[0])
        results.write_scores(outputs, source, workdir)
        results.write_table(results.means(outputs), self.published(), workdir)
        restorer = self._shared_restorer.with_variables(variables)
        return results.draw(outputs, source, self.transforms("eval"), restorer, workdir)

    def inference(self, variables: Variables) -> Callable[[jax.Array], jax.Array]:
        """uint8 or float images `[B, H, W, 3]`, of the size of training crops."""
        apply = self._shared_restorer.apply
        return lambda images: apply(variables, to_unit(images))

    def predict_words(self, example: Path, workdir: Path) -> list[str]:
        """Flags to try the result."""
        return [f"--input={example}", f"--output={workdir / 'restored'}"]

    @functools.cached_property
    def _shared_restorer(self) -> Restorer:
        """Keeps what was compiled from one evaluation to the next."""
        return self.restorer({})

    def _baseline(self, example: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores another method, once for each image."""
        name = self.config.evaluation.baseline
        if not name:
            return {}
        key = int(example["id"])
        if key not in self._baselines:
            image = results.enlarge(to_unit(example["image"]), self.scale)
            restored = baselines.run(name, image, self._degradation)
            self._baselines[key] = self._psnr(restored, example["target"])
        return {f"psnr_{name}": self._baselines[key]}

    @functools.cached_property
    def _baselines(self) -> dict[int, float]:
        return {}

    def score(self, image: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Compares an image in [0, 1] with its target of bytes, in both protocols.

        `psnr` and `ssim` are of the values as they come, neither clipped nor rounded,
        as MAXIM's evaluation script scores. `psnr_8bit` and `ssim_8bit` are of the
        bytes that script saves, cut and not rounded, in which published tables were
        scored. The others are those of `measures.create`, of the whole image.
        """
        found = {}
        for suffix, rounding in (("", "float"), ("_8bit", "truncate")):
            pair = self._scored(image, target, rounding)
            found[f"psnr{suffix}"] = metrics.psnr(*pair)
            found[f"ssim{suffix}"] = metrics.ssim(*pair)
        if self._patches:
            seen = np.clip(image, 0, 1).astype(np.float32)
            self._patches.add(seen, np.asarray(to_unit(target)))
        return found | measures.apply(self._measures, image, target)

    @functools.cached_property
    def _measures(self) -> dict[str, measures.Measure]:
        return measures.create(self.config.evaluation)

    @functools.cached_property
    def _patches(self) -> Patches | None:
        evaluation = self.config.evaluation
        if not evaluation.fid:
            return None
        return Patches(evaluation.fid_backbone, evaluation.fid, evaluation.fid_patch)

    def _psnr(self, image: np.ndarray, target: np.ndarray) -> float:
        return metrics.psnr(*self._scored(image, target, "float"))

    def _scored(
        self, image: np.ndarray, target: np.ndarray, rounding: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns both on the scale [0, 255], in what of them is scored."""
        border = self.config.evaluation.border
        if border and min(target.shape[:2]) > 2 * border:
            inner = slice(border, -border)
            image, target = image[inner, inner], target[inner, inner]
        ours = metrics.to_bytes(image, rounding)
        if self.config.evaluation.channels == "rgb":
            return ours, target
        rounded = rounding != "float"
        ours, theirs = (metrics.rgb_to_y(x, rounded=rounded) for x in (ours, target))
        return ours, theirs


def training_psnr(restored: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the PSNR `[B]` of `[B, H, W, C]` on the scale [0, 1]."""
    square = jnp.square(restored.astype(jnp.float32) - target)
    # Equal images have a large number in place of infinity.
    mean = jnp.maximum(jnp.mean(square, axis=(1, 2, 3)), 1e-12)
    return -10 / math.log(10) * jnp.log(mean)
