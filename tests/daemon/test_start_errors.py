"""What a server that can't start prints."""

import errno

import pytest

from jobengine.daemon.service import Exit, about_database, end_early
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
def test_an_error_at_the_start_is_printed_by_its_text_or_if_it_has_none_by_its_class(
    capfd: pytest.CaptureFixture[str], error: Exception, code: Exit, line: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        end_early(error)
    assert (ended.value.code, capfd.readouterr().err) == (code, line)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.EROFS, "its file system is read-only: mount it for writing or, under a systemd unit with"),
        (errno.ENOSPC, "free some space on its disk"),
        (errno.EACCES, "check DB_PATH, and its owner"),
    ],
)
def test_the_error_for_a_database_that_can_not_be_opened_has_advice_for_its_cause(code: int, advice: str) -> None:
    error = OSError(code, "no", "/srv/db")
    said = str(about_database(error))
    assert said.startswith(f"the database can't be opened or made; {advice}")
    assert said.endswith(str(error))
