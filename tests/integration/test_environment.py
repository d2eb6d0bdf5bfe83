import os
import subprocess
import sys

from .daemons import ROOT

#: Variables that a user sets while following the README, and may still have when running tests; and kinds of terminals.
OF_A_USER = {
    "JOBENGINE_URL": "http://127.0.0.1:1",
    "JOBENGINE_ACCESS_KEY": "mine",
    "JOBENGINE_PROFILE": "none",
    "SECRET": "mine",
    "API_PORT": "x",
    "NO_COLOR": "1",
    "COLUMNS": "20",
    "TERM": "dumb",
}


def test_jobengine_settings_in_the_environment_make_no_test_fail() -> None:
    server = "tests/integration/test_start.py::test_ctrl_c_and_hang_up_stop_the_server_in_an_orderly_way"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/cli/test_layout.py", "tests/client/test_settings.py", server],
        cwd=ROOT,
        env={**os.environ, **OF_A_USER},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
