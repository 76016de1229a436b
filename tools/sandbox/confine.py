"""Gives up rights, then becomes another program: ``confine.py OPTIONS -- COMMAND``. Standard library alone, started by path.

Landlock answers for files, TCP, signals and tracing; seccomp for sockets and for the calls that reach other processes or the
kernel's rarer machinery; a user id of its own, where given, for everything else.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import struct
import sys
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_DUMPABLE = 38, 22, 24, 4
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
RIGHTS_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
ALL_RIGHTS = (1 << 16) - 1
READ = EXECUTE | READ_FILE | READ_DIR

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# Whole folders of /proc are left out: a listing of it shows the other processes.
PROC = (
    "cpuinfo",
    "meminfo",
    "stat",
    "version",
    "filesystems",
    "devices",
    "modules",
    "driver",
    "sys/kernel",
    "sys/vm",
    "self",
    "thread-self",
)

# Denied calls by architecture: sockets, tracing, other processes' memory, namespaces, mounts, keys, bpf, io_uring, modules.
DENIED = {
    "x86_64": (
        41,  # socket
        101,  # ptrace
        310, 311,  # process_vm_readv, process_vm_writev
        438, 434, 424,  # pidfd_getfd, pidfd_open, pidfd_send_signal
        312,  # kcmp
        272, 308,  # unshare, setns
        165, 166, 155, 161,  # mount, umount2, pivot_root, chroot
        428, 429, 430, 431, 432, 433, 442,  # open_tree .. fspick, mount_setattr
        248, 249, 250,  # add_key, request_key, keyctl
        321, 298, 323,  # bpf, perf_event_open, userfaultfd
        425, 426, 427,  # io_uring_setup, io_uring_enter, io_uring_register
        175, 313, 176, 246, 320,  # init_module, finit_module, delete_module, kexec_load, kexec_file_load
        304,  # open_by_handle_at
    ),
    "aarch64": (
        198, 117, 270, 271, 438, 434, 424, 272, 97, 268, 40, 39, 41, 51,
        428, 429, 430, 431, 432, 433, 442, 217, 218, 219, 280, 241, 282, 425, 426, 427, 105, 273, 106, 104, 294, 265,
    ),
}  # fmt: skip
KILLERS = {"x86_64": (62, 200, 234, 129, 297), "aarch64": (129, 130, 131, 138, 240)}
SOCKET = {"x86_64": 41, "aarch64": 198}
AF_UNIX = 1
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000


def landlock_abi() -> int:
    """The version of Landlock that this kernel speaks; 0 when it has none."""
    return max(0, int(LIBC.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def restrict_files(options: dict[str, Any], abi: int) -> None:
    """Allow the options' paths and nothing else, for this process and whatever comes of it."""
    handled = RIGHTS_OF_ABI.get(abi, ALL_RIGHTS)
    # TCP from ABI 4 (bind, connect); abstract sockets and signals to strangers from ABI 6.
    attr = struct.pack("=QQQ", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _check(LIBC.syscall(LANDLOCK_CREATE, attr, ctypes.c_size_t(size), 0), "landlock_create_ruleset")
    for path in options["read_only"]:
        _allow(ruleset, path, READ & handled)
    for path in (f"/proc/{name}" for name in PROC):
        _allow(ruleset, path, (READ_FILE | READ_DIR) & handled)
    # Names of threads are set through /proc/self/task/N/comm, CUDA's among them.
    _allow(ruleset, "/proc/self/task", (READ_FILE | READ_DIR | WRITE_FILE) & handled)
    if options["gpu"]:
        # CUDA's start fails with error 304 (driver 580) where it cannot reach all of /proc. Other processes' memory and
        # environment stay closed, to their names and command lines it opens the way.
        _allow(ruleset, "/proc", handled & ~IOCTL_DEV)
    for path in (*DEVICES, *options["devices"]):
        _allow(ruleset, path, (READ_FILE | WRITE_FILE | READ_DIR | IOCTL_DEV) & handled)
    for path in options["writable"]:
        _allow(ruleset, path, handled & ~IOCTL_DEV)
    _check(LIBC.syscall(LANDLOCK_RESTRICT, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not Path(path).is_dir():
        rights &= FILE_RIGHTS
    rule = struct.pack("=Qi", rights, fd)
    _check(LIBC.syscall(LANDLOCK_ADD, ruleset, 1, rule, 0), f"landlock_add_rule {path}")
    os.close(fd)


def restrict_calls(machine: str, also: tuple[int, ...], gpu: bool) -> None:
    """Answer the denied system calls with EPERM; a foreign instruction set's calls kill.

    With a `gpu` local sockets are allowed: CUDA's start fails with error 304 (driver 580) where it cannot make one.
    """
    allowed = {SOCKET[machine]} if gpu else set()
    numbers = [number for number in (*DENIED[machine], *also) if number not in allowed]
    program = [(0x20, 0, 0, 4), (0x15, 1, 0, AUDIT_ARCH[machine]), (0x06, 0, 0, 0x80000000), (0x20, 0, 0, 0)]
    if machine == "x86_64":
        program += [(0x35, 0, 1, X32_BIT), (0x06, 0, 0, 0x00050000 | errno.ENOSYS)]
    for number in allowed:
        local = [(0x20, 0, 0, 16), (0x15, 0, 1, AF_UNIX), (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050000 | errno.EPERM)]
        program += [(0x15, 0, len(local), number), *local]
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        program.append((0x15, left, 0, number))
    program += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050000 | errno.EPERM)]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    _check(LIBC.prctl(PR_SET_SECCOMP, 2, fprog, 0, 0), "seccomp")


def drop_root(uid: int | None) -> None:
    """Become `uid` where given; lose every capability either way."""
    if os.geteuid() != 0:
        return
    for capability in range(64):
        if LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    _check(LIBC.capset(header, nothing), "capset")


def main(arguments: list[str]) -> int:
    """Confine this process as ``arguments[0]`` (JSON) says and become ``arguments[2:]``."""
    options = json.loads(arguments[0])
    argv = arguments[2:]
    machine = platform.machine()
    abi = landlock_abi()
    if abi < 1 or machine not in DENIED:
        print(f"no Landlock (ABI {abi}) or an unknown machine ({machine})", file=sys.stderr)  # noqa: T201
        return 126
    os.setsid()
    uid = options["uid"]
    if uid is not None:
        os.chown(options["tmp"], uid, uid)
        resource.setrlimit(resource.RLIMIT_NPROC, (options["processes"], options["processes"]))
    os.chdir(options["cwd"])
    _check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    drop_root(uid)
    restrict_files(options, abi)
    # Without Landlock's scope and without a user id of its own, the judge could be signalled: then no signal may be sent.
    restrict_calls(machine, KILLERS[machine] if abi < 6 and uid is None else (), options["gpu"])
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
