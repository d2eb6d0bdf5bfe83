"""`twistd jobengine`: its options, and the only place where everything is constructed."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, Final, NoReturn

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService
from twisted.copyright import version as twisted_version
from twisted.logger import ILogObserver
from twisted.python.usage import Options as _Options
from twisted.python.usage import UsageError

from . import __version__
from .core.schedules import Edge
from .daemon.announcement import Announcement
from .daemon.hardening import forbid_dumps, wipe_variables
from .daemon.listening import listener, unsent_chain, what_is_wrong
from .daemon.logs import observer
from .daemon.mistyped import hints
from .daemon.secret_file import weakness
from .daemon.secret_source import SecretSource
from .daemon.service import Daemon, about_database, end_early
from .daemon.settings import SETTINGS, BadSetting, Settings, read_settings
from .daemon.systemd import Systemd
from .engine.door import Door
from .engine.engine import Engine
from .engine.executor import Executor
from .engine.ids import new_uuid, ordered_uuid
from .http.browsers import Browsers
from .http.cors import Cors
from .http.hosts import Hosts
from .http.site import JobSite
from .storage.disk_thread import DiskThread
from .storage.errors import INSTALL_DRIVER, StorageError
from .storage.journal import Journal, check_beginning, check_secret
from .timetable import TIMETABLE
from .web.api import Api
from .web.dashboard_files import read_dashboard
from .web.router import no_others
from .wire.requests import Wire

#: The settings of twistd's log.
_OF_THE_LOG: Final = frozenset({"log-format", "log-file-bytes", "log-files"})


class Options(_Options):
    """The command line of `twistd jobengine`."""

    synopsis = "[options]"
    longdesc = (
        "A queue of jobs over HTTP, kept in one encrypted file. Every option can also be set in the environment, by "
        "the name in brackets; the option wins. Set SECRET, or SECRET_FILE, to the secret that encrypts the file."
    )
    optParameters = [
        [setting.option, None, None, f"[{setting.variable}={setting.default}] {setting.help}"] for setting in SETTINGS
    ]
    #: The settings from options and environment.
    settings: Settings

    def opt_version(self) -> NoReturn:
        """Display the versions of JobEngine and Twisted, and exit."""
        print(f"JobEngine {__version__}, Twisted {twisted_version}")  # noqa: T201  # this option prints
        raise SystemExit(0)

    def getSynopsis(self) -> str:
        """The usage line; empty for `jobengine serve`, which has printed its own."""
        return "" if os.path.basename(sys.argv[0]) == "jobengine" else str(super().getSynopsis())

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read and check the options. A wrong option ends the process with an error of one line; twistd would show its
        whole usage.
        """
        try:
            _refuse_short_forms(sys.argv[1:] if options is None else options, self.longOpt)
            super().parseOptions(options)
        except BadSetting as error:
            end_early(error)
        except UsageError as error:
            end_early(BadSetting(f"{error}; --help lists the options"))

    def parseArgs(self, *arguments: str) -> None:
        """Raise UsageError for arguments: there are only options."""
        if arguments:
            raise UsageError(f"{arguments[0]!r} is not an option")

    def postOptions(self) -> None:
        """Check every value; raises BadSetting."""
        self.settings = read_settings(self)
        if self.parent is None:
            _refuse_log_settings()


def _refuse_log_settings() -> None:
    """Raise BadSetting for a setting of the log, which has no effect with a .tac file: twistd makes the log itself."""
    for setting in SETTINGS:
        if setting.option in _OF_THE_LOG and os.environ.get(setting.variable) not in (None, "", setting.default):
            raise BadSetting(f"{setting.variable} can't be set with a .tac file, since twistd makes the log; unset it")


def _refuse_short_forms(words: Sequence[str], names: Sequence[str]) -> None:
    """
    Raise UsageError for an option that is not in `names` (written as for getopt). getopt would accept the beginning of
    a name: --admin-key would mean --admin-key-file, and the key would be printed as the path of a missing file.
    """
    has_value = {name.removesuffix("="): name.endswith("=") for name in names}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--") or word == "--":
            return
        name, sign, _ = word[2:].partition("=")
        if f"{name}-file" in has_value:
            variable = name.upper().replace("-", "_")
            raise UsageError(f"a key is never an option: instead of --{name} use --{name}-file, or set {variable}")
        if name not in has_value:
            near = get_close_matches(name, has_value, 1)
            meant = f" (did you mean --{near[0]}?)" if near else ""
            raise UsageError(f"option --{name} not recognized{meant}")
        if has_value[name] and not sign:
            next(rest, None)


def makeService(options: Options) -> IService:
    """Construct the server; nothing is opened yet."""
    from twisted.internet import reactor

    # Before twistd forks: the child inherits the ban on core dumps and the wiped variables.
    forbid_dumps()
    wipe_variables("SECRET", "ADMIN_KEY", "DATABASE_URL")
    settings = options.settings
    twistd = options.parent
    _check_place(settings)
    if twistd is not None and not twistd["nodaemon"]:
        _check_before_fork(settings)
    log_observer = None
    if twistd is not None:
        log_observer = observer(twistd, settings.log_format, settings.log_file_bytes, settings.log_files)
    return _construct(settings, reactor, log_observer)


def _construct(settings: Settings, reactor: Any, log_observer: Callable[[], ILogObserver] | None) -> IService:
    # Twisted's reactors use the wall clock: if it were set back by an hour, all time-outs would be an hour late.
    reactor.seconds = time.monotonic
    secret = SecretSource(settings)
    engine = _engine(settings, secret, reactor, on_failure=lambda error: daemon.fail(error))
    site = _site(settings, reactor, engine)
    systemd = Systemd(os.environ.get("NOTIFY_SOCKET", ""), engine.readiness, reactor)
    listening = _listener(settings.endpoint, site, reactor)
    daemon = Daemon(engine, site, listening, reactor, systemd, _announcement(settings), log_observer, secret.explain)
    return daemon


def _announcement(settings: Settings) -> Announcement:
    path = settings.db_path if settings.database_url is None else None
    is_new = path is not None and not os.path.exists(path)
    return Announcement(
        db_path=path,
        postgres="" if settings.database_url is None else _database_of(settings.database_url),
        is_new=is_new,
        dashboard=settings.dashboard,
        ignored=settings.ignored,
        unsent_chain=unsent_chain(settings.endpoint),
        mistyped=settings.mistyped,
        hints=hints(os.environ, has_admin_key=settings.admin_key is not None),
        has_admin_key=settings.admin_key is not None,
        weak_admin_key=weakness(settings.admin_key),
        weak_secret=weakness(settings.secret),
        # Our image sets this variable, as Podman and systemd do for each container.
        in_container=bool(os.environ.get("container")),  # noqa: SIM112  # they write it in lower case
    )


def _database_of(url: str) -> str:
    from .engine.postgres.database.connection import described  # only here, as in _postgres_engine

    return described(url)


def _engine(
    settings: Settings, secret: Callable[[], bytes], reactor: Any, on_failure: Callable[[StorageError], None]
) -> Door:
    if settings.database_url is not None:
        return _postgres_engine(settings, settings.database_url, secret, reactor)
    executor = Executor(
        journal=Journal(settings.db_path),
        thread=DiskThread(reactor, "writer"),
        clock=reactor,
        now=lambda: time.time_ns() // 1_000_000,
        new_id=new_uuid,
        edge=Edge(settings.defaults, TIMETABLE),
        on_failure=on_failure,
        sync_interval=settings.sync_interval,
        max_backlog=settings.max_backlog,
    )
    return Engine(executor=executor, secret=secret, reader=DiskThread(reactor, "reader"))


def _postgres_engine(settings: Settings, url: str, secret: Callable[[], bytes], reactor: Any) -> Door:
    """The engine on PostgreSQL. Its driver is imported only here, so a server on a file does not need it."""
    try:
        from .engine.postgres.batch.begin import this_machine
        from .engine.postgres.engine import PostgresEngine
    except ImportError as error:
        end_early(BadSetting(f"DATABASE_URL needs a driver: {INSTALL_DRIVER} ({error})"))
    return PostgresEngine(
        url=url,
        secret=secret,
        thread=lambda name: DiskThread(reactor, name, daemon=True),
        clock=reactor,
        new_id=ordered_uuid,
        edge=Edge(settings.defaults, TIMETABLE),
        interval=bool(settings.sync_interval),
        readers=reactor,
        machine=this_machine(),
    )


def _site(settings: Settings, reactor: Any, engine: Door) -> JobSite:
    api = Api(engine=engine, wire=_wire(settings), clock=reactor, admin_key=settings.admin_key)
    others = read_dashboard().answers if settings.dashboard else no_others
    # If there is an admin key, a stranger's page can do nothing, since it has no key: browsers may use any host name.
    allowed = settings.allowed_hosts if settings.admin_key is None else frozenset({"*"})
    resource = api.resource(Browsers(Cors(settings.cors_origins), Hosts(allowed)), others)
    return JobSite(
        resource,
        settings.limits,
        api.metrics.observe,
        reactor,
        resource.begin,
        settings.least_status_logged,
        api.keys.admit,
        api.turns,
    )


def _wire(settings: Settings) -> Wire:
    return Wire(
        defaults=settings.defaults,
        max_depth=settings.limits.json_depth,
        max_job_bytes=settings.limits.body_bytes,
        max_queues=settings.max_queues,
        pass_unknown=settings.pass_unknown,
    )


def _listener(endpoint: str, site: JobSite, reactor: Any) -> StreamServerEndpointService:
    """The service that makes the site listen; ends the process if the endpoint is invalid."""
    try:
        service = listener(endpoint, site, reactor)
    except Exception as error:  # each kind of endpoint raises its own errors
        end_early(BadSetting(what_is_wrong(endpoint, error)))
    return service


def _check_place(settings: Settings) -> None:
    """
    End the process if DB_PATH is not a file: later the error would be about a missing SECRET. Also end it if there is a
    key file, but neither a database nor a SECRET.
    """
    path = settings.db_path
    if settings.database_url is not None:
        return
    if os.path.exists(path) and not os.path.isfile(path):
        end_early(BadSetting(f"DB_PATH {path!r} is not a file"))
    try:
        if os.path.exists(path):
            check_beginning(path)
        elif settings.secret is None and os.path.exists(path + ".key"):
            SecretSource(settings)()
    except (StorageError, OSError) as error:
        end_early(about_database(error))


def _check_before_fork(settings: Settings) -> None:
    """End the process if the SECRET is wrong: once twistd has forked, its exit code can't show a wrong SECRET."""
    secret = SecretSource(settings)
    try:
        if settings.database_url is not None:
            _postgres_engine(settings, settings.database_url, secret, None).open()
        elif os.path.exists(settings.db_path):
            check_secret(settings.db_path, secret())
    except (StorageError, OSError) as error:
        end_early(secret.explain(error))
