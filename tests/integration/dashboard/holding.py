"""Answers that come late: the server makes them at once, but they are held back until a test releases them."""

from types import TracebackType
from typing import Self

from attrs import define, field
from playwright.sync_api import APIResponse, Page, Route

from tests.integration.daemons import until

#: Resolves after the tasks of all arrived answers. No frame is waited for: a busy machine may draw none for seconds.
_SETTLED = "() => new Promise((done) => setTimeout(() => setTimeout(done)))"


@define(slots=False)  # Playwright sets attributes on the methods that it calls
class Held:
    """
    Holds back the answers to calls of an API path, during `with`; at most `most` of them. Calls that are still held at
    its end get no answer.
    """

    page: Page
    path: str
    method: str = "GET"
    most: int = 1000
    _answers: list[tuple[Route, APIResponse]] = field(factory=list)

    def __enter__(self) -> Self:
        self.page.route(f"**/api/v1/{self.path}*", self._take)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.page.unroute(f"**/api/v1/{self.path}*", self._take)

    def wait(self, count: int = 1) -> None:
        """Wait until this many calls are held, answered by the server but not seen by the page."""
        until(f"{self.path} is called", lambda: self.page.evaluate("true") and len(self._answers) >= count)

    def let_go(self) -> None:
        """Let the page have the held answers, and wait until it has processed them."""
        answers = self._answers[:]
        self._answers.clear()
        for route, answer in answers:
            route.fulfill(response=answer)
            if (response := route.request.response()) is not None:  # None if the page has aborted the call
                response.finished()
        self.page.evaluate(_SETTLED)

    def _take(self, route: Route) -> None:
        if route.request.method != self.method or self.most == 0:
            route.fallback()
            return
        self.most -= 1
        self._answers.append((route, route.fetch()))
