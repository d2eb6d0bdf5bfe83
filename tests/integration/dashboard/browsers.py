"""Debian's Chromium, driven by Playwright, and a watch for errors that must never happen in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from attrs import define, field
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, expect, sync_playwright

from tests.integration import daemons

#: Chromium without the parts that draw a window: the pages are the same, at half of the processor time.
PROGRAM: Final = "chromium-headless-shell"
#: Milliseconds within which an expected state must come.
DEADLINE: Final = 1000 * daemons.DEADLINE
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
)
#: How the browser's own log line begins for an answer of 400 or more, or for no answer.
_NO_ANSWER: Final = "Failed to load resource: "


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; asyncio can't be used in this process while it runs."""
    program = shutil.which(PROGRAM)
    if program is None:
        pytest.fail(f"These tests use a browser: apt-get install {PROGRAM}")
    expect.set_options(timeout=DEADLINE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()


@define(slots=False)  # Playwright sets attributes on the methods that it calls
class Watch:
    """Records errors on any page of a context, and each of its requests."""

    #: The origin of the pages.
    url: str
    #: Errors of scripts, breaches of the content security policy, dialogs of the browser, requests to other origins.
    wrong: list[str] = field(factory=list)
    requests: list[Request] = field(factory=list)

    def follow(self, context: BrowserContext) -> None:
        context.on("request", self._requested)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.wrong.append(f"error of a script: {error.error}"))
        context.on("dialog", self._asked)
        context.on("page", lambda page: self._opened(page))

    def _opened(self, page: Page) -> None:
        page.on("crash", lambda _: self.wrong.append("the page crashed"))

    def _requested(self, request: Request) -> None:
        self.requests.append(request)
        if not request.url.startswith((self.url + "/", "blob:" + self.url + "/")):
            self.wrong.append(f"a request to elsewhere: {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_NO_ANSWER):
            self.wrong.append(f"on the console: {message.text}")

    def _asked(self, dialog: Dialog) -> None:
        self.wrong.append(f"a dialog of the browser: {dialog.message}")
        dialog.dismiss()
