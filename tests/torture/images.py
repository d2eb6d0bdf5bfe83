"""
Power cuts on a real file system: an image of ext4 is copied while a daemon uses it; another daemon starts on the copy.

A signal pauses the daemon while the image is copied. The image has the bytes that the kernel has sent to the disk, but
not those in its cache, so the copy is a disk as a power cut could leave it.
"""

import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from tests.integration.daemons import Client, Daemon

from .crew import Caller, Crew, TracedOwner, judge_all, judge_copy, make_owners
from .disks import Image, mounted_image
from .trials import Tally

#: Bytes: room for a database and the copy that a compaction makes.
SIZE: Final = 192 << 20
#: Seconds under load before a cut.
LOADED: Final = (0.2, 1.5)


@define
class _Campaign:
    daemon: Daemon
    image: Image
    chance: random.Random
    trial: "ImageCuts"
    owners: list[TracedOwner] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.owners = make_owners(self.chance, TracedOwner, self.trial.loader)

    def connect(self) -> Client:
        return Caller(self.daemon.port, sampled=True)

    def cut(self, copy: Path) -> None:
        """Copy the disk while the owners work, and let them check the copy."""
        with Crew(self.owners, self.connect).at_work():
            time.sleep(self.chance.uniform(*LOADED))
            begins = [len(owner.trace) - 1 for owner in self.owners]
            with _stopped(self.daemon):
                self.image.copy(copy)
        self._judge(copy, begins)

    def _judge(self, copy: Path, begins: Sequence[int]) -> None:
        place = copy.with_suffix("")
        with mounted_image(copy, place):
            judge_copy(self.owners, begins, Daemon(place / "home", self.daemon.settings))
        copy.unlink()
        place.rmdir()


@contextmanager
def _stopped(daemon: Daemon) -> Iterator[None]:
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.process.send_signal(signal.SIGCONT)


@frozen
class ImageCuts:
    """A trial: one daemon on an image, and a number of power cuts."""

    cuts: int = 6
    loader: bool = True
    settings: dict[str, str] = field(factory=dict)
    make_daemon: Callable[..., Daemon] = Daemon
    name: str = "power cuts, ext4 image"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        chance = random.Random(seed)
        Image.make(folder / "disk.img", SIZE)
        with mounted_image(folder / "disk.img", folder / "disk") as image:
            daemon = self.make_daemon(folder / "disk" / "home", {"LOG_REQUESTS": "errors", **self.settings})
            campaign = _Campaign(daemon, image, chance, self)
            try:
                daemon.start()
                judge_all(campaign.owners, campaign.connect, TracedOwner.judge)
                for number in range(self.cuts):
                    campaign.cut(folder / f"cut{number}.img")
                    tally.cuts += 1
                judge_all(campaign.owners, campaign.connect, TracedOwner.judge)
            finally:
                daemon.kill()
                tally.operations += sum(owner.answered.total() for owner in campaign.owners)
                tally.compactions += daemon.log.count("compaction begins")
