"""The modules that a command loads: commands are run often, so they must start fast."""

import subprocess
import sys


def _loaded(*arguments: str) -> set[str]:
    code = (
        "import sys; from jobengine.cli.app import app; "
        f"sys.argv = ['jobengine', *{arguments!r}]; app(standalone_mode=False); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_a_command_loads_neither_the_server_nor_modules_of_other_commands() -> None:
    loaded = _loaded("completion", "bash")
    assert "jobengine.cli.completion" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {"twisted", "klein", "nacl", "werkzeug", "rich"}
    assert not loaded & {
        "jobengine.cli.top",
        "jobengine.cli.queues",
        "jobengine.cli.command_runner",
        "jobengine.worker",
    }
