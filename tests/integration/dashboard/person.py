"""A user of the dashboard, who finds controls by role and name, and uses them."""

import re
from typing import Any

from attrs import define
from playwright.sync_api import Locator, Page, expect

from .browsers import Watch


@define
class Person:
    """One person with one tab."""

    page: Page
    url: str
    watch: Watch

    # The page as a whole

    def open(self, route: str = "") -> None:
        """Open the dashboard at a route such as queue/mail."""
        self.page.goto(f"{self.url}/#/{route}" if route else f"{self.url}/")

    def sign_in(self, queue: str, key: str = "key") -> None:
        """Fill in the form for one queue and send it; the form must be there."""
        form = self.page.get_by_role("region", name="One queue")
        form.get_by_label("Queue", exact=True).fill(queue)
        form.get_by_label("Access key", exact=True).fill(key)
        form.get_by_role("button", name="Sign in", exact=True).click()

    def sign_in_as_admin(self, key: str) -> None:
        form = self.page.get_by_role("region", name="All queues")
        form.get_by_label("Admin key", exact=True).fill(key)
        form.get_by_role("button", name="Sign in as admin").click()

    def look_at(self, queue: str, key: str = "key", part: str = "") -> None:
        """Open a queue's page, and sign in to it first."""
        self.open(f"queue/{queue}{part}")
        page = self.page.get_by_role("region", name="One queue")
        page.get_by_label("Access key", exact=True).fill(key)
        page.get_by_role("button", name="Sign in", exact=True).click()
        self.sees(queue)
        self.page.mouse.move(0, 0)  # new rows are only announced while the pointer is at one

    def list_queues(self, queue: str, key: str = "key") -> None:
        """Sign in to a queue, and go to the table of queues."""
        self.open()
        self.sign_in(queue, key)
        self.sees(queue)
        self.page.get_by_role("link", name="Queues", exact=True).first.click()
        self.sees("Queues")

    def sees(self, heading: str) -> None:
        """Wait until the page with this heading is shown."""
        expect(self.page.get_by_role("heading", level=1, name=heading, exact=True)).to_be_visible()

    def is_told(self, text: "str | re.Pattern[str]") -> None:
        """Wait for a note with this text."""
        expect(self.page.locator(".notes")).to_contain_text(text)

    # Controls on the page

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def press(self, name: str) -> None:
        self.button(name).click()

    def choose(self, menu: str, action: str) -> None:
        """Open a menu and take one of its actions."""
        self.press(menu)
        self.button(action).click()

    def field(self, label: str) -> Locator:
        return self.page.get_by_label(label, exact=True)

    def dialog(self, heading: "str | re.Pattern[str]") -> Locator:
        """The open dialog whose heading is, or begins with, this one."""
        begin = re.compile("^" + re.escape(heading)) if isinstance(heading, str) else heading
        found = self.page.get_by_role("dialog", name=begin)
        expect(found).to_be_visible()
        return found

    def table(self, caption: str) -> Locator:
        return self.page.get_by_role("table", name=caption, exact=True)

    def row(self, caption: str, name: str) -> Locator:
        """The row of a table whose header is, or begins with, `name`."""
        head = self.page.get_by_role("rowheader", name=re.compile("^" + re.escape(name)))
        return self.table(caption).get_by_role("row").filter(has=head)

    def jobs(self) -> Locator:
        """The rows of the table of jobs."""
        return self.table("Jobs").locator("tbody").get_by_role("row")

    def confirm(self, dialog: str, button: str, typed: str | None = None) -> None:
        """Confirm in a dialog, and wait until it is gone."""
        asked = self.dialog(dialog)
        if typed is not None:
            asked.get_by_label("Type the queue’s name to confirm").fill(typed)  # noqa: RUF001  # as it is on the page
        asked.get_by_role("button", name=button, exact=True).click()
        expect(asked).to_be_hidden()

    def stored(self) -> Any:
        """The contents of the tab's session storage and local storage."""
        return self.page.evaluate("[{...sessionStorage}, {...localStorage}]")
