"""What a server that can't start prints."""

import pytest

from jobengine.daemon.service import Exit, end_early
from jobengine.daemon.settings import BadSetting
from jobengine.storage.errors import WrongSecret


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (WrongSecret("wrong SECRET"), Exit.WRONG_SECRET, "jobengine: wrong SECRET\n"),
        (BadSetting("API_PORT must be"), Exit.BAD_SETTING, "jobengine: API_PORT must be\n"),
        (ValueError(), Exit.COULD_NOT, "jobengine: ValueError\n"),
    ],
)
def test_the_reason_is_printed_or_else_the_class_of_the_error(
    capfd: pytest.CaptureFixture[str], error: Exception, code: Exit, line: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        end_early(error)
    assert (ended.value.code, capfd.readouterr().err) == (code, line)
