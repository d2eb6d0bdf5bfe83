"""
Protects secrets in this process: removes them from its environment, which others may read, and forbids core
dumps.
"""

import ctypes
import os
import resource
import sys
from typing import Final

#: PR_SET_DUMPABLE of <linux/prctl.h>.
_SET_DUMPABLE: Final = 4


def forbid_dumps() -> None:
    """
    Forbid core dumps of this process, and forbid all users but root to read its memory or environment.

    Forks inherit both bans. After a change of user (twistd --uid), fs.suid_dumpable decides about reading; its value is
    0, or 2 with systemd-coredump, and neither lets others read the memory.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # A core_pattern pipe ignores the limit, but is not started for a process that is not dumpable.
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, ctypes.c_ulong(0))


def wipe_variables(*names: str) -> None:
    """
    Remove variables from the environment, and their values from /proc/PID/environ.

    That file shows the memory of the environment as it was at the start. Removing a variable does not change it.
    """
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    for name in names:
        address = libc.getenv(name.encode())
        if address is not None:
            ctypes.memset(address, 0, len(ctypes.string_at(address)))
        os.environ.pop(name, None)
