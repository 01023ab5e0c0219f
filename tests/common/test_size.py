"""One number or a pair, and nothing else."""

import pytest

from common.errors import ConfigError
from common.size import height_width


def test_number_and_pair():
    assert height_width(7) == (7, 7)
    assert height_width((3, 5)) == (3, 5)
    assert height_width([3, 5]) == (3, 5)


@pytest.mark.parametrize(
    "size", [0, -1, 7.0, "7", (7,), (7, 7, 7), (7, 0), (7, True), True, None]
)
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(ConfigError, match="positive integer or"):
        height_width(size)


def test_the_message_names_what_was_given():
    with pytest.raises(ConfigError, match=r"^config\.x is a positive .* given 'abc'$"):
        height_width("abc", "config.x")
