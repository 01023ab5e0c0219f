"""Published weights of other frameworks as our variables, and back.

`python -m maxvit.convert --help` does it for files.
"""

from maxvit.convert.tensorflow import from_tensorflow
from maxvit.convert.timm import from_timm, to_timm

__all__ = ["from_tensorflow", "from_timm", "to_timm"]
