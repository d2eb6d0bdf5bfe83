"""Rules for browsers: the origins whose pages may use the API, and the host names under which the server answers."""

from attrs import frozen

from .cors import Cors
from .hosts import Hosts
from .request import JobRequest, answer


@frozen
class Browsers:
    """Answers those browser requests that need no handler: preflights, and requests under unknown host names."""

    cors: Cors = Cors()
    hosts: Hosts = Hosts()

    def answers(self, request: JobRequest) -> bool:
        """
        Answer a preflight request, or refuse an unknown host name, and return True; return False
        for other requests.
        """
        if self.cors.origins and self.cors.answers(request):
            return True
        # Checked after CORS, so that a page of a configured origin can read why it was refused.
        problem = self.hosts.problem(request)
        if problem is None:
            return False
        request.end(answer(request, problem))
        return True
