"""The peer's side of `benchmarks.jpeg_codec`: kornia's codec on PyTorch.

The driver starts it as `PYTHON -m benchmarks.jpeg_codec_peer` with an interpreter that
has torch and kornia; nothing else of this project is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kornia  # pyrefly: ignore[missing-import]
import numpy as np
import torch  # pyrefly: ignore[missing-import]

from benchmarks import side_by_side

# At this quality kornia takes given tables as they are, but for 1/800 of them.
_QUALITY = torch.tensor([50.0])


def build(job: Mapping[str, Any]) -> side_by_side.Program:
    """Returns the program of a job; `benchmarks.jpeg_codec` lists its fields."""
    torch.set_num_threads(job["threads"])
    images = np.load(job["images"])[: job["batch_size"]].transpose(0, 3, 1, 2)
    images = torch.tensor(images / 255, dtype=torch.float32).contiguous()
    tables = torch.tensor(job["tables"], dtype=torch.float32)
    function = kornia.enhance.jpeg_codec_differentiable
    if job["candidate"] == "compiled":
        function = torch.compile(function)
    facts: dict[str, Any] = {"torch": torch.__version__, "kornia": kornia.__version__}

    def codec(images: torch.Tensor, tables: torch.Tensor) -> torch.Tensor:
        return function(images, _QUALITY, tables[0], tables[1])

    if job["measure"] == "agreement":
        decoded = [255 * codec(images, t)[0].permute(1, 2, 0).numpy() for t in tables]
        np.save(job["decoded"], decoded)
        return side_by_side.Program(lambda: None, facts)
    weights = np.random.default_rng(0).standard_normal(
        images.permute(0, 2, 3, 1).shape, np.float32
    )
    weights = torch.tensor(weights).permute(0, 3, 1, 2).contiguous()
    measured = _MEASURES[job["measure"]](codec, images, tables[0], weights)
    facts["checksum"] = float(measured()[0].abs().mean()) * (
        255 if job["measure"] == "forward" else 1
    )

    def run() -> None:
        for _ in range(job["calls"]):
            measured()

    return side_by_side.Program(run, facts)


def _forward(codec, images, tables, weights):
    def forward():
        with torch.inference_mode():
            return (codec(images, tables),)

    return forward


def _gradient(codec, images, tables, weights):
    """Of images and tables, from weights of the decoded pixels."""
    images.requires_grad_()
    tables = tables.clone().requires_grad_()
    return lambda: torch.autograd.grad(codec(images, tables), (images, tables), weights)


_MEASURES = {"forward": _forward, "gradient": _gradient}


if __name__ == "__main__":
    side_by_side.serve(build)
