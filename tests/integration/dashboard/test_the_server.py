"""The page of the server, for the admin."""

import subprocess
from pathlib import Path

from playwright.sync_api import expect

from jobengine import __version__
from jobengine.client import Queue
from tests.integration.daemons import Daemon
from tests.integration.shells import ADMIN_KEY, BIN

from .person import Person


def _at_the_server(person: Person) -> None:
    person.open()
    person.sign_in_as_admin(ADMIN_KEY)
    person.page.get_by_role("link", name="Server").click()
    person.sees("Server")


def test_the_server_page_shows_the_figures_of_the_server(person: Person, queue: Queue) -> None:
    queue.add_many([{}] * 3)
    _at_the_server(person)
    main = person.page.get_by_role("main")
    for name in ("Commits", "Sync time", "File size", "Last compaction", "Durability", "Connections", "Version"):
        value = main.locator("div", has=person.page.get_by_role("term").get_by_text(name, exact=True)).last
        expect(value.get_by_role("definition").first).not_to_have_text("–")  # noqa: RUF001  # what stands for nothing
    expect(main).to_contain_text(__version__)
    expect(main).to_contain_text("none yet")


def test_a_backup_downloaded_in_the_dashboard_is_whole(
    person: Person, queue: Queue, live: Daemon, tmp_path: Path
) -> None:
    queue.add_many([{"to": "alice"}] * 100)
    _at_the_server(person)
    with person.page.expect_download() as download:
        person.press("Download backup")
    expect(person.page.get_by_text("downloaded.")).to_be_visible()
    name = download.value.suggested_filename
    assert name.endswith(".jedb")
    download.value.save_as(tmp_path / name)
    command = [str(BIN / "jobengine"), "db", "check", str(tmp_path / name)]
    done = subprocess.run(command, env=live.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "whole\ttrue" in done.stdout
