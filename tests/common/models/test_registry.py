"""Names stand for classifiers, which are imported when they are asked for."""

import subprocess
import sys

import pytest

from common.classification import Classification
from common.errors import ConfigError
from common.models import registry


@pytest.mark.parametrize("name", registry.CLASSIFIERS)
def test_every_name_is_a_classifier(name):
    kind = registry.find(name)
    assert issubclass(kind, Classification)
    assert kind is not Classification


def test_unknown_name_is_answered_with_the_closest():
    with pytest.raises(ConfigError, match=r"classifier 'maxvitt'; did you mean 'maxv"):
        registry.find("maxvitt")


def test_nothing_is_imported_before_it_is_asked_for():
    code = (
        "import sys; from common.models import registry; "
        "packages = {n.split(':')[0].split('.')[0] for n in registry.CLASSIFIERS."
        "values()}; sys.exit(bool({'jax', *packages} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
