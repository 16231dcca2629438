"""Runs a program as the unit of the service would: nothing to write but its state, no capability, and few system calls.

No systemd runs where the tests do. What its unit says of system calls, address families, memory and files is read from
the unit itself and brought about by hand, with the same library that systemd uses. The user stays who it is, without
any privilege: a user of its own could not read an interpreter that lies in somebody's home.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

ALLOW: Final = 0x7FFF0000
EPERM: Final = 0x00050000 | errno.EPERM
"""What a call comes to that the unit forbids (``SECCOMP_RET_ERRNO``)."""
NE, GT, MASKED_EQ = 1, 6, 7
WRITE, EXEC = 2, 4
NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000
PRIVATE_RECURSIVE, BIND_RECURSIVE = (1 << 18) | 0x4000, 0x1000 | 0x4000
MOUNT_SETATTR, HERE, RECURSIVE, READ_ONLY = 442, -100, 0x8000, 1
NO_NEW_PRIVILEGES, DROP_FROM_BOUND, CAPABILITIES = 38, 24, 64

libc = ctypes.CDLL(None, use_errno=True)


class Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class Attributes(ctypes.Structure):
    """``struct mount_attr``."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user"))


def said(unit: Path, setting: str) -> list[str]:
    """Give every value of a setting of a unit."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{setting}=")]


def calls_of(group: str) -> set[str]:
    """Give the system calls of one of systemd's groups."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", group], check=True, capture_output=True, text=True)
    found = set[str]()
    for line in listed.stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            found |= calls_of(name)
        elif name and not name.startswith("#"):
            found.add(name)
    return found


def allowed_calls(unit: Path) -> set[str]:
    """Give the system calls that a unit leaves, with those that systemd always does."""
    found = calls_of("@default")
    for value in said(unit, "SystemCallFilter"):
        groups = set[str]().union(*(calls_of(each) for each in value.removeprefix("~").split()))
        found = found - groups if value.startswith("~") else found | groups
    return found


class Filter:
    """One filter of system calls."""

    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._filter = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def add(self, action: int, call: str, *comparisons: Comparison) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # This machine does not have it.
            return
        some = (Comparison * len(comparisons))(*comparisons)
        failed = self._library.seccomp_rule_add_array(
            self._filter, ctypes.c_uint32(action), number, len(comparisons), some
        )
        assert not failed, (call, failed)

    def load(self) -> None:
        failed = self._library.seccomp_load(self._filter)
        assert not failed, failed


def forbid_calls(unit: Path) -> None:
    only = Filter(EPERM)
    for call in allowed_calls(unit):
        only.add(ALLOW, call)
    only.load()


def forbid_the_rest(unit: Path) -> None:
    """Do what ``MemoryDenyWriteExecute`` and ``RestrictAddressFamilies`` do."""
    but = Filter(ALLOW)
    assert said(unit, "MemoryDenyWriteExecute") == ["yes"]
    but.add(EPERM, "mmap", Comparison(2, MASKED_EQ, WRITE | EXEC, WRITE | EXEC))
    for call in ("mprotect", "pkey_mprotect"):
        but.add(EPERM, call, Comparison(2, MASKED_EQ, EXEC, EXEC))
    families = {int(getattr(socket, name)) for name in said(unit, "RestrictAddressFamilies")[0].split()}
    for family in range(max(families)):
        if family not in families:
            but.add(EPERM, "socket", Comparison(0, MASKED_EQ, 0xFFFFFFFF, family))
    but.add(EPERM, "socket", Comparison(0, GT, max(families), 0))
    but.load()


def check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def close_files(writable: Path) -> None:
    """Let nothing be written but what is in one directory."""
    user, group = os.geteuid(), os.getegid()
    check(libc.unshare(NEW_MOUNTS if user == 0 else NEW_MOUNTS | NEW_USER))
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    check(libc.mount(b"none", b"/", None, PRIVATE_RECURSIVE, None))
    check(libc.mount(bytes(writable), bytes(writable), None, BIND_RECURSIVE, None))
    closed, opened = Attributes(set=READ_ONLY), Attributes(clear=READ_ONLY)
    for path, flags, attributes in ((b"/", RECURSIVE, closed), (bytes(writable), 0, opened)):
        check(libc.syscall(MOUNT_SETATTR, HERE, path, flags, ctypes.byref(attributes), ctypes.sizeof(attributes)))


def drop_privileges() -> None:
    for capability in range(CAPABILITIES):
        libc.prctl(DROP_FROM_BOUND, capability, 0, 0, 0)
    check(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))


def main() -> None:
    """Close everything, then become the program: ``UNIT WRITABLE PROGRAM ARGUMENT...``."""
    unit, writable, *program = sys.argv[1:]
    close_files(Path(writable))
    drop_privileges()
    os.environ["HOME"] = str(Path(writable) / "home")
    forbid_the_rest(Path(unit))
    forbid_calls(Path(unit))
    os.execv(program[0], program)  # noqa: S606 - a shell would need more than the unit allows


if __name__ == "__main__":
    main()
