"""One program of `benchmarks.projected_distribution`; the driver starts it.

With the interpreter of the peer nothing of this project is imported but `side_by_side`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import side_by_side


def maps(job: Mapping[str, Any]) -> list[np.ndarray]:
    """Returns two maps as they come from a ReLU, `[B, H, W, C]`, half of them 0."""
    rng = np.random.default_rng(0)
    return [
        np.maximum(rng.standard_normal(job["shape"], np.float32), 0) for _ in range(2)
    ]


def build(job: Mapping[str, Any]) -> side_by_side.Program:
    """Returns the program of a job: value and gradient of the loss of one layer."""
    return _peer(job) if job["candidate"] == "peer" else _ours(job)


def _ours(job: Mapping[str, Any]) -> side_by_side.Program:
    import jax
    import jax.numpy as jnp

    from common.losses.projected_distribution import projected_distribution_loss

    def plain(x: jax.Array, y: jax.Array) -> jax.Array:
        """As one would write it: the library's sort, over the places as they lie."""
        u, v = (maps.reshape(len(maps), -1, maps.shape[-1]) for maps in (x, y))
        return jnp.abs(jnp.sort(u, axis=1) - jnp.sort(v, axis=1)).mean()

    def ours(x: jax.Array, y: jax.Array) -> jax.Array:
        return projected_distribution_loss({"map": x}, {"map": y})[0]

    loss = {"ours": ours, "plain": plain}[job["candidate"]]
    x, y = map(jnp.asarray, maps(job))
    both = jax.jit(jax.value_and_grad(loss))

    def run() -> Any:
        return jax.block_until_ready(both(x, y))

    value, gradient = run()
    facts = {"jax": jax.__version__, "value": float(value)}
    return side_by_side.Program(run, facts | _of(np.asarray(gradient)))


def _peer(job: Mapping[str, Any]) -> side_by_side.Program:
    import torch  # pyrefly: ignore[missing-import]

    torch.set_num_threads(job["threads"])
    # Channels first, as it keeps maps: their places lie together already.
    x, y = (torch.tensor(m.transpose(0, 3, 1, 2).copy()) for m in maps(job))
    x.requires_grad_()

    def run() -> Any:
        u, v = (maps.flatten(2).sort(-1).values for maps in (x, y))
        value = (u - v).abs().mean()
        return value, torch.autograd.grad(value, x)[0]

    value, gradient = run()
    facts = {"torch": torch.__version__, "value": float(value)}
    return side_by_side.Program(run, facts | _of(gradient.numpy()))


def _of(gradient: np.ndarray) -> dict[str, float]:
    """What equal gradients have in common, whatever the order of equal values."""
    return {"gradient": float(np.abs(gradient).sum())}


if __name__ == "__main__":
    side_by_side.serve(build)
