"""
Fuzzes one target, from the inputs in one folder, with libFuzzer's options: python -m tests.fuzz.one TARGET FOLDER …

It ends with 77 if the target raised; libFuzzer has then printed the failure, and written its input to a file.
"""

import sys

import atheris

# The fuzzer searches for new branches of these modules, so they are imported under instrumentation.
with atheris.instrument_imports(
    include=["jobengine.storage", "jobengine.tools", "jobengine.wire", "jobengine.http", "twisted.web.http"]
):
    from .targets import TARGETS


def main() -> None:
    """Does not return: libFuzzer ends the process."""
    name, *options = sys.argv[1:]
    # To merge inputs, libFuzzer starts the first of these again, through a shell.
    atheris.Setup([f"{sys.executable} -m tests.fuzz.one {name}", *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
