"""The server's address and keys: from arguments, the environment, or a profile in a file."""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from .did_you_mean import unknown
from .errors import BadSettings
from .http_codec import Address
from .secret import Secret, as_secret, secret

_URL: Final = "http://127.0.0.1:6006"
_URL_VARIABLE: Final = "JOBENGINE_URL"
_NAMES: Final = frozenset({"url", "access_key", "access_key_file", "admin_key", "admin_key_file", "keys"})
_SECRET_NAMES: Final = frozenset({"access_key", "admin_key", "keys"})


class Settings(NamedTuple):
    """The settings of a client."""

    #: The server.
    address: Address
    #: The key for all queues that are not in `keys`.
    access_key: Secret | None = None
    #: The key that creates and deletes queues, and opens queues for which no other key is known.
    admin_key: Secret | None = None
    #: Keys by the name of their queue.
    keys: Mapping[str, Secret] = {}

    def key_for(self, queue: str) -> Secret | None:
        """The key for the queue, or None if only the admin key is known."""
        return self.keys.get(queue) or self.access_key


class _Layer(NamedTuple):
    url: str | None = None
    access_key: Secret | None = None
    admin_key: Secret | None = None
    keys: Mapping[str, Secret] = {}
    #: The source of `url` in messages.
    source: str = ""
    #: The name of the profile; None if the layer is not a profile.
    profile: str | None = None

    @property
    def has_keys(self) -> bool:
        """Whether the layer has any key."""
        return bool(self.access_key or self.admin_key or self.keys)


def load(
    url: str | None = None,
    *,
    access_key: str | Secret | None = None,
    admin_key: str | Secret | None = None,
    keys: Mapping[str, str | Secret] | None = None,
    profile: str | None = None,
    environment: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> Settings:
    """
    Read the settings. In order of precedence they come from arguments, the profile that an argument names, environment
    variables, and the profile that JOBENGINE_PROFILE names.

    A profile's keys are only for the profile's own address, by default http://127.0.0.1:6006: raises BadSettings if
    another source sets another address, and for other bad settings. `environment` and `path` (the file with the
    profiles) default to those of the process.
    """
    given = os.environ if environment is None else environment
    layers = [_Layer(url, secret(access_key), secret(admin_key), _secrets(keys or {}), "The argument url")]
    if profile is not None:
        layers.append(_profile(profile, path))
    layers.append(_environment(given))
    if profile is None and given.get("JOBENGINE_PROFILE"):
        layers.append(_profile(given["JOBENGINE_PROFILE"], path))
    return Settings(
        _address(layers),
        next((layer.access_key for layer in layers if layer.access_key), None),
        next((layer.admin_key for layer in layers if layer.admin_key), None),
        {name: key for layer in reversed(layers) for name, key in layer.keys.items()},
    )


def check_numbers(**arguments: object) -> None:
    """Raise TypeError for an argument that is not a number, with the argument's name."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, not {type(value).__name__}")


def profile_path() -> Path:
    """The file with the profiles, in the user's configuration directory."""
    from platformdirs import user_config_path  # only needed for a profile

    return user_config_path("jobengine", appauthor=False) / "config.toml"


def profile_names(path: Path | None = None) -> list[str]:
    """The names of the profiles; none if there is no file. Raises BadSettings if the file can't be used."""
    path = path or profile_path()
    return [name for name, table in _read(path).items() if isinstance(table, dict)] if path.exists() else []


def _environment(given: Mapping[str, str]) -> _Layer:
    return _Layer(
        given.get(_URL_VARIABLE),
        secret(given.get("JOBENGINE_ACCESS_KEY") or None),
        secret(given.get("JOBENGINE_ADMIN_KEY") or None),
        source=_URL_VARIABLE,
    )


def _address(layers: Sequence[_Layer]) -> Address:
    """The address of the first layer that has one; raises BadSettings if a profile has keys for another address."""
    chosen = next((layer for layer in layers if layer.url), _Layer())
    address = Address(chosen.url or _URL)
    for layer in layers:
        if layer.profile is not None and layer.has_keys and not address.is_same(Address(layer.url or _URL)):
            raise BadSettings(_for_another_address(layer, chosen, address))
    return address


def _for_another_address(profile: _Layer, chosen: _Layer, address: Address) -> str:
    """The message for a profile whose keys would be sent to another server."""
    whose = f"{chosen.source} is {address.url}, but the profile {profile.profile!r} has keys"
    leave_out = f"unset {_URL_VARIABLE}" if chosen.source == _URL_VARIABLE else "leave the URL out"
    if profile.url:
        return f"{whose} for {Address(profile.url).url}, which are sent nowhere else: {leave_out}, or use no profile."
    return (
        f"{whose} and no url, so they are for {_URL} and sent nowhere else: {leave_out}, or, if they are for "
        f'{address.url}, add url = "{address.url}" to the profile.'
    )


def _profile(name: str, path: Path | None) -> _Layer:
    path = path or profile_path()
    profiles = _read(path)
    table = profiles.get(name)
    if not isinstance(table, dict):
        there = ", ".join(sorted(name for name, table in profiles.items() if isinstance(table, dict))) or "none"
        raise BadSettings(f"{path} has no profile {name!r}; it has {there}.")
    if strange := sorted(table.keys() - _NAMES):
        raise BadSettings(f"{path}, profile {name!r}: {unknown(strange[0], _NAMES)}")
    keys = table.get("keys", {})
    if not isinstance(keys, dict):
        raise BadSettings(f"{path}: keys of the profile {name!r} must be a table with a key for each queue.")
    return _Layer(
        _text(table, "url", path),
        _key(table, "access_key", path),
        _key(table, "admin_key", path),
        _secrets({queue: _text(keys, queue, path) or "" for queue in keys}),
        source=f"url of the profile {name!r}",
        profile=name,
    )


def _read(path: Path) -> dict[str, Any]:
    import tomllib  # only needed for a profile

    try:
        with path.open("rb") as file:
            profiles, status = tomllib.load(file), os.fstat(file.fileno())
    except FileNotFoundError:
        raise BadSettings(f"The file with the profiles, {path}, does not exist.") from None
    except OSError as error:
        raise BadSettings(f"{path} can't be read: {error.strerror}.") from None
    except ValueError as error:  # bad TOML or UTF-8; the text has no values in it
        raise BadSettings(f"{path} is not TOML: {error}.") from None
    _refuse_if_others_write(path, status)
    if any(table.keys() & _SECRET_NAMES for table in (profiles, *profiles.values()) if isinstance(table, dict)):
        _refuse_if_others_read(path, status)
    return profiles


def _key(table: Mapping[str, Any], name: str, path: Path) -> Secret | None:
    text, file = _text(table, name, path), _text(table, f"{name}_file", path)
    if text is not None and file is not None:
        raise BadSettings(f"{path}: set {name} or {name}_file, not both.")
    return secret(text) if file is None else read_key_file(path.parent / Path(file).expanduser())


def read_key_file(path: Path) -> Secret:
    """The key in a file, without a line end after it. Raises BadSettings."""
    try:
        with path.open("rb") as file:
            _refuse_if_others_read(path, os.fstat(file.fileno()))
            return Secret(file.read(1 << 16).decode().removesuffix("\n").removesuffix("\r"))
    except OSError as error:
        raise BadSettings(f"The file with the key, {path}, can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BadSettings(f"The file with the key, {path}, is not UTF-8.") from None


def _refuse_if_others_write(path: Path, status: os.stat_result) -> None:
    """Refuse a file that other users may write: they could change the address, and so receive keys."""
    if os.name == "posix" and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BadSettings(f"Other users may write {path}, and so choose where keys are sent: run `chmod 600 {path}`.")


def _refuse_if_others_read(path: Path, status: os.stat_result) -> None:
    if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadSettings(f"Other users may read {path}, which has keys in it: run `chmod 600 {path}`.")


def _text(table: Mapping[str, Any], name: str, path: Path) -> str | None:
    value = table.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise BadSettings(f"{path}: {name} must be text that is not empty.")
    return value


def _secrets(keys: Mapping[str, str | Secret]) -> dict[str, Secret]:
    return {name: as_secret(key) for name, key in keys.items()}
