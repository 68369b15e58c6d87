"""What the daemon can be told: the tables `[hub]` and `[worker]` of worker.toml. Plain values, no I/O.

`HubOptions` has the names and defaults of kojid.conf (contract 1.1), so a kojid.conf fills it as it stands;
`WorkerOptions` is what only this worker has. A field whose metadata says ``secret`` is never shown.
"""

from __future__ import annotations

from typing import Any

from attrs import NOTHING, field, frozen

from engine.core.fields import doc

MAX_CHECK_IN = 60
"""Seconds between two check-ins at most: the hub drops a host after 180 s and frees its tasks after 900 s."""

MAX_INTERVAL, MAX_TIMEOUT = 15, 300
"""Seconds between two tries of a call, and for one try: kojid's own are a silence too long for hub and watchdog."""
CAPS = {
    "sleeptime": MAX_CHECK_IN,
    "retry_interval": MAX_INTERVAL,
    "offline_retry_interval": MAX_INTERVAL,
    "timeout": MAX_TIMEOUT,
}
"""What is used of an option of `[hub]` at most."""


def secret(text: str, default: Any = NOTHING) -> Any:
    """A documented field whose value is masked wherever settings are shown."""
    return field(default=default, metadata={"doc": text, "secret": True})


@frozen(kw_only=True)
class HubOptions:
    """The hub, how to log in, and how often to ask it. Names are kojid.conf's."""

    server: str = doc("XML-RPC address of the hub. Required by the worker.", "")
    topurl: str = doc("Address of the hub's file tree; several, separated by blanks: the first is used.", "")
    topdir: str = doc("Where the hub's file tree is mounted here, if it is.", "/mnt/koji")
    workdir: str = doc("State and task workspaces of this worker.", "/var/tmp/koji-adjutant")  # noqa: S108
    sleeptime: int = doc("Seconds between two polls when nothing was taken; more than 60 counts as 60.", 15, ge=1)
    maxjobs: int = doc("Open tasks at most, waiting ones included.", 10, ge=1)
    minspace: int = doc("MiB that must be free below `workdir` and where podman keeps containers.", 8192, ge=0)
    packager: str = doc("Macro %packager.", "Koji")
    vendor: str = doc("Macro %vendor.", "Koji")
    distribution: str = doc("Macro %distribution.", "Koji")
    mockhost: str = doc("End of the macro %_host.", "koji-linux-gnu")
    rpmbuild_timeout: int = doc("Seconds one build may take.", 86400, ge=1)
    log_timestamps: bool = doc("True: upload NAME-ts.log beside each log (contract 3.4).", False)
    log_level: str | None = doc("Name of a logging level; the command line's -v and -d win.", None)
    user: str | None = doc("User of a password login (development only).", None)
    password: str | None = secret("Password of that user.", None)
    cert: str | None = doc("Client certificate with its key, PEM.", None)
    serverca: str | None = doc("CA bundle that the hub's certificate is checked against.", None)
    no_ssl_verify: bool = doc("True: do not check the hub's certificate (only without `serverca`).", False)
    krb_principal: str | None = doc("Kerberos principal; unset: from `host_principal_format`.", None)
    host_principal_format: str = doc("Principal with %s for the host's full name.", "compile/%s@EXAMPLE.COM")
    keytab: str = doc("Kerberos keytab.", "/etc/kojid/kojid.keytab")
    ccache: str = doc("Kerberos credential cache.", "/var/tmp/koji-adjutant.ccache")  # noqa: S108
    max_retries: int = doc("Tries of one call when the hub does not answer.", 120, ge=0)
    retry_interval: int = doc(
        "Seconds between two tries (the first one follows at once); more than 15 counts as 15, with more tries.",
        60,
        ge=0,
    )
    offline_retry: bool = doc("True: a hub that says it is offline is asked again for ever.", True)
    offline_retry_interval: int = doc("Seconds between those; more than 15 counts as 15.", 120, ge=0)
    timeout: int = doc("Seconds until a call without answer is tried again; more than 300 counts as 300.", 300, ge=1)
    use_fast_upload: bool = doc("True: raw POST uploads.", True)


@frozen(kw_only=True)
class WorkerOptions:
    """The daemon itself."""

    id: str = doc("Label of this worker's containers; unset: the host name (and workdir, if changed).", "")
    recipes: tuple[str, ...] = doc(
        "Recipe directories; the first file of a method counts. Empty: as for `engine render`.", ()
    )
    podman: str | None = doc("Address of the podman service; unset: the service is started as needed.", None)
    shutdown_timeout: int = doc("Seconds that running tasks get after SIGTERM before they are freed.", 120, ge=0)
    failures: int = doc(
        "Infrastructure failures in a row after which no task is taken any more for `pause` seconds.", 3, ge=1
    )
    pause: int = doc("Seconds to stay out before the self-check is run again.", 300, ge=1)
    max_load: float = doc("Load average per CPU above which no task is taken; kojid's is 4.", 4.0, gt=0)
    self_test: bool = doc(
        "True: before it is ready, make every check of `engine doctor` and try in containers what must fail. "
        "False: only start a container.",
        True,
    )
    selinux_type: str | None = doc("SELinux process type of the containers.", None)
    selinux_level: str | None = doc("SELinux level of the containers.", None)
