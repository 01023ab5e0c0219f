"""Python 3.14 has a package `compression`, too; before, a stand-in takes its place."""

import os
import pathlib
import subprocess
import sys
import sysconfig
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = ROOT / "compression"
STDLIB = pathlib.Path(sysconfig.get_path("stdlib"))
IN_PREFIX = STDLIB.relative_to(sys.base_prefix)
HAS_PACKAGE = "compression" in sys.stdlib_module_names
# What there is in Python 3.14.
MODULES = {"_common", "bz2", "gzip", "lzma", "zlib", "zstd"}
# A part of that, and a module that has the name of one of ours.
STAND_IN = {
    "compression/__init__.py": "",
    "compression/_common/__init__.py": "",
    "compression/_common/_streams.py": "BUFFER_SIZE = 8192\n",
    "compression/gzip.py": "from gzip import *\n",
    "compression/names.py": "raise AssertionError('not ours')\n",
}
USE = """
import gzip
assert gzip.decompress(gzip.compress(b"words")) == b"words"
import compression, compression.gzip
print(compression.__file__, compression.gzip.__file__, sep="\\n")
"""
USE_BOTH = USE + "import compression.names; print(compression.names.__file__)"


def make_home(home, archive):
    """Fills the prefix of an installation, whose standard library has the package.

    Everything else links to the library that runs this. With `archive` the package is
    in a zip file, as the whole library of embedded interpreters is.
    """
    folder = home / IN_PREFIX
    folder.mkdir(parents=True)
    for path in STDLIB.iterdir():
        if path.name not in ("gzip.py", "site-packages"):
            (folder / path.name).symlink_to(path)
    source = (STDLIB / "gzip.py").read_text()
    source += "\nfrom compression._common import _streams\n"
    (folder / "gzip.py").write_text(source)
    if archive:
        version = "{}{}".format(*sys.version_info)
        with zipfile.ZipFile(folder.parent / f"python{version}.zip", "w") as file:
            for name, text in STAND_IN.items():
                file.writestr(name, text)
    else:
        for name, text in STAND_IN.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)


@pytest.fixture(
    scope="module",
    params=["real"] if HAS_PACKAGE else ["folder", "archive"],
)
def home(request, tmp_path_factory):
    """Returns the prefix of an interpreter whose standard library has the package."""
    if request.param == "real":
        return pathlib.Path(sys.base_prefix)
    home = tmp_path_factory.mktemp(request.param)
    make_home(home, request.param == "archive")
    return home


def run(code, cwd, home=None, path=None):
    """Returns the lines that a new interpreter prints."""
    env = {name: os.environ[name] for name in os.environ if name[:6] != "PYTHON"}
    if home:
        env["PYTHONHOME"] = str(home)
    if path:
        env["PYTHONPATH"] = os.pathsep.join(map(str, path))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_from_the_root_ours_is_found_first_and_hides_nothing(home):
    package, theirs, ours = run(USE_BOTH, ROOT, home)
    assert package == str(OURS / "__init__.py")
    assert ours == str(OURS / "names.py")
    assert theirs.startswith(str(home))


def test_elsewhere_ours_can_be_put_first(home, tmp_path):
    package, theirs, ours = run(USE_BOTH, tmp_path, home, [ROOT])
    assert package == str(OURS / "__init__.py")
    assert ours == str(OURS / "names.py")
    assert theirs.startswith(str(home))


def test_elsewhere_the_other_is_left_alone(home, tmp_path):
    package, theirs = run(USE, tmp_path, home)
    assert package.startswith(str(home))
    assert theirs.startswith(str(home))


@pytest.mark.parametrize("files", [[], ["__init__.py", "gzip.py"]])
def test_no_other_folder_of_that_name_is_taken(home, files, tmp_path):
    (tmp_path / "compression").mkdir()
    for name in files:
        (tmp_path / "compression" / name).touch()
    code = USE + "print(len(compression.__path__))"
    package, theirs, count = run(code, ROOT, home, [tmp_path])
    assert package == str(OURS / "__init__.py")
    assert theirs.startswith(str(home))
    assert count == "2"


@pytest.mark.skipif(HAS_PACKAGE, reason="it always has a second folder")
def test_without_the_other_there_is_one_folder(tmp_path):
    where = "import compression; print(*compression.__path__, sep='\\n')"
    assert run(where, ROOT) == [str(OURS)]
    assert run(where, tmp_path, path=[ROOT]) == [str(OURS)]


def test_no_module_of_ours_has_the_name_of_one_of_theirs():
    assert MODULES.isdisjoint({path.stem for path in OURS.iterdir()})
