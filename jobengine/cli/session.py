"""The state that all parts of one command share: common options, the client, and the output."""

import os
from collections.abc import Callable
from typing import Any

import click

from jobengine.client import JobEngine, JobEngineError, Queue, Unavailable
from jobengine.client.settings import Settings

from .exit_codes import Exit, Failed, what_is_wrong
from .output import Output

#: Seconds for which a call is retried if the server can't be reached.
_RETRY_FOR = 5.0
#: Seconds to wait for an answer while a shell completes a name.
_QUICK = 1.0
#: The client's question about a server that refuses connections.
_RUNNING = " Is the server running?"


class Session:
    """One run of `jobengine`."""

    def __init__(self, make_engine: Callable[..., JobEngine] = JobEngine) -> None:
        self._make_engine = make_engine
        self._engine: JobEngine | None = None
        #: The options of every command.
        self.url: str | None = None
        self.profile: str | None = None
        self.json = False
        #: Seconds for which a call is retried.
        self.retry_for = _RETRY_FOR

    @property
    def output(self) -> Output:
        """The command's output."""
        return Output(as_json=self.json)

    @property
    def engine(self) -> JobEngine:
        """The client, made when it is first used. Raises BadSettings."""
        if self._engine is None:
            self._engine = self._make_engine(self.url, profile=self.profile, retry_for=self.retry_for)
        return self._engine

    @property
    def settings(self) -> Settings:
        """The address and the keys that the client uses. Raises BadSettings."""
        return self.engine._settings

    def quick_engine(self) -> JobEngine:
        """A client with a short time-out, for shell completion. Raises BadSettings."""
        self._engine = self._make_engine(self.url, profile=self.profile, retry_for=0, timeout=_QUICK)
        return self._engine

    def queue(self, name: str) -> Queue:
        """The queue of that name; raises Failed if there is no key for it, and BadSettings."""
        queue = self.engine.queue(name)
        if queue._key is None and self.settings.admin_key is None:
            raise Failed(
                f"There is no key for the queue {name!r}: set JOBENGINE_ACCESS_KEY, or name a profile with --profile.",
                Exit.KEY_REFUSED,
            )
        return queue

    def what_is_wrong(self, error: JobEngineError) -> str:
        """The text of a client's error, with advice for the command line; it says if no server answered."""
        text = what_is_wrong(error)
        if type(error) is not Unavailable or not error.detail.startswith("No answer from "):
            return text
        return f"{text.removesuffix(_RUNNING)}{_RUNNING} {self._source_of_address()}"

    def _source_of_address(self) -> str:
        profile = self.profile or os.environ.get("JOBENGINE_PROFILE")
        if self.url:
            return "Its address comes from --url."
        if profile:
            return f"Its address comes from JOBENGINE_URL or the profile {profile!r}."
        if os.environ.get("JOBENGINE_URL"):
            return "Its address comes from JOBENGINE_URL."
        return "This is the default address; --url or JOBENGINE_URL names another."

    def close(self) -> None:
        """Close the connections."""
        if self._engine is not None:
            self._engine.close()


def current() -> Session:
    """The session of the running command."""
    session: Any = click.get_current_context().ensure_object(Session)
    assert isinstance(session, Session)
    return session
