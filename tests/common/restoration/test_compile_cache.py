"""Where compiled programs are kept; that they are is tested with the command."""

import jax
import pytest

from common.restoration import compile_cache


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Calls `use` and returns the folder that JAX has then."""
    name = "jax_compilation_cache_dir"
    before = jax.config.values[name]

    def call(chosen=None, cache=tmp_path):
        monkeypatch.setenv("MULTIAXIS_CACHE", str(cache))
        jax.config.update(name, chosen)
        compile_cache.use()
        return jax.config.values[name]

    yield call
    jax.config.update(name, before)


def test_a_folder_for_this_kind_of_machine(folder, tmp_path, monkeypatch):
    here = folder()
    assert here == folder()
    assert here.startswith(f"{tmp_path}/xla/")
    monkeypatch.setattr(compile_cache.platform, "machine", lambda: "other")
    assert folder() != here


def test_what_was_chosen_stays(folder):
    assert folder("/chosen/before") == "/chosen/before"


def test_it_works_without(folder, tmp_path):
    (tmp_path / "file").write_text("")
    assert folder(cache=tmp_path / "file") is None
