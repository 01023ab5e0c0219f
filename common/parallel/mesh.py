"""The device mesh: `data` splits the batch, `fsdp` splits batch and parameters."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from common.errors import ConfigError

AXES = ("data", "fsdp")


def make(
    data: int = -1, fsdp: int = 1, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
    """Returns a `(data, fsdp)` mesh over all devices of all processes.

    The axes are of type Auto: with Explicit axes, the default of `jax.make_mesh`, a
    window partition of a sharded batch is refused.

    Args:
      data: size of the `data` axis, or -1 for what `fsdp` leaves.
      fsdp: size of the `fsdp` axis.
      devices: defaults to `jax.devices()`.

    Raises:
      ConfigError: the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    if data == -1 and count % fsdp == 0:
        data = count // fsdp
    if data * fsdp != count:
        raise ConfigError(
            f"config.mesh.data={data} x config.mesh.fsdp={fsdp} does not match "
            f"the {count} devices"
        )
    return jax.make_mesh(
        (data, fsdp),
        AXES,
        axis_types=(jax.sharding.AxisType.Auto,) * len(AXES),
        devices=devices,
    )
