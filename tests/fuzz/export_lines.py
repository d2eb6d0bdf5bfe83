"""`jobengine db import`: lines are refused, or make a database that opens and equals the import of its own export."""

from jobengine.tools.exporting import export
from jobengine.tools.importing import BadExport, Imported, import_lines
from tests.doubles import QUICK_KDF, SECRET
from tests.storage.simulated_files import SimulatedFiles
from tests.tools.databases import tables, whole_state

_LINES = "/data/lines"
_MADE = "/data/made"
_AGAIN = "/data/again"
_MADE_AGAIN = "/data/made-again"


def export_lines(data: bytes) -> None:
    """The data are the lines."""
    files = SimulatedFiles(disk={_LINES: data})
    made = _imported(files, _LINES, _MADE)
    if made is None:
        assert list(files.now()) == [_LINES]
        return
    found = tables(files, _MADE)
    sizes = [table.size() for table in found.queues.values()]
    assert (len(sizes), sum(sizes)) == (made.queues, made.jobs), data
    export(_MADE, _AGAIN, SECRET, files=files)
    assert _imported(files, _AGAIN, _MADE_AGAIN) is not None, data
    assert whole_state(tables(files, _MADE_AGAIN)) == whole_state(found), data


def _imported(files: SimulatedFiles, path: str, target: str) -> Imported | None:
    try:
        return import_lines(path, target, SECRET, files=files, kdf=QUICK_KDF)
    except BadExport:
        return None
