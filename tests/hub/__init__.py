"""A stand-in for a Koji hub: real XML-RPC over HTTP, real uploads to disk, rules as observed on a real hub.

    with HubStandIn(tmp_path / "koji") as hub:
        hub.add_host("builder1", arches="x86_64", capacity=4)        # user builder1, password builder1
        hub.add_tag("dist-test-build", "x86_64", {"rpm.macro.dist": ".t1"}, groups={"build": ["bash"]})
        repo = hub.add_repo("dist-test-build", Path("rpms/"))         # indexed with createrepo_c, READY
        task = hub.make_task("createrepo", [repo, "x86_64", None])
        ...                                                           # a worker on hub.url, hub.topurl
        assert hub.wait_task(task, timeout=20)["state_name"] == "CLOSED"
        assert hub.calls("host.openTask", who="builder1")

Addresses: `url`, `topurl` (read-only file tree), `topdir` (a Path), `task_dir(id)`, `repo_dir(id)`.
Contents: `add_user`, `add_channel`, `add_host`, `host(name)`, `add_tag`, `edit_tag`, `add_target`,
`add_package`, `add_external_repo`, `add_builds`, `add_repo`, `set_repo_state`, `serve_repo_queue`.
Tasks: `make_task(method, args, owner=, arch=, channel=, kwargs=, ...)`, `cancel`, `free`, `assign`,
`task(id)` (a dict with `state_name`), `tasks(**fields)`, `result(id)`, `wait_task(id, timeout, states)`,
`run_scheduler()`.
Trouble: `network_down()`, `network_up()`, `network_outage()` (context), `restart()` (same port, same
state), `offline(True)`, `lose_answers(method, count)` (done, but the answer is lost), `slow_answers(s)`,
`answer_instead(method, answer, count)` (not done; a value, a Fault or a HTTPStatus is answered),
`expire_session(user or id)`, `close_session(user or id)`.
Time: `clock.advance(seconds)` moves the hub's clock, so timeouts need no waiting; `settings` holds every
interval (`run_interval` is 0.1 s here, the others are upstream's).
Clients: `session(user)` is a logged-in koji.ClientSession; `call_log` and `calls(method, who)` are
`CallRecord`s: time, seconds, who, session_id, callnum, method, args, kwargs, result, fault_code,
fault_text. A raw upload is method "rawUpload", args (directory, name), kwargs offset, overwrite, size.
`command_line.CommandLine(hub, directory)("make-task", "sleep", "1")` runs the installed `koji` as a user.
`upstream_builder` is a builder of koji.daemon.TaskManager, to compare with.
`minimal_rpm(...)` makes the bytes of a package with a header and no files.

By hand: `python -m tests.hub --topdir DIR --port 8080`.

Logins: by password; with `HubStandIn(..., tls=Authority(folder))` by certificate as well; with `realm=Realm(folder)`,
a KDC of one's own, by Kerberos too (koji.ClientSession's gssapi_login).

Not here: volumes, maven, win, image and dist-repo calls, drafts, mail, the lock of a
file that two clients upload at once, noarch comparison and tag policies. What of the
recorded traffic is not answered alike is listed in test_transcripts.py.
"""

from __future__ import annotations

from .certificates import Authority
from .clock import Clock
from .dispatch import CallRecord
from .realm import Realm, why_no_realm
from .rpm_files import minimal_rpm
from .settings import Settings
from .standin import HubStandIn

__all__ = ["Authority", "CallRecord", "Clock", "HubStandIn", "Realm", "Settings", "minimal_rpm", "why_no_realm"]
