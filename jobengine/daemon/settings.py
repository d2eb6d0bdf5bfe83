"""The server's settings: options of the command line, or environment variables; the option wins."""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from ..core.model import Defaults
from ..http.limits import Limits
from .mistyped import mistyped
from .secret_file import BadSecret, secret_from

_INTERVAL_SECONDS: Final = 0.05
#: The most connections that wait to be accepted. Further clients are delayed by a second or more; Twisted's default of
#: 50 is low.
_BACKLOG: Final = 1024
#: The lowest status to log, by setting; no status has four digits.
_LEAST_STATUS: Final = {"all": 0, "errors": 400, "none": 1000}


#: An origin as browsers send it: in lower case, without a path.
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.\-\[\]:]+")

#: A key that a header carries unchanged: no control characters, no space at either end (RFC 9110, 5.5).
_HEADER_SAFE: Final = re.compile(rb"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?")

#: A host name as browsers send it, in lower case.
_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")


class BadSetting(ValueError):
    """An invalid value; str() names the setting and its valid values."""


@frozen
class Setting:
    """One setting."""

    #: The long option, without its dashes.
    option: str
    #: The environment variable.
    variable: str
    #: The default, as text.
    default: str
    #: Converts the text into the value; raises ValueError, whose text completes "must be …".
    parse: Callable[[str], Any]
    #: The setting's description in --help.
    help: str


def _text(text: str) -> str:
    return text


def _whole(least: int, most: int = (1 << 63) - 1) -> Callable[[str], int]:
    def parse(text: str) -> int:
        """Parse the number; raises ValueError with the rule."""
        # Python parses no more than 4,300 digits, and has its own error for that.
        if not text.isascii() or not text.isdigit() or len(text) > 19 or not least <= int(text) <= most:
            bounds = f"of {least} or more" if most > 1 << 32 else f"from {least} to {most}"
            raise ValueError(f"a whole number {bounds}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise ValueError("a number of seconds above 0")
    return value


def _origins(text: str) -> frozenset[bytes]:
    origins = [origin.strip() for origin in text.split(",") if origin.strip()]
    if not all(origin == "*" or _ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("origins such as https://example.org, with commas between them, or *")
    return frozenset(origin.encode() for origin in origins)


def _hosts(text: str) -> frozenset[str]:
    names = [name.strip().lower().removesuffix(".") for name in text.split(",") if name.strip()]
    if not all(name == "*" or _NAME.fullmatch(name) for name in names):
        raise ValueError("host names such as jobs.example.org, without a port, with commas between them, or *")
    return frozenset(names)


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        """Check the word; raises ValueError with the valid words."""
        if text not in choices:
            raise ValueError(" or ".join(choices))
        return text

    return parse


SETTINGS: Final = (
    Setting("db-path", "DB_PATH", "./jobengine.jedb", _text, "The database file; created if missing."),
    Setting(
        "database-url-file",
        "DATABASE_URL_FILE",
        "",
        _text,
        "The file with the DATABASE_URL of a PostgreSQL that keeps the jobs instead of a file; or set DATABASE_URL.",
    ),
    Setting("api-port", "API_PORT", "6006", _whole(0, 65535), "The TCP port of the API."),
    Setting("api-host", "API_HOST", "127.0.0.1", _text, "The address to listen at; 0.0.0.0 is all of IPv4."),
    Setting("listen", "LISTEN", "", _text, "A Twisted endpoint, such as one with TLS, instead of host and port."),
    Setting("secret-file", "SECRET_FILE", "", _text, "The file with the SECRET; or set SECRET in the environment."),
    Setting("admin-key-file", "ADMIN_KEY_FILE", "", _text, "The file with the admin key; or set ADMIN_KEY."),
    Setting(
        "durability",
        "DURABILITY",
        "commit",
        _choice("commit", "interval"),
        "commit: on disk before the reply. interval: synced every 50 ms; a power cut loses at most that much.",
    ),
    Setting("job-keep-minutes", "JOB_KEEP_MINUTES", "60", _whole(0), "How long a complete job is kept, by default."),
    Setting(
        "job-keep-failed-minutes",
        "JOB_KEEP_FAILED_MINUTES",
        "4320",
        _whole(0),
        "How long a failed job is kept, by default; 4320 is three days.",
    ),
    Setting(
        "job-timeout-minutes",
        "JOB_TIMEOUT_MINUTES",
        "10",
        _whole(0),
        "How long a job may be in progress without an update, by default; 0 is no limit.",
    ),
    Setting("log-format", "LOG_FORMAT", "text", _choice("text", "json"), "Lines of text, or one JSON object a line."),
    Setting(
        "log-requests",
        "LOG_REQUESTS",
        "all",
        _choice(*_LEAST_STATUS),
        "Which requests are logged; errors are those answered with 400 or more.",
    ),
    Setting(
        "log-file-bytes",
        "LOG_FILE_BYTES",
        "10000000",
        _whole(1000),
        "The size at which twistd's log file is rotated.",
    ),
    Setting("log-files", "LOG_FILES", "10", _whole(1, 10_000), "How many rotated log files are kept."),
    Setting("max-body-bytes", "MAX_BODY_BYTES", "1048576", _whole(1), "The longest body of a request."),
    Setting(
        "max-bulk-body-bytes",
        "MAX_BULK_BODY_BYTES",
        "16777216",
        _whole(1),
        "The longest body of a request for many jobs.",
    ),
    Setting("max-headers", "MAX_HEADERS", "64", _whole(1), "The most headers of a request."),
    Setting("max-header-bytes", "MAX_HEADER_BYTES", "8192", _whole(128), "The most bytes of request line and headers."),
    Setting("header-seconds", "HEADER_SECONDS", "10", _seconds, "The time in which headers must arrive."),
    Setting("body-seconds", "BODY_SECONDS", "30", _seconds, "The time in which a body must arrive."),
    Setting("idle-seconds", "IDLE_SECONDS", "60", _seconds, "How long a connection may be idle between requests."),
    Setting("max-connections", "MAX_CONNECTIONS", "1000", _whole(1), "The most open connections."),
    Setting("max-json-depth", "MAX_JSON_DEPTH", "32", _whole(2, 500), "The deepest nesting of JSON."),
    Setting("max-queues", "MAX_QUEUES", "1000", _whole(1), "The most queues that can be made without the admin key."),
    Setting(
        "unknown-fields",
        "UNKNOWN_FIELDS",
        "refuse",
        _choice("refuse", "pass"),
        "Whether calls of the first version refuse or ignore unknown fields and parameters.",
    ),
    Setting(
        "cors-origins",
        "CORS_ORIGINS",
        "",
        _origins,
        "The origins whose pages browsers let use the API, separated by commas; * is any.",
    ),
    Setting(
        "allowed-hosts",
        "ALLOWED_HOSTS",
        "",
        _hosts,
        "The host names under which browsers may use a server without an admin key, separated by commas; * is any. "
        "localhost and names without a dot are always allowed.",
    ),
    Setting("dashboard", "DASHBOARD", "on", _choice("on", "off"), "Whether browsers get the dashboard at /."),
    Setting(
        "max-backlog-bytes",
        "MAX_BACKLOG_BYTES",
        "67108864",
        _whole(1),
        "The most bytes of changes that may wait for the disk.",
    ),
)

#: All variables that are read.
_VARIABLES: Final = ("SECRET", "ADMIN_KEY", "DATABASE_URL", *(setting.variable for setting in SETTINGS))


@frozen(kw_only=True)
class Settings:
    """The checked settings of one server."""

    #: The absolute path of the database.
    db_path: str
    #: The connection string of a PostgreSQL for the jobs; None for a file.
    database_url: str | None = field(repr=False)
    #: A Twisted endpoint description.
    endpoint: str
    #: The options and variables that have no effect, because LISTEN is set.
    ignored: tuple[str, ...]
    #: Sentences about variables that resemble settings.
    mistyped: tuple[str, ...]
    #: The secret that encrypts the database; None to use or make the key file beside it.
    secret: bytes | None = field(repr=False)
    #: The option or variable of the secret, for messages.
    secret_origin: str
    #: The key of the operator; None if there is none.
    admin_key: bytes | None = field(repr=False)
    #: Seconds between syncs; 0 is a sync at each commit.
    sync_interval: float
    #: The most bytes of changes that may wait to be written; see Committer.max_backlog.
    max_backlog: int
    #: Default values for fields that a job omits.
    defaults: Defaults
    #: Limits on clients.
    limits: Limits
    #: The origins whose pages may use the API; see Cors.
    cors_origins: frozenset[bytes]
    #: The host names under which browsers are answered; see Hosts.
    allowed_hosts: frozenset[str]
    #: Whether browsers get a dashboard.
    dashboard: bool
    #: The most queues that callers without the admin key may create.
    max_queues: int
    #: Whether calls of the first version ignore unknown fields and parameters.
    pass_unknown: bool
    #: "text" or "json".
    log_format: str
    #: The lowest status to log.
    least_status_logged: int
    #: The bytes at which a log file is rotated, and the number of rotated files to keep.
    log_file_bytes: int
    log_files: int


def read_settings(options: Mapping[str, str | None], environment: Mapping[str, str] = os.environ) -> Settings:
    """
    Read the settings from options (by long name; None if not given) and environment; raises BadSetting.

    Makes paths absolute and reads secret files now, because twistd changes its directory and user later.
    """
    values = {setting.option: _value(setting, options.get(setting.option), environment) for setting in SETTINGS}
    database_url = _database_url(options, environment)
    return Settings(
        db_path=os.path.abspath(values["db-path"]),
        database_url=database_url,
        endpoint=values["listen"] or _endpoint(values["api-host"], values["api-port"]),
        ignored=_ignored(options, environment) if values["listen"] else (),
        mistyped=mistyped(environment, _VARIABLES),
        secret=(_own_secret if database_url is None else _shared_secret)(options, environment),
        secret_origin=_origin("SECRET", options, environment),
        admin_key=_admin_key(options, environment),
        sync_interval=_INTERVAL_SECONDS if values["durability"] == "interval" else 0,
        max_backlog=values["max-backlog-bytes"],
        defaults=_defaults(values),
        cors_origins=values["cors-origins"],
        allowed_hosts=values["allowed-hosts"],
        dashboard=values["dashboard"] == "on",
        limits=_limits(values),
        max_queues=values["max-queues"],
        pass_unknown=values["unknown-fields"] == "pass",
        log_format=values["log-format"],
        least_status_logged=_LEAST_STATUS[values["log-requests"]],
        log_file_bytes=values["log-file-bytes"],
        log_files=values["log-files"],
    )


def _defaults(values: Mapping[str, Any]) -> Defaults:
    return Defaults(
        keep_minutes=values["job-keep-minutes"],
        keep_failed_minutes=values["job-keep-failed-minutes"],
        timeout_seconds=values["job-timeout-minutes"] * 60,
    )


def _limits(values: Mapping[str, Any]) -> Limits:
    return Limits(
        body_bytes=values["max-body-bytes"],
        bulk_body_bytes=values["max-bulk-body-bytes"],
        headers=values["max-headers"],
        header_bytes=values["max-header-bytes"],
        header_seconds=values["header-seconds"],
        body_seconds=values["body-seconds"],
        idle_seconds=values["idle-seconds"],
        connections=values["max-connections"],
        json_depth=values["max-json-depth"],
    )


def _value(setting: Setting, option: str | None, environment: Mapping[str, str]) -> Any:
    # An empty variable, which is common in compose files, counts as not set.
    variable = environment.get(setting.variable) or setting.default
    name, text = (f"--{setting.option}", option) if option is not None else (setting.variable, variable)
    try:
        return setting.parse(text)
    except ValueError as error:
        raise BadSetting(f"{name} must be {error}, not {text!r}") from None


def _endpoint(host: str, port: int) -> str:
    return f"tcp:{port}:interface={host.replace(':', chr(92) + ':')}:backlog={_BACKLOG}"


def _ignored(options: Mapping[str, str | None], environment: Mapping[str, str]) -> tuple[str, ...]:
    """The options and variables for host and port that are set."""
    names = {"api-host": "API_HOST", "api-port": "API_PORT"}
    found = [f"--{option}" for option in names if options.get(option) is not None]
    return (*found, *filter(environment.get, names.values()))


def _database_url(options: Mapping[str, str | None], environment: Mapping[str, str]) -> str | None:
    url = _secret("DATABASE_URL", options.get("database-url-file"), environment)
    if url is None:
        return None
    if options.get("db-path") is not None or environment.get("DB_PATH"):
        path = "DB_PATH" if options.get("db-path") is None else "--db-path"
        raise BadSetting(f"{_origin('DATABASE_URL', options, environment)} and {path} are both set; keep only one")
    return os.fsdecode(url).strip()


def _own_secret(options: Mapping[str, str | None], environment: Mapping[str, str]) -> bytes | None:
    return _secret("SECRET", options.get("secret-file"), environment)


def _shared_secret(options: Mapping[str, str | None], environment: Mapping[str, str]) -> bytes:
    """The secret that all servers on one PostgreSQL share."""
    secret = _own_secret(options, environment)
    if secret is None:
        raise BadSetting("SECRET must be set with DATABASE_URL, the same for all servers: there is no key file")
    return secret


def _origin(variable: str, options: Mapping[str, str | None], environment: Mapping[str, str]) -> str:
    """The option or variable from which `variable` was read, such as SECRET_FILE for SECRET."""
    option = f"{variable.lower().replace('_', '-')}-file"
    if options.get(option) is not None:
        return f"--{option}"
    return f"{variable}_FILE" if environment.get(f"{variable}_FILE") else variable


def _admin_key(options: Mapping[str, str | None], environment: Mapping[str, str]) -> bytes | None:
    """The admin key. Raises BadSetting for a key that no client could send: it would open nothing."""
    key = _secret("ADMIN_KEY", options.get("admin-key-file"), environment)
    if key is None:
        return None
    # The \r of a line end \r\n, which no client could send. In a SECRET it stays: a database may be encrypted with it.
    key = key.removesuffix(b"\r")
    if not _HEADER_SAFE.fullmatch(key):
        raise BadSetting(
            f"the admin key of {_origin('ADMIN_KEY', options, environment)} must not begin or end with a space, or "
            "have control characters such as a line end"
        )
    return key


def _secret(variable: str, option: str | None, environment: Mapping[str, str]) -> bytes | None:
    try:
        return secret_from(variable, environment, option)
    except BadSecret as error:
        raise BadSetting(str(error)) from None
