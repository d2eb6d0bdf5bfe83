"""
Protects secrets in this process: removes them from the environment, which other processes may read, and forbids core
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
        # The core size limit does not stop a core_pattern pipe; making the process undumpable does.
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, ctypes.c_ulong(0))


def wipe_variables(*names: str) -> None:
    """
    Remove variables from the environment, and overwrite their values in memory.

    /proc/PID/environ shows the memory of the initial environment, which `del os.environ[…]` leaves unchanged.
    """
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    for name in names:
        address = libc.getenv(name.encode())
        if address is not None:
            ctypes.memset(address, 0, len(ctypes.string_at(address)))
        os.environ.pop(name, None)
