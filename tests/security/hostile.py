"""Hostile inputs as tables: what is said, and how it must end. `test_hostile.py` tries each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

HEAD = 'recipe = 1\nmethod = "toy"\n'
STEP = '[[steps]]\nname = "one"\nnetwork = "none"\nargv = ["true"]\n'


class Refused(NamedTuple):
    """A recipe that asks for more than it may have: the text, and a pattern of the refusal (key path, words)."""

    name: str
    text: str
    says: str


def _mount(source: str, target: str = "/mnt/x", mode: str = "ro", more: str = "") -> str:
    return f'{HEAD}[[container.mounts]]\nsource = "{source}"\ntarget = "{target}"\nmode = "{mode}"\n{more}{STEP}'


def _step(more: str) -> str:
    return HEAD + STEP + more + "\n"


RECIPES = [
    Refused("privileged", _step("privileged = true"), r"steps\[0\]: unknown key 'privileged'"),
    Refused("host network", _step("").replace('"none"', '"host"'), r"steps\[0\].network: must be one of"),
    Refused("container network", _step("").replace('"none"', '"container:x"'), r"steps\[0\].network: must be one of"),
    Refused("host pid", _step('pid = "host"'), "unknown key 'pid'"),
    Refused("host ipc", _step('ipc = "host"'), "unknown key 'ipc'"),
    Refused("host user namespace", _step('userns = "host"'), "unknown key 'userns'"),
    Refused("devices", _step('devices = ["/dev/sda"]'), "unknown key 'devices'"),
    Refused("all capabilities", _step('caps = "all"'), r"steps\[0\].caps: must be one of"),
    Refused("a capability of its own", _step('caps = ["SYS_ADMIN"]'), r"steps\[0\].caps"),
    Refused("seccomp off", _step('security_opt = ["seccomp=unconfined"]'), "unknown key 'security_opt'"),
    Refused("another user", _step('user = "0:0"'), r"steps\[0\].user: must be one of"),
    Refused("mount of /", _mount("/"), r"container.mounts\[0\].source: .*may never be mounted"),
    Refused("mount of /etc", _mount("/etc"), r"container.mounts\[0\].source: .*may never be mounted"),
    Refused("mount of a file in /etc", _mount("/etc/shadow"), "may never be mounted"),
    Refused("mount of /proc", _mount("/proc/1"), "may never be mounted"),
    Refused("mount of the podman socket", _mount("/run/podman/podman.sock"), "sockets of the host"),
    Refused("mount of /var/run", _mount("/var/run/docker.sock"), "sockets of the host"),
    Refused("mount of a home", _mount("/home/alice"), "home directory"),
    Refused("mount of root's home", _mount("/root"), "home directory"),
    Refused("mount of keys", _mount("/srv/.ssh"), "credentials"),
    Refused("mount of podman's storage", _mount("/var/lib/containers"), "may never be mounted"),
    Refused("mount of what nobody allowed", _mount("/srv/data"), "not a tree the operator allows"),
    Refused("mount by ..", _mount("/mnt/koji/../../etc"), r"'\.\.' is not allowed"),
    Refused("mount beside an allowed tree", _mount("/mnt/koji-secret"), "not a tree the operator allows"),
    Refused("writable archive", _mount("/mnt/koji", mode="rw"), "may only be read"),
    Refused("whole workspace", _mount("{{ workspace.host }}", mode="rw"), "whole workspace"),
    Refused("the logs", _mount("{{ workspace.host }}/logs", mode="rw"), r"logs/ may never be mounted"),
    Refused("writable inputs", _mount("{{ workspace.host }}/in", mode="rw"), "in/ is read-only"),
    Refused("out of the workspace", _mount("{{ workspace.host }}/../x"), r"'\.\.' is not allowed"),
    Refused("over /usr", _mount("{{ workspace.host }}/result", "/usr"), "nothing may be mounted at /usr"),
    Refused("over /proc", _mount("{{ workspace.host }}/result", "/proc"), "nothing may be mounted at /proc"),
    Refused("over everything", _mount("{{ workspace.host }}/result", "/"), "nothing may be mounted at /"),
    Refused(
        "a mount below a writable one",
        _mount("{{ workspace.host }}/result", "/mnt/a", mode="rw")
        + '[[steps]]\nname = "two"\nargv = ["true"]\n'
        + '[[steps.mounts]]\nsource = "{{ workspace.host }}/result/sub"\ntarget = "/mnt/b"\n',
        r"steps\[1\].mounts: .*/result/sub lies inside .*/result, which a step may write",
    ),
    Refused("options in a mount", _mount("{{ workspace.host }}/result", "/x", more='options = ["suid"]\n'), "unknown"),
    Refused("too much memory", _step('limits = { memory = "64g" }'), r"limits.memory: .*more than the operator allows"),
    Refused("too many processes", _step("limits = { pids = 100000 }"), r"limits.pids: .*more than the operator"),
    Refused("too many cpus", _step("limits = { cpus = 64.0 }"), r"limits.cpus: .*more than the operator allows"),
    Refused("too many open files", _step("limits = { nofile = 1048577 }"), r"limits.nofile: .*more than the operator"),
    Refused("too long", _step("timeout = 99999999"), r"steps\[0\].timeout: .*more than the operator allows"),
    Refused("a secret nobody gave", _step('secrets = ["keytab"]'), r"secrets\[0\]: there is no secret 'keytab'"),
    Refused("a secret by path", _step('secrets = ["../../etc/shadow"]'), r"secrets\[0\]: must be one word"),
    Refused("target outside an installing step", _step("target = true"), r"target"),
    Refused("Python in a template", _step("summary = \"{{ ''.__class__.__mro__ }}\""), "steps"),
    Refused("a filter that is none", _step("summary = \"{{ 1 | attr('x') }}\""), "steps"),
    Refused("file outside in/", HEAD + '[[files]]\npath = "../x"\ncontent = ""\n' + STEP, r"files\[0\].path"),
    Refused("log by path", _step('log = "../../x.log"'), r"steps\[0\].log: must be a file name"),
    Refused(
        "glob by ..", HEAD + STEP + '[[artifacts]]\nname = "a"\nglob = ["result/../../*"]\n', r"artifacts\[0\].glob"
    ),
    Refused("glob of logs", HEAD + STEP + '[[artifacts]]\nname = "a"\nglob = ["logs/*"]\n', r"artifacts\[0\].glob"),
    Refused("image as an option", _step('image = "--privileged"'), r"steps\[0\].image"),
]

BOMBS = [
    ("deep arrays", "x = " + "[" * 5000 + "]" * 5000),
    ("deep tables", "[" + ".".join("a" for _ in range(3000)) + "]\nx = 1\n"),
    ("many tables", "".join(f"[[steps]]\nname = 's{i}'\n" for i in range(30000))),
    ("a long string", f'recipe = 1\nmethod = "{"a" * 3_000_000}"\n'),
    ("a huge integer", "recipe = " + "9" * 100_000),
    ("many keys", HEAD + "".join(f"k{i} = 1\n" for i in range(40000))),
    ("dotted keys", "".join(f"{'a.' * 90}k{i} = 1\n" for i in range(1000))),
    ("NUL", 'recipe = 1\nmethod = "a\\u0000b"\n'),
    ("not UTF-8", b"recipe = 1\nmethod = '\xff\xfe'\n"),
    ("not TOML", "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'a'>]>"),
    ("a template that loops", HEAD + STEP + "summary = '{% for a in range(999999999) %}x{% endfor %}'\n"),
    ("a template that multiplies", HEAD + STEP + "summary = '{{ \"a\" * 999999999 }}'\n"),
    ("a power", HEAD + STEP + "summary = '{{ 9 ** (9 ** 9) }}'\n"),
]

WORDS = [
    "$(touch /tmp/broke)",
    "`id`",
    "; rm -rf /",
    "| sh",
    "&& reboot",
    "' ; id; '",
    '" ; id; "',
    "{{ 7 * 7 }}",
    "{% include '/etc/passwd' %}",
    "%(id)",
    "${HOME}",
    "*",
    "~root",
    "a b\tc",
    "\u202egnp.exe",
    "--",
]
"""Values that must arrive as they are, one word each."""

WORDS_REFUSED = ["-o", "--privileged", "a\nb", "a\x00b", "a\rb", "x" * 200_000]
"""Values that must be refused as an argument."""

PATHS_REFUSED = [
    "../../etc/shadow",
    "/etc/shadow",
    "a/../../b",
    "-rf",
    "a\nb.src.rpm",
    "a\x00b",
    "",
    ".",
    "a//b",
    "./a",
]
"""Values that must be refused as a path below the hub's work directory."""


class Script(NamedTuple):
    """A step's shell script in a container with small limits, and how the task must end.

    `status` done or failed, `says` a pattern in the failure's message, `files` what is collected; `plain` the same
    three where a plain user's worker ends otherwise. `unbound` replaces `says` where no cgroup bounds memory.
    `log` is a pattern in the step's log. `meets` is the limit that the script must have come up to: "pids" or
    "memory"; it stays for a second after that, to be seen. `limits` differ from the ground's. $OUT is the path
    on the host of a directory that is not the task's.
    """

    name: str
    script: str
    status: str
    says: str = ""
    files: tuple[str, ...] = ()
    plain: tuple[str, str, tuple[str, ...]] | None = None
    unbound: str = ""
    log: str = ""
    meets: str = ""
    limits: Mapping[str, int] = {}


UNREADABLE = "cannot be read by others"

SCRIPTS = [
    Script("good", "echo x > good.txt", "done", files=("good.txt",)),
    Script(
        "link to a host file",
        "ln -s /etc/shadow shadow.txt; ln -s ../../../../etc/passwd up.txt; ln -s $OUT/precious precious.txt",
        "done",
    ),
    Script(
        "link to a directory",
        "ln -s / root; ln -s .. up; ln -s $OUT d; echo x > d/y.txt; echo x > good.txt",
        "done",
        files=("good.txt",),
    ),
    Script("link to itself", "ln -s self.txt self.txt", "done"),
    Script(
        "link in place of result/",
        "cd ..; rm -rf result; ln -s $OUT result; rmdir result; mv result old; ln -s $OUT result/d; true",
        "done",
    ),
    Script(
        "hard link to the inputs",
        "for name in ../in/x /etc/passwd $OUT/precious; do ln $name ${name##*/}.txt 2>/dev/null; done; true",
        "done",
    ),
    Script("fifo", "mkfifo wait.txt", "done"),
    Script("socket", "nc -lU sock.txt >/dev/null 2>&1 & sleep 0.5", "done"),
    Script("setuid", "cp /bin/busybox su.txt; chmod 6755 su.txt", "done", files=("su.txt",)),
    Script(
        "unreadable",
        "echo x > x.txt; chmod 0 x.txt; ln -s $OUT/precious y.txt",
        "done",
        files=("x.txt",),
        plain=("failed", UNREADABLE, ()),
    ),
    Script(
        "closed directory",
        "mkdir d; echo x > d/x.txt; ln -s $OUT d/out; ln -s $OUT/precious d/y.txt; chmod 0 d",
        "done",
        files=("x.txt",),
        plain=("failed", UNREADABLE, ()),
    ),
    Script(
        "a sparse terabyte",
        "dd if=/dev/zero of=big.txt bs=1 count=0 seek=1099511627776 2>/dev/null",
        "failed",
        "too much to collect",
    ),
    Script(
        "a sparse terabyte beside", "dd if=/dev/zero of=big.bin bs=1 count=0 seek=1099511627776 2>/dev/null", "done"
    ),
    Script(
        "100 000 files",
        "seq 100000 | sed 's/$/.txt/' | xargs -n 5000 touch",
        "failed",
        "too much to collect: 100000 files, the limit is 10000",
        limits={"seconds": 40},
    ),
    Script(
        "more files than a walk takes",
        "seq 200001 | xargs -n 5000 touch",
        "failed",
        "more than 200000 files where artifacts are looked for",
        limits={"seconds": 40, "memory": 512 * 1024**2},  # the kernel's own for so many names count
    ),
    Script(
        "a deep tree",
        "i=0; while [ $i -lt 300 ]; do mkdir d && cd d; i=$((i+1)); done; : > x.txt; ln -s $OUT d; ln -s $OUT out.txt",
        "done",
    ),
    Script("a name with a newline", "echo x > \"$(printf 'a\\nb.txt')\"", "failed", "name"),
    Script(
        "a name that is an option",
        "echo x > ./--rf.txt; ln -s $OUT/precious ./-r.txt",
        "failed",
        r"the file name 'result/--rf\.txt' is refused",
    ),
    Script("a name with escapes", "echo x > \"$(printf '\\033[2Jx.txt')\"", "failed", "name"),
    Script(
        "a name of 255 bytes",
        "echo x > $(printf 'a%.0s' $(seq 251)).txt; ln -s $OUT/precious $(printf 'b%.0s' $(seq 251)).txt",
        "done",
        files=("a" * 251 + ".txt",),
    ),
    Script(
        "a log of 5 GB",
        "yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head -c 5368709120",
        "failed",
        "log grew beyond",
    ),
    Script("a log in one line", "head -c 100000000 /dev/zero | tr '\\0' a", "failed", "log grew beyond"),
    Script("escapes in the log", "printf '\\033]0;owned\\007\\033[2J\\r\\n'; false", "failed", "exit code 1"),
    Script(
        "fork bomb",
        "b() { b & b & while :; do sleep 30 & done; }; b & exec sleep 60",
        "failed",
        "no end after 10 s",
        log="can't fork",
        meets="pids",
        limits={"seconds": 10},
    ),
    # The seconds before a bomb: what dies before the engine watches its cgroup is "killed by signal 9" and no more.
    Script(
        "memory bomb",
        "sleep 3; x=a; while :; do x=$x$x; done",
        "failed",
        r"out of memory \(limit 96\.0 MiB\)",
        unbound="killed by signal 9",
        limits={"seconds": 40},
    ),
    Script(
        "memory bomb in a child",
        "sleep 3; sh -c 'x=a; while :; do x=$x$x; done'; sleep 1; exit 3",
        "failed",
        r"out of memory \(limit 96\.0 MiB\)",
        unbound="exit code 3",
        log="Killed",
        meets="memory",
        limits={"seconds": 40},
    ),
    Script(
        "memory by /dev/shm",
        "sleep 3; dd if=/dev/zero of=/dev/shm/x bs=1M count=4000; sleep 1; exit 6",
        "failed",
        r"out of memory \(limit 32\.0 MiB\)",
        unbound="exit code 6",
        log="Killed|No space left on device",
        meets="memory",
        limits={"memory": 32 * 1024**2},
    ),
    Script(
        "/dev/shm to its end",
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=4000; wc -c < /dev/shm/x; exit 6",
        "failed",
        "exit code 6",
        log=r"No space left on device\n[^$]*\n6[0-9]{7}\n",
    ),
    Script(
        "ignores SIGTERM",
        "trap '' TERM INT HUP; while :; do sleep 1; done",
        "failed",
        "no end after 3 s",
        limits={"seconds": 3},
    ),
    Script("stops itself", "kill -STOP $$; false", "failed", "no end after 3 s", limits={"seconds": 3}),
    Script("daemon", "(setsid sleep 300 </dev/null >/dev/null 2>&1 &); echo x > good.txt", "done", files=("good.txt",)),
    Script("daemon that holds the log", "(setsid sleep 300 &); echo x > good.txt", "done", files=("good.txt",)),
    Script("kills its init", "kill -9 1; kill -9 -1; echo x > $OUT/precious; ln -s $OUT d", "done"),
    Script("exit 137", "exit 137", "failed", "killed by signal 9"),
    Script("exit 125", "exit 125", "failed", "exit code 125"),
    Script("exit 255", "exit 255", "failed", "exit code 255"),
    Script(
        "removes everything",
        "exec 2>/dev/null; rm -rf / $OUT; rm -rf /*; mkdir -p $OUT; echo x > $OUT/precious; chmod 0 $OUT/*; true",
        "done",
    ),
    Script("closes its streams", "exec >&- 2>&- <&-; sleep 1; exit 4", "failed", "exit code 4"),
    Script("writes to another step's log", "echo x >> ../logs/one.log; mkdir ../logs; exit 1", "failed", "exit code 1"),
    Script("fills the workspace's tmp", "head -c 300000000 /dev/zero > /tmp/x; exit 5", "failed", "exit code 5"),
]
