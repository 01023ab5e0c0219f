"""How far the patches of restored images are from those of their targets, as sets."""

from __future__ import annotations

import math
import threading

import jax
import numpy as np

from common.metrics import distribution
from common.parallel.gather import gather
from common.size import Size, height_width

# Patches at a time, so that one program is enough.
_BATCH = 16


class Patches:
    """FID and KID of patches, over one pass of evaluation.

    Both are biased or noisy below some ten thousand patches; the numbers of two runs
    can be compared when they are of the same images.
    """

    def __init__(self, backbone: str, weights: str, size: Size = 64):
        """Reads the network.

        Args:
          backbone: a key of the registry, e.g. "inception_v3".
          weights: file of its published weights.
          size: of patches: a side, or (height, width).

        Raises:
          ConfigError, DataError: they cannot be read.
        """
        self._size = height_width(size, "the size of patches")
        # What the network was trained on, to which patches are enlarged.
        side = 299 if backbone == "inception_v3" else 224
        variables = distribution.load(backbone, weights, side)
        self._features = distribution.pooled_features(backbone, variables, side)
        self._lock = threading.Lock()
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, image: np.ndarray, target: np.ndarray) -> None:
        """Takes an image and its target, float32 `[H, W, 3]` in [0, 1].

        Images smaller than a patch are left out.
        """
        height, width = self._size
        if image.shape[0] < height or image.shape[1] < width:
            return
        ours, theirs = (self._describe(x) for x in (image, target))
        with self._lock:  # devices work side by side
            self._seen.append((ours, theirs))

    def _describe(self, image: np.ndarray) -> np.ndarray:
        patches = distribution.patches(image[None], self._size)
        found = []
        for start in range(0, len(patches), _BATCH):
            batch = patches[start : start + _BATCH]
            rest = _BATCH - len(batch)
            padded = np.pad(batch, ((0, rest), (0, 0), (0, 0), (0, 0)))
            found.append(self._features(padded)[: len(batch)])
        return np.concatenate(found)

    def summarize(self) -> dict[str, float]:
        """Returns "patch_fid" and "patch_kid" of what was added, and forgets it.

        All processes must call. Nothing where there are fewer than two patches.
        """
        seen, self._seen = self._seen, []
        if jax.process_count() > 1:
            lists = [[ours.tolist(), theirs.tolist()] for ours, theirs in seen]
            seen = [
                (np.asarray(ours, np.float32), np.asarray(theirs, np.float32))
                for some in gather(lists)
                for ours, theirs in some
            ]
        if sum(len(ours) for ours, _ in seen) < 2:
            return {}
        ours, theirs = (np.concatenate(which) for which in zip(*seen, strict=True))
        if not np.isfinite(ours).all():  # a run that diverged says so elsewhere
            return {"patch_fid": math.nan, "patch_kid": math.nan}
        return {
            "patch_fid": distribution.fid(ours, theirs),
            "patch_kid": distribution.kid(ours, theirs).mean,
        }
