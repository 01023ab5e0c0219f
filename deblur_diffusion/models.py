"""The two networks of "Deblurring via Stochastic Refinement", and `create`.

A predictor looks at the blurry image once and guesses the sharp one; a denoiser, run
many times, makes what is missing from noise (arXiv 2112.02475, figure 10).
Both are the same U-Net of residual blocks. The body of the paper gives its shape and
the total of 33 million parameters; widths and the number of blocks are from the
supplement as others quote it. In which order the blocks stand was not to be had: this
order agrees with all counts that are known (26, 7 and 33 million, and 28 million of the
network without predictor).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError
from common.models.float_type import float_type
from common.models.remat import remat
from deblur_diffusion.blocks import RESAMPLING, NoiseEncoding, UNet

Array = jax.Array


class Predictor(UNet):
    """g: guesses the sharp image, without noise; `apply(variables, blurry)`.

    Attributes:
      global_skip: add the blurry image to the result; not so in the paper's figure.
    """

    global_skip: bool = False

    @nn.compact
    def __call__(self, blurry: Array, train: bool = False) -> Array:
        """Guesses.

        Args:
          blurry: `[B, H, W, out_channels]`, pixels in [-1, 1].
          train: whether dropout is on.

        Returns:
          float32 of the same shape, not clipped.

        Raises:
          ConfigError: no such images.
        """
        self.check_images(blurry)
        guess = self._run(blurry.astype(self.dtype), None, train)
        return blurry.astype(jnp.float32) + guess if self.global_skip else guess


class Denoiser(UNet):
    """f: finds the noise in a noisy residual, or in a noisy image.

    `apply(variables, z, alpha_bar, blurry)`. It sees the blurry image as further
    channels, not the guess (arXiv 2112.02475, figure 10). `features` is even.
    """

    @nn.compact
    def __call__(
        self, z: Array, alpha_bar: Array, blurry: Array, train: bool = False
    ) -> Array:
        """Finds the noise.

        Args:
          z: `sqrt(alpha_bar) * residual + sqrt(1 - alpha_bar) * noise`,
            `[B, H, W, out_channels]`.
          alpha_bar: the level itself and not the number of a step, so that sampling can
            have other steps than training: floats `[B]` in (0, 1].
          blurry: as `z`, pixels in [-1, 1].
          train: whether dropout is on.

        Returns:
          What in `z` is noise, of unit variance; float32, the shape of `z`.

        Raises:
          ConfigError: other shapes or types.
        """
        self.check_images(blurry)
        if z.shape != blurry.shape:
            raise ConfigError(f"z is {list(z.shape)}, images are {list(blurry.shape)}")
        floats = jnp.issubdtype(alpha_bar.dtype, jnp.floating)
        if alpha_bar.shape != z.shape[:1] or not floats:
            raise ConfigError(
                f"alpha_bar is one float per image, [{len(z)}], given "
                f"{alpha_bar.dtype} {list(alpha_bar.shape)}"
            )
        noise = NoiseEncoding(self.features, name="noise")(alpha_bar)
        parts = [z.astype(self.dtype), blurry.astype(self.dtype)]
        return self._run(jnp.concatenate(parts, axis=-1), noise, train)


class Deblurrer(nn.Module):
    """Predictor and denoiser, trained together as one set of parameters.

    Attributes:
      denoiser: of the noise.
      predictor: of the image; None: the diffusion makes the whole image itself.
    """

    denoiser: Denoiser
    predictor: Predictor | None = None

    @property
    def size_multiple(self) -> int:
        """Sides of images must be multiples of this."""
        return self.denoiser.size_multiple

    @property
    def receptive_radius(self) -> int:
        """See `UNet`; of one call of either network."""
        return self.denoiser.receptive_radius

    def predict(self, blurry: Array, train: bool = False) -> Array:
        """See `Predictor`; zeros where there is none."""
        if self.predictor is not None:
            return self.predictor(blurry, train)
        self.denoiser.check_images(blurry)
        return jnp.zeros(blurry.shape, jnp.float32)

    def denoise(
        self, z: Array, alpha_bar: Array, blurry: Array, train: bool = False
    ) -> Array:
        """See `Denoiser`."""
        return self.denoiser(z, alpha_bar, blurry, train)

    def __call__(self, blurry: Array, train: bool = False) -> tuple[Array, Array]:
        """Runs each network once, to make parameters and to count what they cost.

        Args:
          blurry: `[B, H, W, C]`.
          train: whether dropout is on.

        Returns:
          The guess, and the noise that the denoiser finds in it at the level of half
          the variance; of no use.
        """
        guess = self.predict(blurry, train)
        level = jnp.full(len(blurry), 0.5)
        return guess, self.denoise(guess, level, blurry, train)


# Widths of the published networks; those of "testing" are our choice.
VARIANTS: dict[str, dict[str, Any]] = {
    "residual": {"predictor_features": 64, "denoiser_features": 32},
    "plain": {"denoiser_features": 64},
    "testing": {
        "predictor_features": 4,
        "denoiser_features": 4,
        "multipliers": (1, 1, 1, 1),
        "num_blocks": 1,
    },
}
_OF_THE_PREDICTOR = ("predictor_features", "global_skip")


def create(variant: str = "residual", **overrides: Any) -> Deblurrer:
    """Builds the networks.

    Args:
      variant: "residual", predictor and denoiser of the paper; "plain", the denoiser
        alone that it is compared with (figure 6); "testing", small ones.
      **overrides: `predictor_features`, `denoiser_features`, `global_skip` of the
        predictor, and fields of `UNet`, for both; None leaves the default, `dtype` can
        be a name.

    Raises:
      ConfigError: unknown variant or field, or a value that cannot be.
    """
    if variant not in VARIANTS:
        raise ConfigError(unknown("variant", str(variant), VARIANTS))
    known = {field.name for field in dataclasses.fields(UNet)}
    known = known - {"parent", "name", "features"} | {"denoiser_features"}
    for name in overrides:
        if name not in known and name not in _OF_THE_PREDICTOR:
            choices = known.union(_OF_THE_PREDICTOR)
            raise ConfigError(unknown("field of the networks", name, choices))
    given = {name: value for name, value in overrides.items() if value is not None}
    fields = VARIANTS[variant] | given
    for name, value in fields.items():
        _check_field(name, value)
    fields["dtype"] = float_type(fields.get("dtype", "float32"))
    fields["multipliers"] = tuple(fields.get("multipliers", UNet.multipliers))
    width, skip = (fields.pop(name, None) for name in _OF_THE_PREDICTOR)
    denoiser = Denoiser(fields.pop("denoiser_features"), **fields)
    if "predictor_features" in VARIANTS[variant]:
        predictor = Predictor(width, global_skip=bool(skip), **fields)
        return Deblurrer(denoiser, predictor)
    if width or skip:
        raise ConfigError(f"{variant!r} has no predictor, and nothing of one to set")
    return Deblurrer(denoiser)


def _check_field(name: str, value: Any) -> None:
    """Refuses a value with which nothing could be built."""
    widths = ("predictor_features", "denoiser_features", "num_blocks", "out_channels")
    if name in widths and (type(value) is not int or value < 1):
        raise ConfigError(f"{name} is a whole number from 1 on, given {value!r}")
    if name == "denoiser_features" and value % 2:
        raise ConfigError(f"{name}={value}: sines and cosines need an even number")
    if name == "multipliers" and not (
        isinstance(value, list | tuple)
        and value
        and all(type(item) is int and item > 0 for item in value)
    ):
        raise ConfigError(f"{name} are whole numbers from 1 on, given {value!r}")
    if name in ("skip_rescale", "global_skip") and type(value) is not bool:
        raise ConfigError(f"{name} is True or False, given {value!r}")
    if name == "dropout" and (
        not isinstance(value, int | float) or type(value) is bool or not 0 <= value < 1
    ):
        raise ConfigError(f"{name} is a number in [0, 1), given {value!r}")
    if name == "resampling" and value not in RESAMPLING:
        raise ConfigError(unknown(name, str(value), RESAMPLING))
    if name == "remat":
        remat(nn.Module, str(value))  # refuses an unknown policy
