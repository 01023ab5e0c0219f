"""The peer's side of `benchmarks.maxvit`: timm's MaxViT on PyTorch.

The driver starts it as `PYTHON -m benchmarks.maxvit_peer` with an interpreter that has
torch and timm; nothing else of this project is imported.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch  # pyrefly: ignore[missing-import]

from benchmarks import side_by_side

# Arguments of timm on top of its `maxvit_tiny_tf_224`.
VARIANTS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "testing": {
        "stem_width": 8,
        "depths": (1, 1, 2, 1),
        "embed_dim": (8, 16, 32, 48),
        "transformer_dim_head": 8,
        "head_hidden_size": 48,
    },
}


def import_timm() -> Any:
    """Imports timm, which imports torchvision, though its models use none of it.

    torchvision's default build is for CUDA and does not load beside a torch for CPU.
    Then it fails at its first operator; two operators that exist and do nothing let
    the rest be imported.
    """
    try:
        return importlib.import_module("timm")
    except RuntimeError:
        for name in list(sys.modules):
            if name.partition(".")[0] in ("torchvision", "timm"):
                del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(
                f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        _LIBRARIES.append(library)
        return importlib.import_module("timm")


_LIBRARIES: list[Any] = []  # a library's operators go when it is collected


def build(job: Mapping[str, Any]) -> side_by_side.Program:
    """Returns the program of a job; `benchmarks.maxvit` lists its fields."""
    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    device = torch.device("cuda" if job["platform"] == "gpu" else "cpu")
    run, facts = _MEASURES[job["measure"]](job, device)

    def finished() -> None:
        for _ in range(job["calls"]):
            run()
        if device.type == "cuda":
            torch.cuda.synchronize()

    versions = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if "timm" in sys.modules:
        versions["timm"] = sys.modules["timm"].__version__
    if device.type == "cuda":
        versions["device"] = torch.cuda.get_device_name()
    peak = torch.cuda.max_memory_allocated if device.type == "cuda" else None
    return side_by_side.Program(finished, {**facts, **versions}, peak)


def _matmul(job, device) -> tuple[Callable[[], Any], dict[str, Any]]:
    shape = (job["size"], job["size"])
    a, b = (torch.randn(shape, device=device, dtype=_dtype(job)) for _ in range(2))
    return lambda: a @ b, {"flops": 2 * job["size"] ** 3}


def _forward(job, device) -> tuple[Callable[[], Any], dict[str, Any]]:
    model, images, _ = _model(job, device)
    # Inference needs no float32 master weights.
    model, images = model.eval().to(_dtype(job)), images.to(_dtype(job))
    run = _compiled(model, job)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return run(images)

    return forward, _facts(model)


def _training(job, device) -> tuple[Callable[[], Any], dict[str, Any]]:
    model, images, labels = _model(job, device)
    run = _compiled(model.train(), job)
    # The fused form is the fastest that PyTorch has.
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=job["rate"], weight_decay=job["decay"], fused=True
    )
    low = _dtype(job) != torch.float32

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            logits = run(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step, _facts(model)


_MEASURES = {"forward": _forward, "training": _training, "matmul": _matmul}


def _model(job, device) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """Returns the model with random weights, images and labels."""
    model = import_timm().create_model(
        "maxvit_tiny_tf_224",
        pretrained=False,
        img_size=job["image_size"],
        drop_path_rate=0.0,
        **VARIANTS[job["variant"]],
    )
    size = job["image_size"]
    images = torch.randn(job["batch_size"], 3, size, size, device=device)
    labels = torch.randint(0, 1000, (job["batch_size"],), device=device)
    model = model.to(device)
    if "channels-last" in job["candidate"]:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    return model, images, labels


def _compiled(model: Any, job: Mapping[str, Any]) -> Any:
    if "frozen" in job["candidate"]:
        # Folds constants such as batch norm into the weights; for inference only.
        inductor: Any = importlib.import_module("torch._inductor.config")
        inductor.freezing = True
    return torch.compile(model) if "compiled" in job["candidate"] else model


def _dtype(job: Mapping[str, Any]) -> torch.dtype:
    return getattr(torch, job["dtype"])


def _facts(model: Any) -> dict[str, Any]:
    return {"parameters": sum(p.numel() for p in model.parameters())}


if __name__ == "__main__":
    side_by_side.serve(build)
