"""Rate-distortion-accuracy trade-off of JPEG tables (arXiv 2008.00605)."""

import os.path as _path
import sys as _sys
import sysconfig as _sysconfig
from importlib.machinery import PathFinder as _PathFinder

# The standard library has a package of this name, too, since Python 3.14, and gzip, bz2
# and lzma import from it. Where ours is found first, as in a clone, what lies in theirs
# is looked for behind what lies in ours. A standard library that is an archive is found
# on sys.path, as archives of it are there only.
_ours = _path.dirname(_path.realpath(__path__[0]))
_places = [_sysconfig.get_path("stdlib"), *_sys.path]
_theirs = _PathFinder.find_spec(
    __name__, [place for place in _places if _path.realpath(place) != _ours]
)
# A folder without an `__init__` is a name alike, and no package.
if _theirs and _theirs.has_location:
    __path__ += _theirs.submodule_search_locations or []
