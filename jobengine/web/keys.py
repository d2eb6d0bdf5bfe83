"""The keys of a request: access keys are checked by the rules, the admin key here."""

from collections.abc import Sequence
from hmac import compare_digest
from http import HTTPStatus
from typing import Final

from attrs import frozen
from werkzeug.exceptions import HTTPException

from ..core import commands as c
from ..core.errors import AccessDenied
from ..engine.door import Door
from ..http.problem import Problem
from ..http.request import JobRequest
from ..wire.long_bodies import MOST_BULK_VALUES
from ..wire.query_parameters import use_main_names
from ..wire.request_head import BadInput, access_key, bearer, once, one
from ..wire.requests import Access
from ..wire.strict_json import MOST_VALUES
from .errors import AdminRequired, WrongBearer, problem_of, routing_problem
from .router import Routes
from .throttle import KeyThrottle

_HAS_NONE: Final = "This server has no admin key, which this call needs; start it with ADMIN_KEY."
_IS_USELESS: Final = "This server has no admin key: start it with ADMIN_KEY, or send the queue's key in X-Access-Key."
_IS_WRONG: Final = "The admin key is wrong; send the server's in X-Admin-Key."


@frozen
class Keys:
    """Reads the keys of requests, checks the admin key, and counts wrong keys."""

    engine: Door
    #: If set, X-Admin-Key opens every queue, and some calls require it.
    admin_key: bytes | None
    #: Throttles addresses that send wrong keys.
    guard: KeyThrottle

    def access(self, request: JobRequest) -> Access:
        """The request's key, for a command; raises BadInput without a key, or with more than one."""
        if self.admin_key is not None and self._admin_keys(request):
            # A wrong admin key must be reported, even if a good access key came with it; no queue has an empty key.
            return {"admin": True} if self.is_admin(request) else {"access_key": b""}
        sent, authorization = request.sent.get(b"x-access-key", ()), request.sent.get(b"authorization", ())
        if not (sent or authorization) and request.sent.get(b"x-admin-key"):
            raise BadInput(_IS_USELESS)
        return {"access_key": access_key(sent, authorization)}

    def is_admin(self, request: JobRequest) -> bool:
        """Whether the request has the admin key; raises BadInput if it has several."""
        sent = once(self._admin_keys(request), "X-Admin-Key")
        return self._is_right(sent)

    def check_admin(self, request: JobRequest) -> None:
        """If the server has an admin key: raise AdminRequired unless the request sends it, and log the role `admin`."""
        if self.admin_key is None:
            return
        if not self.is_admin(request):
            raise self._refusal(request)
        request.notes["role"] = "admin"

    def check_is_admin(self, request: JobRequest) -> None:
        """Raise AdminRequired unless the server has an admin key and the request has it."""
        if self.admin_key is None:
            raise AdminRequired(_HAS_NONE)
        self.check_admin(request)

    def check_scraper(self, request: JobRequest) -> None:
        """
        If the server has an admin key: raise AdminRequired or WrongBearer unless the request sends it, and log the role
        `admin`.

        `Authorization: Bearer` is accepted too: before 2.55, Prometheus sends no other header. Raises BadInput for
        several keys.
        """
        sent = None if self.admin_key is None else bearer(request.sent.get(b"authorization", ()))
        if sent is None:
            self.check_admin(request)
        elif self._admin_keys(request):
            raise BadInput("Send the admin key in X-Admin-Key or as Authorization: Bearer, not in both.")
        elif not self._is_right(sent):
            raise WrongBearer
        else:
            request.notes["role"] = "admin"

    async def check_named(self, request: JobRequest, access: Access) -> bool:
        """
        Whether the query names a queue. If so, check that the key opens the queue; the name is logged if it does not.
        Raises BadInput, and the errors of Door.ask.
        """
        if b"queueName" not in request.args:
            return False
        name = one(request.args, "queueName")
        try:
            await self.engine.ask(c.CheckKey(queue=name, **access))
        except AccessDenied:
            request.notes["queue"] = name
            raise
        return True

    async def most_values(self, request: JobRequest, access: Access) -> int:
        """The most values in a body with many jobs: more if the query names a queue, whose key is then checked."""
        return MOST_BULK_VALUES if await self.check_named(request, access) else MOST_VALUES

    async def admit(self, request: JobRequest) -> Problem | None:
        """Check the key of a request before its long body has arrived: the problem to answer, or None."""
        try:
            use_main_names(Routes.calls["PUT", "/api/v1/jobs"], request.args)
            await self.check_named(request, self.access(request))
        except Exception as error:  # an error without a problem to answer is raised again
            if (problem := self.problem(request, error)) is None:
                raise
            return problem
        return None

    def problem(self, request: JobRequest, error: BaseException | None) -> Problem | None:
        """The problem to answer, or None for an unexpected error. Counts wrong keys."""
        if isinstance(error, AccessDenied) and self._admin_keys(request):
            error = self._refusal(request)
        if isinstance(error, HTTPException):
            return routing_problem(error, request.method.decode("latin-1"), request.path.decode("utf-8", "replace"))
        problem = problem_of(error) if isinstance(error, Exception) else None
        shown = isinstance(error, AccessDenied | WrongBearer) or self._admin_keys(request)
        if problem is not None and problem.status is HTTPStatus.UNAUTHORIZED and shown:
            problem = self.guard.failed(request.getClientAddress(), problem)
        return problem

    def _refusal(self, request: JobRequest) -> AdminRequired:
        return AdminRequired(_IS_WRONG) if any(self._admin_keys(request)) else AdminRequired()

    def _is_right(self, sent: bytes) -> bool:
        return self.admin_key is not None and compare_digest(sent, self.admin_key)

    def _admin_keys(self, request: JobRequest) -> Sequence[bytes]:
        """The admin keys of the request, if the server has one."""
        return () if self.admin_key is None else request.sent.get(b"x-admin-key", ())
