"""Finds the SECRET of the database; if the SECRET is wrong, the error names its source."""

import os.path

from attrs import define, field

from ..storage.errors import WrongSecret
from .key_file import key_file_secret
from .settings import Settings


@define
class SecretSource:
    """A callable that returns the SECRET when the database is opened or made; raises WrongSecret and OSError."""

    _settings: Settings
    #: Whether a SECRET was found. If not, a WrongSecret error is about a missing SECRET and needs no advice on the
    #: source.
    _found: bool = field(default=False, init=False)

    def __call__(self) -> bytes:
        """The configured SECRET, or the one in the key file."""
        secret = self._settings.secret or key_file_secret(self._settings.db_path)
        self._found = True
        return secret

    def explain(self, error: Exception) -> Exception:
        """Add the SECRET's source and advice to an error about a wrong SECRET; return other errors unchanged."""
        if not self._found or not isinstance(error, WrongSecret):
            return error
        return WrongSecret(f"{error}. {self._advice()}")

    def _advice(self) -> str:
        settings, key_file = self._settings, self._settings.db_path + ".key"
        if settings.secret is None:
            return f"It came from {key_file}; restore your copy of that file, or set SECRET to the right one"
        origin = settings.secret_origin
        if settings.database_url is None and os.path.exists(key_file):
            leave_out = "leave out" if origin.startswith("--") else "unset"
            return f"It came from {origin}; {leave_out} {origin} to use {key_file}"
        return f"It came from {origin}; set the SECRET that the database was written with"
