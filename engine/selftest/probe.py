"""Runs inside a probe container: tries what must fail and prints one line for each try.

    python3 -I probe.py EXPECT.json STEP

A line is ``probe NAME held|broke|noted|unsure|none DETAIL``. Standard library only; each try is a child with a
deadline, so that one that hangs or dies cannot hide the others. Nothing here harms a host even where it succeeds. One
file, for it is copied into the container.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Expect = dict[str, Any]
Try = Callable[[Expect], str]

DEADLINE = 20
PROBES: list[Try] = []
LIBC = ctypes.CDLL(None, use_errno=True)
MACHINE = os.uname().machine
# bpf, perf_event_open, kexec_load have no function in libc.
NUMBERS = {
    "x86_64": (321, 298, 246),
    "aarch64": (280, 241, 104),
    "ppc64le": (361, 319, 268),
    "s390x": (351, 331, 277),
}.get(MACHINE)
LONG = {"ptrace", "process_vm_readv"}  # what returns a long; of an int the upper half of a register is noise
OPEN_TREE, FSOPEN, MOUNT_SETATTR = 428, 430, 442  # the same on all architectures
NEW_USER, NEW_NS, NEW_NET, NEW_PID = 0x10000000, 0x00020000, 0x40000000, 0x20000000


class Broke(Exception):
    """What must fail has worked; the text says how."""


class Noted(Exception):
    """No way out, but an operator should know; the text says what."""


class NotHere(Exception):
    """There is nothing to try in this kind of step."""


class Unsure(Exception):
    """Cannot be tried here; the text says why."""


def probe(function: Try) -> Try:
    PROBES.append(function)
    return function


def refused(what: str, function: Callable[..., object], *arguments: Any) -> str:
    """`function` must raise OSError."""
    try:
        function(*arguments)
    except OSError as error:
        return f"{what}: {error.strerror or error}"
    raise Broke(what + " worked")


def system(what: str, name: str | int, *arguments: Any, denied: bool = False) -> str:
    """A function of libc (or a system call's number) must fail.

    `denied`: for want of the right to it, so that calls can be made that would be wrong where they are allowed.
    """
    try:
        call = LIBC.syscall if isinstance(name, int) else getattr(LIBC, name)
    except AttributeError:
        raise Unsure(f"libc has no {name}") from None
    call.restype = ctypes.c_long if name in LONG or isinstance(name, int) else ctypes.c_int
    words = ((ctypes.c_long(name),) if isinstance(name, int) else ()) + tuple(
        ctypes.c_long(word) if isinstance(word, int) else word for word in arguments
    )
    ctypes.set_errno(0)
    if call(*words) >= 0:
        raise Broke(what + " worked")
    code = ctypes.get_errno()
    if denied and code not in {errno.EPERM, errno.ENOSYS}:
        raise Broke(f"{what} is allowed: {os.strerror(code)}")
    return f"{what}: {os.strerror(code)}"


def status(key: str, path: str = "/proc/self/status") -> str:
    with open(path) as file:
        for line in file:
            if line.startswith(key + ":"):
                return line.split(":", 1)[1].strip()
    raise Unsure(f"no {key} in {path}")


def capability_names(mask: int) -> list[str]:
    return [f"bit {bit}" for bit in range(64) if mask >> bit & 1]


# --- who we are


@probe
def identity(expect: Expect) -> str:
    if (os.getuid(), os.getgid()) != (expect["uid"], expect["uid"]):
        raise Broke(f"runs as {os.getuid()}:{os.getgid()}")
    extra = set(os.getgroups()) - {expect["uid"]}
    if extra:
        raise Broke(f"has the groups {sorted(extra)}")
    return f"{os.getuid()}:{os.getgid()}"


@probe
def capabilities(expect: Expect) -> str:
    allowed = sum(1 << bit for bit in expect["caps"])
    for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh"):
        more = int(status(key), 16) & ~allowed
        if more:
            raise Broke(f"{key} has {', '.join(capability_names(more))} more than the step's profile")
    return status("CapEff")


@probe
def no_new_privileges(expect: Expect) -> str:
    if status("NoNewPrivs") != "1":
        raise Broke("NoNewPrivs is not set")
    return "set"


@probe
def seccomp(expect: Expect) -> str:
    if status("Seccomp") != "2":
        raise Broke(f"Seccomp is {status('Seccomp')}, not a filter")
    return "filtered"


@probe
def become_root(expect: Expect) -> str:
    if expect["uid"] == 0:
        raise NotHere
    said = [refused("setuid(0)", os.setuid, 0), refused("setgroups", os.setgroups, [0])]
    return "; ".join(said)


@probe
def setuid_file(expect: Expect) -> str:
    """The install step left a copy of python, root's and setuid, and one with file capabilities."""
    said = []
    for path in expect["privileged_files"]:
        if not os.path.exists(path):
            raise Unsure(f"{path} is not there")
        code = "print(*[line.split()[1] for line in open('/proc/self/status') if line.startswith(('Uid', 'CapEff'))])"
        words = [path, "-I", "-S", "-c", code.replace("[1]", "[1 + line.startswith('Uid')]")]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=True)
        except PermissionError as error:  # the kernel refuses a file whose capabilities it may not give
            said.append(f"{os.path.basename(path)}: {error.strerror}")
            continue
        uid, capabilities = done.stdout.split()
        if int(uid) != expect["uid"] or int(capabilities, 16):
            raise Broke(f"{path} ran as uid {uid} with capabilities {capabilities}")
        said.append(f"{os.path.basename(path)} ran as {uid}")
    if not said:
        raise NotHere
    return "; ".join(said)


@probe
def make_privileged_files(expect: Expect) -> str:
    """Not a try but its preparation: only the install step may, only in the root it installs into."""
    for path, mode in expect.get("make_privileged", ()):
        with open(os.path.realpath(sys.executable), "rb") as source, open(path, "wb") as target:
            target.write(source.read())
        os.chown(path, 0, 0)
        os.chmod(path, mode)
        if mode == 0o755:
            everything = b"\x01\x00\x00\x02" + b"\xff" * 16  # version 2, effective
            os.setxattr(path, "security.capability", everything)
    raise NotHere


# --- namespaces and processes


@probe
def namespaces(expect: Expect) -> str:
    same = []
    for name, host in expect["namespaces"].items():
        try:
            if os.readlink(f"/proc/self/ns/{name}") == host:
                same.append(name)
        except OSError:
            continue
    if same:
        raise Broke("shares with the host: " + ", ".join(same))
    return ", ".join(expect["namespaces"])


@probe
def host_processes(expect: Expect) -> str:
    seen = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    text = file.read()
            except OSError:
                continue
            if expect["token"].encode() in text:
                raise Broke(f"sees a process of the host: {name}")
            seen.append(name)
    if len(seen) > 12:
        raise Broke(f"sees {len(seen)} processes")
    return f"sees {len(seen)} processes, all its own"


@probe
def signal_host(expect: Expect) -> str:
    return refused("kill of the engine's process", os.kill, expect["host_pid"], 0)


@probe
def trace_host(expect: Expect) -> str:
    pid = expect["host_pid"]
    seize = 0x4206  # unlike attach, it does not stop a process where it works
    said = [system("ptrace of the engine", "ptrace", seize, pid, 0, 0)]
    local = ctypes.create_string_buffer(8)

    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    vector = Vector(ctypes.addressof(local), 8)
    reference = ctypes.byref(vector)
    said.append(system("reading the engine's memory", "process_vm_readv", pid, reference, 1, reference, 1, 0))
    return "; ".join(said)


@probe
def new_namespaces(expect: Expect) -> str:
    pairs = (("mount", NEW_NS), ("network", NEW_NET), ("pid", NEW_PID))
    return "; ".join(system(f"unshare of a {name} namespace", "unshare", flag) for name, flag in pairs)


@probe
def user_namespace(expect: Expect) -> str:
    """podman's own seccomp profile leaves this to the kernel: no way out, but more kernel to attack."""
    try:
        return system("unshare of a user namespace", "unshare", NEW_USER)
    except Broke:
        raise Noted("a container may make user namespaces of its own") from None


@probe
def inside_user_namespace(expect: Expect) -> str:
    """All capabilities in a user namespace of one's own must open nothing that was closed."""
    if LIBC.unshare(NEW_USER | NEW_NS | NEW_NET | NEW_PID) != 0:
        return "cannot be made"
    said = [
        system("mount of proc", "mount", b"proc", b"/tmp", b"proc", 0, None),
        system("mount of sysfs", "mount", b"sysfs", b"/tmp", b"sysfs", 0, None),
        system("umount of /proc", "umount2", b"/proc", 2),
        system("umount of a masked path", "umount2", b"/proc/kcore", 2),
        system("remount of /proc/sys writable", "mount", b"none", b"/proc/sys", None, 32 | 4096, None),
    ]
    for path in expect["read_only"]:
        said.append(system(f"remount of {path} writable", "mount", b"none", path.encode(), None, 32 | 4096, None))
    find_bait(expect, "from a user namespace")
    write_kernel_files(expect)
    make_device(expect)
    return f"{len(said)} refused; {said[0]}"


@probe
def enter_init(expect: Expect) -> str:
    """PID 1 is podman's init; its namespaces are ours, so entering them must change nothing."""
    try:
        descriptor = os.open("/proc/1/ns/mnt", os.O_RDONLY)
    except OSError as error:
        return f"/proc/1/ns/mnt: {error.strerror}"
    return system("setns", "setns", descriptor, 0)


# --- files


def baits(expect: Expect) -> Iterator[str]:
    for path in expect["baits"]:
        yield path
        yield f"/proc/1/root{path}"
        yield f"/proc/self/root/../../..{path}"
        yield f"/proc/self/cwd/../../../../../../..{path}"


def find_bait(expect: Expect, where: str) -> None:
    for path in baits(expect):
        try:
            with open(path, "rb") as file:
                content = file.read(4096)
        except OSError:
            continue
        if expect["token"].encode() in content or path in expect["forbidden"]:
            raise Broke(f"{where}: {path} of the host can be read")


@probe
def host_files(expect: Expect) -> str:
    find_bait(expect, "opened")
    for path in expect["forbidden"]:
        if os.path.lexists(path):
            raise Broke(f"{path} of the host is there")
    return f"{len(expect['baits']) + len(expect['forbidden'])} paths of the host are not there"


@probe
def link_out_of_the_workspace(expect: Expect) -> str:
    folder = expect.get("writable")
    if not folder:
        raise NotHere
    link = os.path.join(folder, f"link-{os.getpid()}")
    for bait in expect["baits"]:
        os.symlink(bait, link)
        try:
            with open(link, "rb") as file:
                if expect["token"].encode() in file.read(4096):
                    raise Broke(f"a link reads {bait}")
        except OSError:
            pass
        finally:
            os.unlink(link)
    return "a link leads nowhere"


@probe
def write_read_only(expect: Expect) -> str:
    for path in expect["read_only"]:
        refused(f"writing into {path}", open, os.path.join(path, "written"), "w")
        for name in os.listdir(path):
            if os.path.isfile(os.path.join(path, name)):
                refused(f"writing {name}", open, os.path.join(path, name), "r+")
    return ", ".join(expect["read_only"]) or "none"


@probe
def write_system(expect: Expect) -> str:
    if expect["uid"] == 0:
        raise NotHere
    for path in ("/etc/passwd", "/usr/bin/env", "/bin/sh"):
        if os.path.exists(path):
            refused(f"writing {path}", open, path, "r+")
    for path in ("/", "/etc", "/usr", "/usr/bin", "/var", "/root"):
        if os.path.isdir(path) and os.access(path, os.W_OK):
            raise Broke(f"{path} is writable")
    return "not writable"


KERNEL_FILES = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/module/printk/parameters/time",
)


@probe
def write_kernel_files(expect: Expect) -> str:
    for path in KERNEL_FILES:
        if os.path.exists(path):
            refused(f"opening {path} for writing", lambda path=path: os.close(os.open(path, os.O_WRONLY)))
    return "read-only"


CGROUP_FILES = {"release_agent", "devices.allow", "memory.limit_in_bytes", "memory.max", "pids.max", "cgroup.procs"}
MASKED = (
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi/scsi",
    "/sys/firmware/dmi/tables/DMI",
)


@probe
def write_cgroups(expect: Expect) -> str:
    for folder, _directories, files in os.walk("/sys/fs/cgroup"):
        for name in files:
            if name in {
                "release_agent",
                "devices.allow",
                "memory.limit_in_bytes",
                "memory.max",
                "pids.max",
                "cgroup.procs",
            }:
                path = os.path.join(folder, name)
                try:
                    os.close(os.open(path, os.O_WRONLY))
                except OSError:
                    continue
                raise Broke(f"{path} is writable")
    return "read-only"


@probe
def read_masked(expect: Expect) -> str:
    for path in (
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/scsi/scsi",
        "/sys/firmware/dmi/tables/DMI",
    ):
        try:
            with open(path, "rb") as file:
                if file.read(16):
                    raise Broke(f"{path} can be read")
        except OSError:
            continue
    return "masked"


@probe
def inherited_files(expect: Expect) -> str:
    own = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if int(name) > 2 and not target.startswith(("/proc/", "pipe:")):
            own.append(f"{name} -> {target}")
    if own:
        raise Broke("inherited " + ", ".join(own))
    return "none"


HOST_VARIABLES = {"NOTIFY_SOCKET", "CONTAINER_HOST", "XDG_RUNTIME_DIR", "KRB5CCNAME"}


@probe
def environment(expect: Expect) -> str:
    text = "\0".join(f"{key}={value}" for key, value in os.environ.items())
    if expect["token"] in text:
        raise Broke("has a variable of the engine")
    for name in os.environ:
        if name.lower().endswith("_proxy") or name in {
            "NOTIFY_SOCKET",
            "CONTAINER_HOST",
            "XDG_RUNTIME_DIR",
            "KRB5CCNAME",
        }:
            raise Broke(f"{name} is set")
    return f"{len(os.environ)} variables"


@probe
def chroot_escape(expect: Expect) -> str:
    """chroot twice, the old way out; ends in the container's own root."""
    folder = f"/tmp/escape-{os.getpid()}"  # noqa: S108 - in the container
    os.mkdir(folder)
    try:
        os.chroot(folder)
    except OSError as error:
        os.rmdir(folder)
        return f"chroot: {error.strerror}"
    for _step in range(64):
        os.chdir("..")
    os.chroot(".")
    find_bait(expect, "after leaving a chroot")
    return "ends in the container's own root"


@probe
def open_by_handle(expect: Expect) -> str:
    class Handle(ctypes.Structure):
        _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]

    handle, mount = Handle(bytes=128), ctypes.c_int()
    LIBC.name_to_handle_at(-100, b"/etc/hosts", ctypes.byref(handle), ctypes.byref(mount), 0)
    folder = os.open("/etc", os.O_RDONLY)
    return system("open_by_handle_at", "open_by_handle_at", folder, ctypes.byref(handle), os.O_RDONLY, denied=True)


# --- mounts and devices


@probe
def mount(expect: Expect) -> str:
    target = b"/tmp"
    said = [
        system("mount of a tmpfs", "mount", b"none", target, b"tmpfs", 0, None),
        system("bind mount", "mount", b"/etc", target, None, 4096, None),
        system("mount of proc", "mount", b"proc", target, b"proc", 0, None),
        system("remount of / writable", "mount", b"none", b"/", None, 32 | 4096, None),
        system("umount of /proc", "umount2", b"/proc", 2),
        system("pivot_root", "pivot_root", b"/", b"/tmp"),
    ]
    for path in expect["read_only"]:
        said.append(system(f"remount of {path} writable", "mount", b"none", path.encode(), None, 32 | 4096, None))
    return f"{len(said)} refused; {said[0]}"


@probe
def mount_new_calls(expect: Expect) -> str:
    said = [
        system("fsopen", FSOPEN, b"tmpfs", 0),
        system("open_tree", OPEN_TREE, -100, b"/", 1),
        system("mount_setattr", MOUNT_SETATTR, -100, b"/", 0, ctypes.create_string_buffer(32), 32),
    ]
    return "; ".join(said)


@probe
def devices(expect: Expect) -> str:
    usual = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"}
    for folder, directories, files in os.walk("/dev"):
        directories[:] = [name for name in directories if name not in {"pts", "shm", "mqueue"}]
        for name in files:
            kind = os.lstat(os.path.join(folder, name)).st_mode
            if stat.S_ISBLK(kind) or (stat.S_ISCHR(kind) and name not in usual):
                raise Broke(f"{folder}/{name} is there")
    return "only the usual"


DEVICES = (
    (stat.S_IFCHR, os.makedev(1, 1)),
    (stat.S_IFBLK, os.makedev(8, 0)),
    (stat.S_IFBLK, os.makedev(254, 0)),
)  # memory, disks


@probe
def make_device(expect: Expect) -> str:
    folder = expect.get("writable") or "/tmp"  # noqa: S108 - in the container
    said = []
    for kind, number in (
        (stat.S_IFCHR, os.makedev(1, 1)),
        (stat.S_IFBLK, os.makedev(8, 0)),
        (stat.S_IFBLK, os.makedev(254, 0)),
    ):
        path = os.path.join(folder, f"device-{os.getpid()}")
        said.append(refused("mknod", os.mknod, path, kind | 0o666, number))
    return said[0]


# --- the kernel


@probe
def kernel_calls(expect: Expect) -> str:
    buffer = ctypes.create_string_buffer(128)
    said = [
        system("init_module", "init_module", buffer, 0, b"", denied=True),
        system("swapon", "swapon", b"/nonexistent/x", 0, denied=True),
        system("acct", "acct", b"/nonexistent/x", denied=True),
        system("sethostname", "sethostname", os.uname().nodename.encode(), len(os.uname().nodename)),
    ]
    if NUMBERS:
        bpf, perf, kexec = NUMBERS
        said += [
            system("bpf", bpf, 5, buffer, 120, denied=True),
            system("kexec_load", kexec, 0, 99, buffer, 0, denied=True),
        ]
        attributes = ctypes.create_string_buffer(128)
        attributes[4] = b"\x70"  # the size; type 0 is hardware, config 0 cycles, of every process
        said.append(system("perf_event_open", perf, attributes, -1, 0, -1, 0))
    said.append(refused("setting the clock", time.clock_settime, time.CLOCK_REALTIME, time.time()))
    return f"{len(said)} refused"


# --- network


@probe
def raw_socket(expect: Expect) -> str:
    said = [refused("raw socket", socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)]
    said.append(refused("packet socket", socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0))
    return "; ".join(said)


@probe
def interfaces(expect: Expect) -> str:
    if expect["network"]:
        raise NotHere
    names = [name for _index, name in socket.if_nameindex()]
    more = []
    for name in names:
        if name != "lo":
            with open(f"/sys/class/net/{name}/operstate") as file:
                state = file.read().strip()
            with open(f"/sys/class/net/{name}/flags") as file:
                if int(file.read(), 16) & 1:
                    more.append(f"{name} ({state})")
    if more:
        raise Broke("has " + ", ".join(more))
    return ", ".join(names)


@probe
def reach_host(expect: Expect) -> str:
    if expect["network"]:
        raise NotHere
    for address in expect["addresses"]:
        refused(f"connecting to {address[0]}", lambda address=address: socket.create_connection(address, timeout=3))
    return f"{len(expect['addresses'])} addresses of the host refused"


@probe
def abstract_socket(expect: Expect) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        return refused("abstract socket of the host", client.connect, "\0" + expect["abstract"])


# --- limits


@probe
def limit_pids(expect: Expect) -> str:
    most = expect.get("pids")
    if not most:
        raise NotHere
    children: list[int] = []
    try:
        while len(children) <= most:
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
    except OSError as error:
        return f"{len(children)} processes, then: {error.strerror}"
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
    raise Broke(f"{len(children)} processes, the limit is {most}")


@probe
def limit_memory(expect: Expect) -> str:
    most = expect.get("memory")
    if not most:
        raise NotHere
    child = os.fork()
    if child == 0:
        try:
            block = bytearray(most + most // 2)
            for place in range(0, len(block), 4096):
                block[place] = 1
            os._exit(0)
        except MemoryError:
            os._exit(7)
    _pid, code = os.waitpid(child, 0)
    if code == 0:
        raise Broke(f"used {most + most // 2} bytes, the limit is {most}")
    return "killed" if os.WIFSIGNALED(code) else "refused"


def attempt(function: Try, expect: Expect) -> tuple[str, str]:
    """(verdict, detail) of one try, made by a child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            answer = ("held", function(expect))
        except Broke as error:
            answer = ("broke", str(error))
        except Noted as error:
            answer = ("noted", str(error))
        except NotHere:
            answer = ("none", "")
        except Unsure as error:
            answer = ("unsure", str(error))
        except BaseException as error:
            answer = ("unsure", f"{type(error).__name__}: {error}")
        os.write(write, json.dumps(answer).encode()[:4000])
        os._exit(0)
    os.close(write)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(DEADLINE)
    data = b""
    while part := os.read(read, 4096):
        data += part
    os.waitpid(child, 0)
    signal.alarm(0)
    os.close(read)
    try:
        verdict, detail = json.loads(data)
    except ValueError:
        return "unsure", "the try itself was killed"
    return verdict, " ".join(str(detail).split())


def main() -> None:
    with open(sys.argv[1]) as file:
        everything = json.load(file)
    expect = {**everything["all"], **everything["steps"][sys.argv[2]]}
    for function in PROBES:
        verdict, detail = attempt(function, expect)
        print("probe", function.__name__, verdict, detail, flush=True)
    print("probe end held", len(PROBES), flush=True)


if __name__ == "__main__":
    main()
