"""Rules for browsers: the origins whose pages may use the API, and the host names under which the server answers."""

from attrs import frozen

from .cors import Cors
from .hosts import Hosts
from .request import JobRequest, answer


@frozen
class Browsers:
    """Answers the requests of browsers that need no handler."""

    cors: Cors = Cors()
    hosts: Hosts = Hosts()

    def answers(self, request: JobRequest) -> bool:
        """Answer a preflight request, or a request under an unknown host name; otherwise return False."""
        if self.cors.origins and self.cors.answers(request):
            return True
        # After CORS: a page of a configured origin can then read the reason.
        problem = self.hosts.problem(request)
        if problem is None:
            return False
        request.end(answer(request, problem))
        return True
