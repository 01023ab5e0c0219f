"""What the makers publish of the chips a run may be planned for."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator, as its machine contains it.

    Attributes:
      name: of the chip.
      flops: bfloat16 FLOP/s of the matrix units, without sparsity.
      memory: bytes.
      bandwidth: of the memory, bytes/s.
      link: bytes/s that one chip can send inside a pod. Published numbers often add
        both directions; this is one.
      pod: so many chips are joined by `link`: a TPU pod, a GPU node.
      beyond: bytes/s that one chip can send out of its pod; None where no number is
        published per chip.
    """

    name: str
    flops: float
    memory: float
    bandwidth: float
    link: float
    pod: int
    beyond: float | None


_GIB = 2**30

CHIPS = (
    # docs.cloud.google.com/tpu/docs/v4: compute, memory, pod. Links: 6 x 50 GB/s,
    # table 4 of "TPU v4: An Optically Reconfigurable Supercomputer" (2304.01433).
    Chip("TPU v4", 275e12, 32 * _GIB, 1200e9, 300e9, 4096, None),
    # docs.cloud.google.com/tpu/docs/v5e: links 400 GB/s in both directions together;
    # data centre network 6.4 Tbit/s per pod of 256.
    Chip("TPU v5e", 197e12, 16e9, 819e9, 200e9, 256, 6.4e12 / 8 / 256),
    # docs.cloud.google.com/tpu/docs/v5p: links 1200 GB/s in both directions together;
    # data centre network 50 Gbit/s per chip.
    Chip("TPU v5p", 459e12, 95 * _GIB, 2765e9, 600e9, 8960, 50e9 / 8),
    # docs.cloud.google.com/tpu/docs/v6e: links 800 GB/s in both directions together.
    Chip("TPU v6e", 918e12, 32e9, 1638e9, 400e9, 256, None),
    # NVIDIA A100 80GB SXM data sheet: NVLink 600 GB/s in both directions together.
    # DGX A100 data sheet: eight GPUs, 200 Gbit/s of network for each.
    Chip("A100 80GB", 312e12, 80e9, 2039e9, 300e9, 8, 200e9 / 8),
    # NVIDIA H100 SXM data sheet: half of 1979 TFLOP/s, which is with sparsity; NVLink
    # 900 GB/s in both directions together. DGX H100: 400 Gbit/s for each GPU.
    Chip("H100 SXM", 989.5e12, 80e9, 3350e9, 450e9, 8, 400e9 / 8),
    # NVIDIA H200 SXM data sheet: as the H100 but for the memory. DGX H200: the same
    # network as DGX H100.
    Chip("H200 SXM", 989.5e12, 141e9, 4800e9, 450e9, 8, 400e9 / 8),
)
