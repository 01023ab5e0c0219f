"""What a function costs, counted in its jaxpr: nothing is compiled or run.

Only matrix products and convolutions count, as papers do; sums, norms, activations
and lookups are left out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax.extend import core


@dataclasses.dataclass(frozen=True)
class Cost:
    """Sums over all matrix products and convolutions of a function.

    Attributes:
      multiply_adds: products that are summed; twice as many FLOPs. Padding counts as
        input, the zeros that spread the gradient of a strided convolution do not.
      activations: elements of the results, the measure of fvcore and timm.
    """

    multiply_adds: int = 0
    activations: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.multiply_adds + other.multiply_adds,
            self.activations + other.activations,
        )

    def __mul__(self, times: int) -> Cost:
        return Cost(self.multiply_adds * times, self.activations * times)


def count(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Cost:
    """Counts one call.

    Args:
      function: of arrays; traced, not run.
      *args: arrays or `jax.ShapeDtypeStruct`s.
      **kwargs: the same.

    Returns:
      The cost. Loops count as often as they turn, but a while loop, whose number of
      turns is not known, once. Of alternatives (`lax.cond`, `lax.switch`,
      `lax.platform_dependent`) the costliest counts.
    """
    return of_jaxpr(jax.make_jaxpr(function)(*args, **kwargs).jaxpr)


def of_model(model: nn.Module, images: jax.ShapeDtypeStruct) -> tuple[int, Cost]:
    """Counts the parameters of a model and one call of it, from one trace.

    Args:
      model: a Linen module of images.
      images: one batch, abstract.
    """
    # Initialising runs the model once; drawing the weights multiplies nothing.
    jaxpr, variables = jax.make_jaxpr(model.init, return_shape=True)(
        jax.eval_shape(lambda: jax.random.key(0)), images
    )
    sizes = [math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])]
    return sum(sizes), of_jaxpr(jaxpr.jaxpr)


def of_jaxpr(jaxpr: core.Jaxpr) -> Cost:
    """Counts one run of a jaxpr, see `count`."""
    return sum(map(_equation, jaxpr.eqns), Cost())


def _equation(equation: core.JaxprEqn) -> Cost:
    name = equation.primitive.name
    if name in _COUNTED:
        size = math.prod(_shape(equation.outvars[0]))
        return Cost(round(size * _COUNTED[name](equation)), size)
    return sum(map(of_jaxpr, inner(equation)), Cost()) * turns(equation)


def turns(equation: core.JaxprEqn) -> int:
    """Returns how often an equation runs its inner jaxprs; 1 if that is not known."""
    return equation.params["length"] if equation.primitive.name == "scan" else 1


def inner(equation: core.JaxprEqn) -> list[core.Jaxpr]:
    """Returns the jaxprs that an equation runs: of alternatives the costliest.

    `lax.platform_dependent` is a choice between alternatives too: a library's
    convolution counts rather than what replaces it on some platform.
    """
    found = list(core.jaxprs_in_params(equation.params))
    if equation.primitive.name == "cond":
        return [max(found, key=lambda jaxpr: of_jaxpr(jaxpr).multiply_adds)]
    return found


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _dot_terms(equation: core.JaxprEqn) -> float:
    """Products that go into one element of the result."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = _shape(equation.invars[0])
    return math.prod(shape[axis] for axis in contracted)


def _conv_terms(equation: core.JaxprEqn) -> float:
    """Kernel elements per result; the kernel's second axis counts inputs per group."""
    _, inputs, *spatial = equation.params["dimension_numbers"].rhs_spec
    shape = _shape(equation.invars[1])
    taps = math.prod(shape[axis] for axis in (inputs, *spatial))
    # Of a map that is spread with zeros, so much less meets a tap.
    return taps / math.prod(equation.params["lhs_dilation"])


_COUNTED = {"dot_general": _dot_terms, "conv_general_dilated": _conv_terms}
