"""Suggests the intended call for an unknown path, or for a method that its path does not allow."""

import re
from difflib import get_close_matches
from typing import Final

from .router import Routes

_NOTHING: Final = "There is nothing at this path."
#: For a request without a path, as by `curl ADDRESS`: what the server is. Browsers get the dashboard instead.
_ROOT: Final = (
    "This is a JobEngine server. A browser finds its dashboard here; programs call paths under /api/v1. "
    "GET /openapi.json lists the calls, and GET /readyz says whether changes are accepted."
)
_HEALTH: Final = "GET /healthz says whether the server is alive, GET /readyz whether it accepts changes."
_QUEUE: Final = "A queue is named in the query: GET /api/v1/queue?name=NAME, or GET /api/v1/queue/stats?name=NAME."
_JOB: Final = "A job is named in the query: GET /api/v1/job?queueName=NAME&jobUID=UID."
_TO_ADD: Final = "To add a job, send PUT /api/v1/job; to add several, send PUT /api/v1/jobs."
_JOBS: Final = "A queue is named in the query: GET /api/v1/jobs?queueName=NAME."
#: Common paths of other servers. The first match counts.
_PATHS: Final = [
    (re.compile(pattern), advice)
    for pattern, advice in (
        (r"(/api/v1)?/(health|healthcheck|livez?|liveness|alive|ping|status|ready|readiness)z?", _HEALTH),
        (
            r"/(docs?|redoc|swagger|api-docs|openapi|schema)([./-].*)?|(/api)?(/v1)?",
            "GET /openapi.json has the schema.",
        ),
        (r"/(dashboard|ui|admin|console)(/.*)?", "The dashboard is at /, for browsers."),
        (r"(/api)?(/v1)?/queues?/[^/]+/jobs(/.*)?", _JOBS),
        (r"(/api)?(/v1)?/queues?/[^/]+(/.*)?", _QUEUE),
        (r"(/api)?(/v1)?/jobs?/(add|create|new|enqueue|push|put|submit)", _TO_ADD),
        (r"(/api)?(/v1)?/jobs?/[^/]+(/.*)?", _JOB),
    )
]
_TO_CREATE: Final = "To create a queue, send PUT /api/v1/queue."
_METHODS: Final = {
    ("POST", "/api/v1/queues"): _TO_CREATE,
    ("PUT", "/api/v1/queues"): _TO_CREATE,
    ("DELETE", "/api/v1/queues"): "To delete a queue, send DELETE /api/v1/queue?name=NAME.",
    ("PATCH", "/api/v1/queue"): "To change a queue, send POST /api/v1/queue.",
    ("PATCH", "/api/v1/job"): "To change a job, send POST /api/v1/job.",
    ("PATCH", "/api/v1/jobs"): "To change several jobs, send POST /api/v1/jobs.",
    ("PUT", "/api/v1/job/next"): "To claim jobs, send POST /api/v1/job/next.",
    ("POST", "/api/v1/queue/key"): "To add a key, send PUT /api/v1/queue/key.",
}
_PREFIX: Final = "/api/v1"
_PLURAL: Final = re.compile(r"/(job|queue)s/")
#: The most characters of a path that are compared.
_LONGEST: Final = 64


def near_path(path: str) -> str:
    """Sentences on an unknown path, with the likely intended call, or with the place where all calls are listed."""
    return _ROOT if path == "/" else f"{_NOTHING} {_intended_call(path)}"


def _intended_call(path: str) -> str:
    short, paths = path[:_LONGEST], sorted({known for _, known in Routes.calls})
    bare = "/" + short.strip("/").lower()
    singular = _PLURAL.sub(r"/\1/", bare)
    for known in (bare, _PREFIX + bare, singular, _PREFIX + singular):
        if known in paths:
            return f"Did you mean {known}?"
    for pattern, advice in _PATHS:
        if pattern.fullmatch(bare):
            return advice
    nearest = get_close_matches(bare, paths, n=1, cutoff=0.8)
    return f"Did you mean {nearest[0]}?" if nearest else "GET /openapi.json lists the calls."


def near_method(method: str, path: str) -> str:
    """For a method that the path does not allow: a sentence with the likely intended call, or an empty text."""
    return _METHODS.get((method.upper(), path), "")
