"""The call about failures; see Api."""

from typing import Final

from attrs import define

from ..core import commands as c
from ..http.request import JobRequest
from ..wire.cursors import failures_cursor
from ..wire.failures import failure_value
from ..wire.request_head import number, one
from .calls import Calls
from .replies import answer_page

#: Groups in a page of the list: the default, and the limit. A group takes about 50 microseconds.
_DEFAULT_LIMIT: Final = 20
_MOST: Final = 100


@define(eq=False, slots=False)
class FailureCalls(Calls):
    """The route of failures."""

    _app = Calls._app

    @_app.route("/api/v1/failures", "GET", "queueName limit cursor")
    async def list_failures(self, request: JobRequest) -> bytes:
        """List a page of the groups of failures, with a link to the next."""
        queue, access = one(request.args, "queueName"), self.keys.access(request)
        limit, after = number(request.args, "limit", _DEFAULT_LIMIT, _MOST), failures_cursor(request.args)
        page = await self._ask(request, c.ListFailures(queue=queue, **access, after=after, limit=limit))
        failures = [failure_value(group) for group in page.failures]
        return answer_page(request, "failures", failures, page.following, dropped=page.dropped)
