"""What makes training data wrong: labels that lie, and pictures that do not show.

Everything is drawn from a seed and fixed before training. The protocols are those of
sibling papers (CIW, arXiv 2111.05428, and the label-noise literature before it); what
arXiv 2104.01493 itself used is not known here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np

from common.config import unknown
from common.data.degradations import GaussianNoise, Jpeg, filters
from common.errors import ConfigError

# CIFAR-10 in its usual order: truck -> automobile, bird -> airplane, deer -> horse,
# cat <-> dog. MNIST: 7 -> 1, 2 -> 7, 3 -> 8, 5 <-> 6. (Patrini 2017, arXiv 1609.03683)
_CIFAR10 = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
_MNIST = {7: 1, 2: 7, 3: 8, 5: 6, 6: 5}

# The classes of CIFAR-100 by superclass (Krizhevsky 2009); a label is the position of
# its name in alphabetical order.
_CIFAR100 = """
beaver dolphin otter seal whale
aquarium_fish flatfish ray shark trout
orchid poppy rose sunflower tulip
bottle bowl can cup plate
apple mushroom orange pear sweet_pepper
clock keyboard lamp telephone television
bed chair couch table wardrobe
bee beetle butterfly caterpillar cockroach
bear leopard lion tiger wolf
bridge castle house road skyscraper
cloud forest mountain plain sea
camel cattle chimpanzee elephant kangaroo
fox porcupine possum raccoon skunk
crab lobster snail spider worm
baby boy girl man woman
crocodile dinosaur lizard snake turtle
hamster mouse rabbit shrew squirrel
maple_tree oak_tree palm_tree pine_tree willow_tree
bicycle bus motorcycle pickup_truck train
lawn_mower rocket streetcar tank tractor
"""


@dataclasses.dataclass(frozen=True)
class NoisyLabels:
    """Labels as training sees them.

    Attributes:
      labels: `[N]`, int64.
      mask: bool `[N]`, True where the label is not the true one.
    """

    labels: np.ndarray
    mask: np.ndarray


def label_noise(
    kind: str, labels: np.ndarray, num_classes: int, rate: float, seed: int
) -> NoisyLabels:
    """Replaces some labels by wrong ones.

    Args:
      kind: one of `LABEL_KINDS`.
        "symmetric": each, with probability `rate`, by one of the other classes.
        "symmetric_resample": by one of all classes, so that `rate (1 - 1 / K)` are
          wrong: of ten classes and 40 %, 36 %.
        "symmetric_exact": exactly `floor(rate N)`, by one of the other classes.
        "asymmetric_cifar10", "asymmetric_mnist": of the classes that have a look-alike
          each, with probability `rate`, by that one.
        "asymmetric_cifar10_exact": exactly `floor(rate / 2 N)` of those, as in CIW.
        "asymmetric_cifar100": by another class of its superclass;
        "asymmetric_cifar100_next": by the next one there, in alphabetical order.
        "pair": by the next class.
      labels: `[N]`, in `[0, num_classes)`.
      num_classes: `K`.
      rate: in [0, 1].
      seed: of all draws.

    Raises:
      ConfigError: unknown kind, a rate out of range, or not the classes of the kind.
    """
    if kind not in _LABEL_KINDS:
        raise ConfigError(unknown("kind of label noise", kind, LABEL_KINDS))
    check_rate(rate)
    rule = _LABEL_KINDS[kind]
    if rule.num_classes not in (None, num_classes):
        raise ConfigError(
            f"config.noise.kind={kind} is of {rule.num_classes} classes, the data has "
            f"{num_classes}"
        )
    if num_classes < 2:
        raise ConfigError(f"label noise needs at least 2 classes, given {num_classes}")
    labels = np.asarray(labels, np.int64)
    rng = np.random.default_rng((seed, 0))
    hit = rule.choose(labels, rate, rng)
    noisy = np.where(hit, rule.replace(labels, num_classes, rng), labels)
    return NoisyLabels(noisy, noisy != labels)


def check_rate(rate: float) -> None:
    """Refuses what is no share.

    Raises:
      ConfigError: it is not in [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ConfigError(f"config.noise.rate must be in [0, 1], given {rate}")


def exactly(count: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Returns a mask `[count]` with `floor(rate count)` of True."""
    mask = np.zeros(count, bool)
    mask[rng.permutation(count)[: _share(rate, count)]] = True
    return mask


def _share(rate: float, count: int) -> int:
    # In floats 0.29 * 100 is below 29.
    return math.floor(rate * count + 1e-9)


def _by_chance(labels: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    return rng.random(len(labels)) < rate


def _exact(labels: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    return exactly(len(labels), rate, rng)


def _exact_of_cifar10(
    labels: np.ndarray, rate: float, rng: np.random.Generator
) -> np.ndarray:
    """Half the rate of all examples, among the half with look-alikes."""
    affected = np.flatnonzero(np.isin(labels, list(_CIFAR10)))
    hit = np.zeros(len(labels), bool)
    hit[rng.permutation(affected)[: _share(rate / 2, len(labels))]] = True
    return hit


def _other_class(
    labels: np.ndarray, num_classes: int, rng: np.random.Generator
) -> np.ndarray:
    return (labels + rng.integers(1, num_classes, len(labels))) % num_classes


def _any_class(
    labels: np.ndarray, num_classes: int, rng: np.random.Generator
) -> np.ndarray:
    return rng.integers(0, num_classes, len(labels))


def _next_class(
    labels: np.ndarray, num_classes: int, rng: np.random.Generator
) -> np.ndarray:
    return (labels + 1) % num_classes


def _look_alike(table: Mapping[int, int]) -> _Replace:
    def replace(
        labels: np.ndarray, num_classes: int, rng: np.random.Generator
    ) -> np.ndarray:
        to = np.arange(num_classes)
        to[list(table)] = list(table.values())
        return to[labels]

    return replace


def _other_relative(
    labels: np.ndarray, num_classes: int, rng: np.random.Generator
) -> np.ndarray:
    return _relative(labels, rng.integers(1, 5, len(labels)))


def _next_relative(
    labels: np.ndarray, num_classes: int, rng: np.random.Generator
) -> np.ndarray:
    return _relative(labels, 1)


def _relative(labels: np.ndarray, steps: np.ndarray | int) -> np.ndarray:
    """Moves labels so many places among the five of their superclass."""
    members = superclasses()
    row, place = np.zeros(100, np.int64), np.zeros(100, np.int64)
    for number, five in enumerate(members):
        row[five], place[five] = number, np.arange(5)
    return members[row[labels], (place[labels] + steps) % 5]


def superclasses() -> np.ndarray:
    """Returns the labels of CIFAR-100's superclasses, `[20, 5]`, each row sorted."""
    rows = [line.split() for line in _CIFAR100.split("\n") if line]
    names = sorted(name for row in rows for name in row)
    return np.array([sorted(names.index(name) for name in row) for row in rows])


_Choose = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
_Replace = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Rule:
    """What one kind of label noise does; `num_classes` where only one number fits."""

    replace: _Replace
    choose: _Choose = _by_chance
    num_classes: int | None = None


_LABEL_KINDS = {
    "symmetric": _Rule(_other_class),
    "symmetric_resample": _Rule(_any_class),
    "symmetric_exact": _Rule(_other_class, _exact),
    "asymmetric_cifar10": _Rule(_look_alike(_CIFAR10), num_classes=10),
    "asymmetric_cifar10_exact": _Rule(_look_alike(_CIFAR10), _exact_of_cifar10, 10),
    "asymmetric_cifar100": _Rule(_other_relative, num_classes=100),
    "asymmetric_cifar100_next": _Rule(_next_relative, num_classes=100),
    "asymmetric_mnist": _Rule(_look_alike(_MNIST), num_classes=10),
    "pair": _Rule(_next_class),
}
LABEL_KINDS = tuple(_LABEL_KINDS)


def corrupt(image: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Returns a spoilt picture of the same size.

    Args:
      image: uint8 `[H, W, 3]`.
      kind: one of `IMAGE_KINDS`.
        "blur": Gaussian, sigma 1, 2 or 3 pixels if the shorter side has 32, and in
          proportion; half of that at least, below which nothing would show.
        "jpeg": quality 5 to 25.
        "gaussian_noise": of a standard deviation of 0.2 to 0.5 of the range.
        "salt_and_pepper": 10 to 30 % of the pixels are black or white.
        "random_pixels": noise of the picture's mean and variance, channel by channel.
        "shuffle": the picture's pixels in another order.
        "occlusion": a square of half the shorter side, of one random colour.
        "low_resolution": made 4 times smaller and large again.
      rng: all randomness comes from it.

    Raises:
      ConfigError: unknown kind.
    """
    if kind not in _IMAGE_KINDS:
        raise ConfigError(unknown("kind of image noise", kind, IMAGE_KINDS))
    result = _IMAGE_KINDS[kind](image, rng)
    if result.dtype == np.uint8:
        return result
    return np.rint(np.clip(result, 0, 1) * 255).astype(np.uint8)


def _unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / np.float32(255)


def _blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    scale = max(min(image.shape[:2]) / 32, 0.5)
    return filters.gaussian(_unit(image), scale * float(rng.integers(1, 4)))


def _salt_and_pepper(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hit = rng.random(image.shape[:2]) < rng.uniform(0.1, 0.3)
    grain = 255 * rng.integers(0, 2, image.shape[:2], np.uint8)
    return np.where(hit[..., None], grain[..., None], image)


def _random_pixels(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean, spread = (f(_unit(image), (0, 1)) for f in (np.mean, np.std))
    return mean + spread * rng.standard_normal(image.shape, np.float32)


def _shuffle(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    pixels = image.reshape(-1, image.shape[2])
    return pixels[rng.permutation(len(pixels))].reshape(image.shape)


def _occlusion(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    side = max(min(height, width) // 2, 1)
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    result = image.copy()
    result[top : top + side, left : left + side] = rng.integers(0, 256, 3)
    return result


def _low_resolution(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    small = (max(width // 4, 1), max(height // 4, 1))
    cv2 = filters.opencv()
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, (width, height), interpolation=cv2.INTER_CUBIC)


# Kinds and strengths are our choice.
_IMAGE_KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "blur": _blur,
    "jpeg": lambda image, rng: Jpeg(quality=(5, 25))(_unit(image), rng),
    "gaussian_noise": lambda image, rng: GaussianNoise(sigma=(0.2 * 255, 0.5 * 255))(
        _unit(image), rng
    ),
    "salt_and_pepper": _salt_and_pepper,
    "random_pixels": _random_pixels,
    "shuffle": _shuffle,
    "occlusion": _occlusion,
    "low_resolution": _low_resolution,
}
IMAGE_KINDS = tuple(_IMAGE_KINDS)
