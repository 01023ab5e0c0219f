import pytest

from maxvit import models
from tests.maxvit.small import filled


@pytest.fixture(scope="session")
def model():
    return models.create("testing", num_classes=10, image_size=64)


@pytest.fixture(scope="session")
def variables(model):
    return filled(model, 64)
