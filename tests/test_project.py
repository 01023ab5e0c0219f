"""The project files agree with the tree and with each other."""

import ast
import pathlib
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]
PAPERS = {
    "maxvit", "maxim", "deblur_diffusion", "resizer", "iqa", "compression",
    "enhancement", "robust",
}  # fmt: skip
FILES = sorted(
    path
    for top in {name.partition(".")[0] for name in PACKAGES}
    for path in (ROOT / top).rglob("*.py")
)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_package_list_is_what_is_there():
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in ROOT.rglob("__init__.py")
        if path.relative_to(ROOT).parts[0] in PAPERS | {"common", "configs"}
    }
    assert found == set(PACKAGES)
    assert {".".join(path.parent.relative_to(ROOT).parts) for path in FILES} == found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way_and_nothing_forbidden_comes_in(path):
    top = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        head = name.partition(".")[0]
        assert head not in {"tensorflow", "torch", "pickle", "cloudpickle"}
        if top == "common" or head in PAPERS:
            assert head not in PAPERS - {top} or top == "configs", name


def test_dependencies_are_bounded():
    for line in PROJECT["project"]["dependencies"]:
        assert ">=" in line, line
        assert ",<" in line, line
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(extras) == {"gpu", "tpu", "geo", "test", "bench", "dev"}


def test_readme_shows_what_make_does():
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for words in (
        "-m maxvit.main --config=configs/maxvit/digits.py --workdir=runs/digits",
        "-m pytest -n 2",
    ):
        assert words in readme
        assert words in makefile
