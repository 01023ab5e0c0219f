"""Whether a compiled program fits into memory, before it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jax

from common import host_memory

# Versions 2 and 1: limit, use, and the name in memory.stat of what can be dropped.
_GROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def needed(program: jax.stages.Compiled) -> int:
    """Bytes that a program takes besides its arguments; 0 where that is not known."""
    stats = program.memory_analysis()
    if stats is None:
        return 0
    return stats.temp_size_in_bytes + stats.output_size_in_bytes


def available(device: jax.Device) -> int | None:
    """Bytes a program could take on a device; None where that is not known."""
    if device.platform == "cpu":
        host_memory.release_freed()  # what the allocator keeps is available, too
        return available_to_host()
    stats = device.memory_stats()
    if not stats or "bytes_limit" not in stats:
        return None
    return stats["bytes_limit"] - stats["bytes_in_use"]


def available_to_host(root: Path = Path("/")) -> int | None:
    """Bytes this process could take; None where that is not known.

    Args:
      root: of the file system; for tests.
    """
    groups = root / "sys/fs/cgroup", root / "sys/fs/cgroup/memory"
    sizes = [_free_of_system(root)]
    sizes += [
        _free_of_group(folder, *names)
        for folder, names in zip(groups, _GROUPS, strict=True)
    ]
    return min((size for size in sizes if size is not None), default=None)


def _free_of_system(root: Path) -> int | None:
    meminfo = root / "proc/meminfo"
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return None
    # What is free is not known, what is built in is.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _free_of_group(folder: Path, limit: str, use: str, droppable: str) -> int | None:
    """What a container's limit leaves; None without one."""
    try:
        most = (folder / limit).read_text().strip()
        if most == "max":
            return None
        used = int((folder / use).read_text())
        stat = (folder / "memory.stat").read_text()
    except OSError:
        return None
    cached = dict(line.split() for line in stat.splitlines()).get(droppable, 0)
    return max(0, int(most) - used + int(cached))
