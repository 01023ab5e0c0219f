"""Launches a package with modes of its own that read flags of its own."""

from common import launch

if __name__ == "__main__":
    launch.run(
        package="toy",
        summary="A toy.",
        tasks={"toy": "tests.common.toy:Toy"},
        modes={
            "paint": "tests.common.toy_flags:paint",
            "count": "tests.common.toy_flags:count",
            "table": "tests.common.toy_flags:count",
        },
        experiments={
            "sweep": ("tests.common.toy_flags:sweep", "tests/common/toy_config.py")
        },
        flags="tests.common.toy_flags",
    )
