"""Keeps what is secret in this process: out of its environment, where others may read it, and out of core dumps."""

import ctypes
import os
import resource
import sys
from typing import Final

__all__ = ["forbid_dumps", "wipe_variables"]

#: PR_SET_DUMPABLE of <linux/prctl.h>.
_SET_DUMPABLE: Final = 4


def forbid_dumps() -> None:
    """
    Have the system write no core dump of this process, and let nobody but root read its memory or its environment.

    It holds for forks as well. A change of user (twistd --uid) has the second half set by fs.suid_dumpable, which is 0,
    or 2 with systemd-coredump: neither lets others read the memory.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # A handler that core dumps are piped to is started whatever the limit is, but not for such a process.
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, ctypes.c_ulong(0))


def wipe_variables(*names: str) -> None:
    """
    Take variables out of the environment, and their values out of /proc/PID/environ.

    That file shows the memory in which the system has put the environment at the start. To take a variable away does
    not change it.
    """
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    for name in names:
        address = libc.getenv(name.encode())
        if address is not None:
            ctypes.memset(address, 0, len(ctypes.string_at(address)))
        os.environ.pop(name, None)
