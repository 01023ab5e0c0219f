"""What makes training data wrong: labels that lie, and pictures that do not show.

Everything is drawn from a seed and fixed before training. The protocols are those of
sibling papers (CIW, arXiv 2111.05428, and the label-noise literature before it); what
arXiv 2104.01493 itself used is not known here.
"""

from __future__ import annotations

import dataclasses
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
    for prefix, count in (("cifar100", 100), ("cifar10", 10), ("mnist", 10)):
        if prefix in kind:
            if num_classes != count:
                raise ConfigError(
                    f"noise {kind} is of {count} classes, the data has {num_classes}"
                )
            break
    if num_classes < 2:
        raise ConfigError("label noise needs at least 2 classes")
    labels = np.asarray(labels, np.int64)
    rng = np.random.default_rng((seed, 0))
    noisy = _LABEL_KINDS[kind](labels, num_classes, rate, rng)
    return NoisyLabels(noisy, noisy != labels)


def check_rate(rate: float) -> None:
    """Refuses what is no share.

    Raises:
      ConfigError: it is not in [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ConfigError(f"a noise rate is in [0, 1], given {rate}")


def _others(
    labels: np.ndarray, num_classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws another class for each label, all equally likely."""
    return (labels + rng.integers(1, num_classes, len(labels))) % num_classes


def _symmetric(labels, num_classes, rate, rng):
    hit = rng.random(len(labels)) < rate
    return np.where(hit, _others(labels, num_classes, rng), labels)


def _resample(labels, num_classes, rate, rng):
    hit = rng.random(len(labels)) < rate
    return np.where(hit, rng.integers(0, num_classes, len(labels)), labels)


def _exact(labels, num_classes, rate, rng):
    hit = exactly(len(labels), rate, rng)
    return np.where(hit, _others(labels, num_classes, rng), labels)


def exactly(count: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Returns a mask `[count]` with `floor(rate count)` of True."""
    mask = np.zeros(count, bool)
    mask[rng.permutation(count)[: int(rate * count)]] = True
    return mask


def _pair(labels, num_classes, rate, rng):
    hit = rng.random(len(labels)) < rate
    return np.where(hit, (labels + 1) % num_classes, labels)


def _look_alike(table: Mapping[int, int]) -> Callable[..., np.ndarray]:
    def apply(labels, num_classes, rate, rng):
        hit = rng.random(len(labels)) < rate
        return np.where(hit, _mapped(labels, num_classes, table), labels)

    return apply


def _mapped(
    labels: np.ndarray, num_classes: int, table: Mapping[int, int]
) -> np.ndarray:
    to = np.arange(num_classes)
    to[list(table)] = list(table.values())
    return to[labels]


def _cifar10_exact(labels, num_classes, rate, rng):
    affected = np.flatnonzero(np.isin(labels, list(_CIFAR10)))
    count = min(int(rate / 2 * len(labels)), len(affected))
    chosen = rng.permutation(affected)[:count]
    noisy = labels.copy()
    noisy[chosen] = _mapped(labels, num_classes, _CIFAR10)[chosen]
    return noisy


def _cifar100(labels, num_classes, rate, rng):
    return _in_superclass(labels, rate, rng, rng.integers(1, 5, len(labels)))


def _cifar100_next(labels, num_classes, rate, rng):
    return _in_superclass(labels, rate, rng, 1)


def _in_superclass(labels, rate, rng, steps):
    """Moves labels so many places among the five of their superclass."""
    members = superclasses()
    row, place = np.zeros(100, int), np.zeros(100, int)
    for number, five in enumerate(members):
        row[five], place[five] = number, np.arange(5)
    moved = members[row[labels], (place[labels] + steps) % 5]
    return np.where(rng.random(len(labels)) < rate, moved, labels)


def superclasses() -> np.ndarray:
    """Returns the labels of CIFAR-100's superclasses, `[20, 5]`, each row sorted."""
    rows = [line.split() for line in _CIFAR100.split("\n") if line]
    names = sorted(name for row in rows for name in row)
    return np.array([sorted(names.index(name) for name in row) for row in rows])


_LABEL_KINDS: dict[str, Callable[..., np.ndarray]] = {
    "symmetric": _symmetric,
    "symmetric_resample": _resample,
    "symmetric_exact": _exact,
    "asymmetric_cifar10": _look_alike(_CIFAR10),
    "asymmetric_cifar10_exact": _cifar10_exact,
    "asymmetric_cifar100": _cifar100,
    "asymmetric_cifar100_next": _cifar100_next,
    "asymmetric_mnist": _look_alike(_MNIST),
    "pair": _pair,
}
LABEL_KINDS = tuple(_LABEL_KINDS)


def corrupt(image: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Returns a spoilt picture of the same size.

    Args:
      image: uint8 `[H, W, 3]`.
      kind: one of `IMAGE_KINDS`. Lengths are for pictures of 32 pixels and grow with
        the shorter side.
        "blur": Gaussian, sigma 1, 2 or 3 pixels.
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


def _blur(image, rng):
    sigma = float(rng.integers(1, 4)) * min(image.shape[:2]) / 32
    return filters.gaussian(_unit(image), sigma)


def _salt_and_pepper(image, rng):
    hit = rng.random(image.shape[:2]) < rng.uniform(0.1, 0.3)
    grain = 255 * rng.integers(0, 2, image.shape[:2], np.uint8)
    return np.where(hit[..., None], grain[..., None], image)


def _random_pixels(image, rng):
    mean, spread = (f(_unit(image), (0, 1)) for f in (np.mean, np.std))
    return mean + spread * rng.standard_normal(image.shape, np.float32)


def _shuffle(image, rng):
    pixels = image.reshape(-1, image.shape[2])
    return pixels[rng.permutation(len(pixels))].reshape(image.shape)


def _occlusion(image, rng):
    height, width = image.shape[:2]
    side = max(min(height, width) // 2, 1)
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    result = image.copy()
    result[top : top + side, left : left + side] = rng.integers(0, 256, 3)
    return result


def _low_resolution(image, rng):
    height, width = image.shape[:2]
    small = (max(width // 4, 1), max(height // 4, 1))
    cv2 = filters.opencv()
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, (width, height), interpolation=cv2.INTER_CUBIC)


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
