"""`jobengine key`: keys with a role."""

import click

from .columns import KEYS
from .command import command, group
from .parameters import QUEUE
from .prompts import KEY_FILE, key_from
from .session import current


@group("key")
def key() -> None:
    """Add, list and revoke keys with a role."""


@command("add", "jobengine key add mail --role worker\njobengine key add mail --role viewer --key-file viewer.key")
@QUEUE
@click.option(
    "--role",
    required=True,
    type=click.Choice(["producer", "worker", "viewer"]),
    help="A producer adds jobs, a worker claims and updates them, a viewer only reads.",
)
@KEY_FILE
def add(queue_name: str, role: str, key_file: str | None) -> None:
    """Add a key with a role, and print the key unless you gave one."""
    session = current()
    secret, new = key_from(key_file)
    added = session.queue(queue_name).keys.add(role, secret)
    session.output.note(f"The key opens {queue_name!r} for a {role}. To revoke it, use its id: {added.id}")
    if new:
        session.output.value(secret.reveal(), **added.raw, access_key=secret.reveal())
    elif session.json:
        session.output.json(added.raw)


@command("list", "jobengine key list mail")
@QUEUE
def list_keys(queue_name: str) -> None:
    """List the keys of a queue by id and role; the keys themselves are never shown."""
    session = current()
    session.output.list(KEYS, session.queue(queue_name).keys.list())


@command("revoke", "jobengine key revoke mail 8e3d2f50-5f3b-4b4e-9f0a-3f8f5c1f2a10")
@QUEUE
@click.argument("key_id", metavar="ID")
def revoke(queue_name: str, key_id: str) -> None:
    """Revoke the key with this id."""
    session = current()
    session.queue(queue_name).keys.revoke(key_id)
    session.output.note("The key was revoked.")


for one in (add, list_keys, revoke):
    key.add_command(one)
