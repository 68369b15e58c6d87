"""The task's directory: private, filled without following anything, removed whatever is in it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from engine.adapters.workspace import TaskDirectory, Workdir
from engine.core.errors import BadInput, InfrastructureError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    return Workdir(str(tmp_path / "work"))


@pytest.fixture
def task(workdir: Workdir) -> Iterator[TaskDirectory]:
    made = workdir.claim()
    yield made
    if os.path.exists(made.path):
        made.remove()


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_the_task_directory_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        directory = Workdir(str(tmp_path / "work")).claim()
        directory.prepare(["in", "logs", "result", "result/deep"])
        directory.write("in/sub/file", [b"x"], 0o755)
    finally:
        os.umask(old)
    assert mode(tmp_path / "work") == 0o700
    assert mode(directory.path) == 0o700
    assert mode(directory.path + "/in") == 0o755
    assert mode(directory.path + "/in/sub/file") == 0o755
    assert mode(directory.path + "/result") == 0o777
    assert mode(directory.path + "/result/deep") == 0o777
    directory.remove()


def test_a_strict_umask_changes_nothing(workdir: Workdir) -> None:
    old = os.umask(0o077)
    try:
        directory = workdir.claim()
        directory.prepare(["in", "result"])
        directory.write("in/file", [b"x"])
    finally:
        os.umask(old)
    assert [mode(f"{directory.path}/{name}") for name in ("in", "in/file", "result")] == [0o755, 0o644, 0o777]
    directory.remove()


@pytest.mark.parametrize("name", ["a:b", "a,b", 'a"b', "a\nb"])
def test_a_name_that_podman_cannot_be_told_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="in its name, which podman's command line cannot express .name another"):
        Workdir(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_a_work_directory_that_cannot_be_made_has_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match=r"file/work: Not a directory \(name another directory\)"):
        Workdir(str(tmp_path / "file/work"))


@as_root
def test_what_containers_write_to_belongs_to_koji(task: TaskDirectory) -> None:
    task.prepare(["in", "result"])
    assert os.stat(task.path + "/result").st_uid == 1000
    assert os.stat(task.path + "/in").st_uid == 0


@as_root
def test_a_work_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 1234, 1234)
    with pytest.raises(BadInput, match="belongs to uid 1234"):
        Workdir(str(tmp_path / "theirs"))


def test_a_work_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(BadInput, match="can be written to by others"):
        Workdir(str(tmp_path / "open"))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(BadInput, match="is not a directory"):
        Workdir(str(tmp_path / "link"))


def test_writing_follows_no_link_and_replaces_nothing(task: TaskDirectory, tmp_path: Path) -> None:
    task.prepare(["in"])
    victim = tmp_path / "victim"
    victim.write_text("mine")
    os.symlink(victim, task.path + "/in/file")
    os.symlink(tmp_path, task.path + "/in/sub")
    for path in ("in/file", "in/sub/file"):
        with pytest.raises(InfrastructureError, match="cannot write"):
            task.write(path, [b"theirs"])
    assert victim.read_text() == "mine"
    assert not (tmp_path / "file").exists()
    with pytest.raises(ValueError, match="not a path below"):
        task.write("../file", [b"x"])


def test_size_and_digest(task: TaskDirectory) -> None:
    size, digest = task.write("in/x", [b"ab", b"c"])
    assert size == 3
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_numbers_are_handed_out_once(workdir: Workdir) -> None:
    claimed: list[TaskDirectory] = []

    def claim() -> None:
        claimed.append(workdir.claim())

    threads = [threading.Thread(target=claim) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(directory.task_id for directory in claimed) == list(range(1, 21))
    assert workdir.abandoned() == []
    for directory in claimed:
        directory.remove()
    assert workdir.ids() == []


def test_numbers_are_handed_out_once_to_processes_too(workdir: Workdir) -> None:
    code = (
        "import sys; from engine.adapters.workspace import Workdir\n"
        "w = Workdir(sys.argv[1]); d = w.claim(); print(d.task_id, flush=True); sys.stdin.read(); d.remove()"
    )
    command = [sys.executable, "-c", code, workdir.path]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    numbers = sorted(int(process.stdout.readline()) for process in running if process.stdout)
    assert numbers == [1, 2, 3, 4]
    assert workdir.abandoned() == []
    running[0].kill()
    running[0].wait()
    left = workdir.abandoned()
    assert len(left) == 1
    left[0].remove()
    for process in running:
        if process.stdin:
            process.stdin.close()
        process.wait()
        if process.stdout:
            process.stdout.close()
    assert workdir.ids() == []


def test_a_claimed_number_is_not_given_again(workdir: Workdir) -> None:
    first = workdir.claim(7)
    with pytest.raises(InfrastructureError, match="exists"):
        workdir.claim(7)
    assert workdir.open(7) is None
    first.close()
    again = workdir.open(7)
    assert again is not None
    again.remove()
    assert workdir.open(7) is None


def test_a_kept_directory_is_not_abandoned(workdir: Workdir) -> None:
    directory = workdir.claim()
    directory.keep("build")
    assert workdir.abandoned() == []
    assert workdir.kept()[1].step == "build"
    assert workdir.kept()[1].plan is None
    again = workdir.open(1)
    assert again is not None
    again.remove()


def test_an_empty_directory_of_a_process_that_died_early_is_removed(workdir: Workdir) -> None:
    os.mkdir(workdir.path + "/5")
    assert workdir.abandoned() == []
    assert workdir.ids() == []


def test_removal_follows_no_link(task: TaskDirectory, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    task.prepare(["result"])
    os.symlink(outside, task.path + "/result/link")
    os.symlink(outside, task.path + "/toplink")
    os.mkfifo(task.path + "/result/fifo")
    task.remove()
    assert not os.path.exists(task.path)
    assert (outside / "file").read_text() == "mine"


def test_removal_of_a_tree_deeper_than_any_path_or_recursion(task: TaskDirectory) -> None:
    task.prepare(["result"])
    where = os.open(task.path + "/result", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("a" * 200, dir_fd=where)
        below = os.open("a" * 200, os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = below
    os.mkdir(".removing-1", dir_fd=where)
    os.close(where)
    os.mkdir(task.path + "/result/.removing-1")
    task.remove()
    assert not os.path.exists(task.path)


@as_root
def test_a_file_system_mounted_inside_is_never_emptied(workdir: Workdir) -> None:
    task = workdir.claim()
    task.prepare(["result/mnt"])
    target = task.path + "/result/mnt"
    if subprocess.run(["mount", "-t", "tmpfs", "none", target], capture_output=True, check=False).returncode:
        pytest.skip("cannot mount here")
    task.keep("build")
    kept = workdir.open(1)
    assert kept is not None
    try:
        Path(target, "precious").write_text("x")
        with pytest.raises(InfrastructureError, match="cannot remove .* mounted"):
            kept.remove()
        assert Path(target, "precious").exists()
    finally:
        subprocess.run(["umount", target], check=True)
    # The mark of a kept task went first, so the next process takes the removal up again.
    (left,) = workdir.abandoned()
    left.remove()
    assert workdir.ids() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_scrub_is_asked_where_this_user_may_not(task: TaskDirectory) -> None:
    task.prepare(["result/closed"])
    Path(task.path, "result/closed/file").write_text("")
    os.chmod(task.path + "/result/closed", 0o555)
    asked = []

    def scrub() -> None:
        asked.append(1)
        os.chmod(task.path + "/result/closed", 0o755)

    task.remove(scrub)
    assert asked


def test_a_log_is_added_to_and_bounded(task: TaskDirectory) -> None:
    task.prepare(["logs"])
    log = task.log("build.log", 10)
    log.write(b"12345")
    assert (log.room, log.cut) == (5, False)
    assert task.log("build.log", 10) is log
    log.write(b"6789abcdef")
    log.write(b"more")
    assert log.cut
    text = Path(task.path, "logs/build.log").read_text()
    assert text.startswith("123456789a\n[the log ends here")
    assert log.size == len(text)
    assert log.tail() == text


def test_a_log_on_a_full_disk_does_not_raise(tmp_path: Path) -> None:
    from engine.adapters.steplog import FileLog

    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    log = FileLog("/dev/full", 100)
    log.write(b"x")
    assert log.trouble is not None
    assert log.trouble.errno == 28
    log.close()


@as_root
def test_a_directory_without_room_for_its_lock_is_said_and_goes(tmp_path: Path) -> None:
    """One inode is left: enough for the directory."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "nr_inodes=20,mode=0700", "none", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        workdir = Workdir(str(place))
        workdir.claim(1).remove()
        with suppress(OSError):
            for number in range(20):
                (place / f"file{number}").touch()
        (place / "file0").unlink()
        with pytest.raises(InfrastructureError, match=f"cannot lock {place}/2: disk full: .*free"):
            workdir.claim(2)
        assert workdir.ids() == []
    finally:
        subprocess.run(["umount", str(place)], check=True)
