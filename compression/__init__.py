"""Rate-distortion-accuracy trade-off of JPEG tables (arXiv 2008.00605)."""

import sys as _sys
import sysconfig as _sysconfig
from importlib.machinery import PathFinder as _PathFinder

# The standard library has a package of this name, too, since Python 3.14, and gzip, bz2
# and lzma import from it. Where ours is found first, as in a clone, what is not in ours
# is looked for in theirs. An embedded interpreter has its library in an archive.
_archives = [place for place in _sys.path if place.endswith(".zip")]
_theirs = _PathFinder.find_spec(__name__, [_sysconfig.get_path("stdlib"), *_archives])
if _theirs and _theirs.has_location:
    __path__ += _theirs.submodule_search_locations or []
