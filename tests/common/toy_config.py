"""The toy task as a config file, for runs in processes of their own."""

from tests.common import toy


def get_config(arg=None):
    return toy.get_config()
