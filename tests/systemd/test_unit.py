"""packaging/systemd/system/koji-adjutant.service under a real systemd, with real containers."""

from __future__ import annotations

import pytest

from tests.hub import HubStandIn
from tests.systemd.machine import Machine
from tests.systemd.unit import CONFIG, NAME, PACKAGED, Unit, UserUnit
from tests.worker.workshop import wait_for

pytestmark = pytest.mark.podman


def test_the_units_are_well_formed(machine: Machine) -> None:
    for kind, option in (("system", "--system"), ("user", "--user")):
        machine.write(f"/etc/systemd/{kind}/{NAME}", (PACKAGED / kind / NAME).read_text())
        machine.run("mkdir", "-p", "/run/verify")
        known = ["env", "XDG_RUNTIME_DIR=/run/verify", "HOME=/root"]
        done = machine.run(*known, "systemd-analyze", option, "verify", "--man=no", NAME, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_units_differ_only_in_what_they_must() -> None:
    system, user = (
        {line for line in (PACKAGED / kind / NAME).read_text().splitlines() if line and not line.startswith("#")}
        for kind in ("system", "user")
    )
    assert system - user == {
        "Wants=network-online.target",
        "After=network-online.target",
        "WantedBy=multi-user.target",
    }
    assert user - system == {"Delegate=yes", "WantedBy=default.target"}


def test_from_start_to_stop(unit: Unit, hub: HubStandIn) -> None:
    unit.configure()
    hub.slow_answers(5)
    unit.systemctl("start", "--no-block", NAME)
    # Until READY it is activating, and says what it is at.
    unit.wait(StatusText=f"starting: logging in at {hub.url}")
    assert unit.show("ActiveState") == "activating"
    hub.slow_answers(0)
    unit.wait(ActiveState="active", SubState="running")
    unit.wait(StatusText="ready; 0 tasks")
    task = hub.make_task("toy", ["hello", 20])
    unit.wait(StatusText="ready; 1 task")
    shown = unit.systemctl("status", NAME).stdout
    assert 'Status: "ready; 1 task"' in shown
    assert "Active: active (running)" in shown
    # Reload keeps the process and the task.
    before = unit.pid
    unit.systemctl("reload", NAME)
    assert hub.wait_task(task)["state_name"] == "CLOSED"
    assert (unit.pid, unit.show("ActiveState")) == (before, "active")
    # Stop, in the middle of a task that gets no time: SIGTERM to the daemon only, which ends the container and frees.
    task = hub.make_task("toy", ["endless", 600])
    wait_for(lambda: any(f"-{task}-" in name for name in unit.containers()), 90, unit.journal())
    unit.systemctl("stop", NAME)
    assert hub.task(task)["state_name"] == "FREE"
    assert unit.show("Result") == "success"
    assert f"asking task {task} (pid " in unit.journal()
    assert "with signal SIGKILL" not in unit.journal()
    assert [call.kwargs for call in hub.calls("host.updateHost")][-1] == {"task_load": 0.0, "ready": False}
    unit.assert_nothing_left()


def running_container(unit: Unit, hub: HubStandIn, *args: object) -> int:
    """The id of a new task whose container runs."""
    task = hub.make_task("toy", ["task", *args])
    wait_for(lambda: any(f"-{task}-" in name for name in unit.containers()), 90, unit.journal())
    return task


def test_a_hung_daemon_and_a_killed_one(unit: Unit, hub: HubStandIn) -> None:
    """Both come back by themselves; containers of the old process go, its task is free for others."""
    unit.configure("RestartSec=1\nWatchdogSec=8")
    unit.start()
    for number, (signal, result) in enumerate([("STOP", "watchdog"), ("KILL", "signal")], start=1):
        task, before = running_container(unit, hub, 600), unit.pid
        (container,) = unit.containers("{{.ID}}")
        hub.forget_calls()
        unit.kill(signal)
        unit.wait(Result=result)
        unit.wait(NRestarts=str(number), ActiveState="active", SubState="running")
        assert unit.pid != before
        wait_for(lambda: hub.calls("host.freeTasks"), 90, unit.journal())
        assert [call.args for call in hub.calls("host.freeTasks")] == [([task],)]
        assert container not in unit.containers("{{.ID}}")
        hub.cancel(task)  # it may have been given out again, to this very host
        wait_for(lambda: not unit.containers(), 90)
    again = hub.make_task("toy", ["again"])
    assert hub.wait_task(again)["state_name"] == "CLOSED", unit.journal()
    unit.systemctl("stop", NAME)
    unit.assert_nothing_left()


def test_a_killed_daemon_that_does_not_come_back(unit: Unit, hub: HubStandIn) -> None:
    """Containers are in groups that systemd does not end with the unit."""
    unit.configure("Restart=no")
    unit.start()
    running_container(unit, hub, 600)
    unit.kill("KILL")
    unit.wait(ActiveState="failed", Result="signal")
    unit.assert_nothing_left()


def test_time_to_stop(unit: Unit, hub: HubStandIn) -> None:
    """The worker asks for the time its settings give running tasks, whatever the unit says."""
    unit.settings["worker"]["shutdown_timeout"] = 30
    unit.configure("TimeoutStopSec=2")
    unit.start()
    task = running_container(unit, hub, 5)
    unit.systemctl("stop", NAME)
    assert hub.task(task)["state_name"] == "CLOSED", unit.journal()
    assert unit.show("Result") == "success"
    unit.assert_nothing_left()


def test_starting_anew(unit: Unit, hub: HubStandIn) -> None:
    unit.configure()
    unit.start()
    before, began = unit.pid, unit.show("ExecMainStartTimestampMonotonic")
    hub.slow_answers(5)
    unit.kill("USR1")
    unit.wait(ActiveState="reloading")
    hub.slow_answers(0)
    unit.wait(ActiveState="active", StatusText="ready; 0 tasks")
    assert (unit.pid, unit.show("ExecMainStartTimestampMonotonic"), unit.show("NRestarts")) == (before, began, "0")
    task = hub.make_task("toy", ["hello"])
    assert hub.wait_task(task)["state_name"] == "CLOSED", unit.journal()


def test_when_a_restart_helps(unit: Unit, hub: HubStandIn) -> None:
    # A setting somebody must correct: no restart.
    unit.settings["hub"]["no_such_key"] = 1
    unit.configure("RestartSec=1")
    assert unit.systemctl("start", NAME, check=False).returncode == 1
    assert (unit.show("ActiveState"), unit.show("ExecMainStatus"), unit.show("NRestarts")) == ("failed", "3", "0")
    assert "unknown key 'no_such_key'" in unit.journal()
    # A hub that is away: again and again.
    del unit.settings["hub"]["no_such_key"]
    unit.configure("RestartSec=1")
    hub.network_down()
    unit.systemctl("start", "--no-block", NAME)
    wait_for(lambda: int(unit.show("NRestarts")) > 0, 90, unit.journal())
    assert "Main process exited, code=exited, status=4" in unit.journal()
    hub.network_up()
    unit.wait(ActiveState="active", SubState="running")


def test_rootless(user_unit: UserUnit, hub: HubStandIn) -> None:
    """An unprivileged user's worker, by the manager of a user who never logs in."""
    unit = user_unit
    unit.configure("RestartSec=1")
    unit.systemctl("enable", NAME)
    unit.start()
    unit.wait(StatusText="ready; 0 tasks")
    assert unit.machine.run("stat", "--format=%U", f"/proc/{unit.pid}").stdout == "koji-adjutant\n"
    task = hub.make_task("toy", ["hello"])
    assert hub.wait_task(task)["state_name"] == "CLOSED", unit.journal()
    before = unit.pid
    task = running_container(unit, hub, 600)
    hub.forget_calls()
    unit.kill("KILL")
    unit.wait(NRestarts="1", ActiveState="active", SubState="running")
    assert unit.pid != before
    wait_for(lambda: hub.calls("host.freeTasks"), 90, unit.journal())
    hub.cancel(task)
    wait_for(lambda: not unit.containers(), 90)
    task = running_container(unit, hub, 600)
    # A command as docs/install.md gives it.
    as_the_user = ["systemd-run", "--user", "--machine=koji-adjutant@", "--pipe", "--wait", "--collect", "--quiet"]
    shown = unit.machine.run(*as_the_user, "engine", "status", "--config", CONFIG).stdout
    assert f", pid {unit.pid}, " in shown
    # The host goes down: the user's manager ends, and with it the unit, in order.
    unit.machine.run("systemctl", "stop", f"user@{unit.uid}.service")
    assert hub.task(task)["state_name"] == "FREE", unit.machine.run("journalctl", "--no-pager").stdout
    assert unit.machine.run("pgrep", "--uid", unit.uid, "conmon", check=False).stdout == ""
    assert unit.workspaces() == []
    hub.cancel(task)
    # It comes up: nobody logs in, and the worker runs.
    unit.machine.run("systemctl", "start", f"user@{unit.uid}.service")
    unit.wait(ActiveState="active", SubState="running")
    unit.assert_nothing_left()
