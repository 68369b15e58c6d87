"""Counters of a cgroup, on a copy: cgroup v2 and what may not be looked at."""

from __future__ import annotations

from pathlib import Path

from engine.adapters.oom import OomWatch


def test_cgroup_v2_counter(tmp_path: Path) -> None:
    group = tmp_path / "machine.slice" / "libpod-1"
    group.mkdir(parents=True)
    events = group / "memory.events"
    events.write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 0\noom_group_kill 0\n")
    with OomWatch("/machine.slice/libpod-1", root=tmp_path) as watch:
        watch.look()
        assert not watch.seen
        events.write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n")
        watch.look()
        events.unlink()  # the container is gone; what was seen stays
        assert watch.finish(failed=True)


def test_a_cgroup_that_cannot_be_read_is_silent(tmp_path: Path) -> None:
    for path in ("", "/gone"):
        with OomWatch(path, root=tmp_path) as watch:
            assert not watch.finish(failed=True)


def test_an_event_file_that_refuses_to_be_watched(tmp_path: Path) -> None:
    """cgroup v1 without the right to register: the counter is still read."""
    group = tmp_path / "memory" / "libpod-1"
    (group / "cgroup.event_control").mkdir(parents=True)
    (group / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    with OomWatch("/libpod-1", root=tmp_path) as watch:
        assert watch.finish(failed=False)
