"""Published weights from the Hugging Face hub, or from its cache on this machine."""

import re
from pathlib import Path

from common.errors import DataError


def fetch(name: str, file: str) -> Path:
    """Downloads a file of a repository of timm's, unless the cache holds it.

    Environment variables of huggingface_hub apply: `HF_HOME` moves the cache,
    `HF_HUB_OFFLINE=1` forbids the network, `HF_ENDPOINT` names a mirror.

    Args:
      name: of the repository, without its owner.
      file: in it.

    Returns:
      The path in the cache.

    Raises:
      DataError: it is neither there nor to be had.
    """
    import huggingface_hub
    from huggingface_hub import constants

    try:
        return Path(huggingface_hub.hf_hub_download(f"timm/{name}", file))
    except Exception as error:  # Of many types, of several libraries.
        cause = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"no {file} of huggingface.co/timm/{name}: searched the cache "
            f"{constants.HF_HUB_CACHE} and asked {constants.ENDPOINT} ({cause}); or "
            f"download it elsewhere and give timm:PATH/{file}"
        ) from error


def digest(path: Path) -> str | None:
    """Returns the SHA-256 that the hub promised for a file in its cache.

    The cache links to contents that are called by their hash.
    """
    blob = path.resolve().name
    return blob if re.fullmatch(r"[0-9a-f]{64}", blob) else None
