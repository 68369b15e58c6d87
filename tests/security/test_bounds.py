"""What holds a plain user's containers where her cgroups do not: bombs end, the host and her other tasks go on."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from tests.rootless.cage import Cage
from tests.security.conftest import CAGE, NET
from tests.security.ground import LIMITS, TOY, Ended, Plain, PlainGround

pytestmark = pytest.mark.podman

ROOM = 60
"""Processes besides a bomb's: the plain users' engines, podman services, monitors."""
PATIENCE = 60

BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
MANY_IDS = """
import os
for uid in range(2000, 2100):
    try:
        child = os.fork()
    except OSError:
        continue
    if child == 0:
        os.setgid(uid)
        os.setuid(uid)
        while True:
            try:
                os.fork()
            except OSError:
                pass
while True:
    pass
"""
RUN = "exec python3 -u /task/in/x"


def recipe(program: str, *, root: bool = False) -> str:
    text = TOY.replace('content = "input"', f"literal = true\ncontent = '''{program}'''")
    return text.replace('name = "one"\n', 'name = "one"\nuser = "root"\ncaps = "install"\n') if root else text


class Counted:
    """Counts the processes of the cage meanwhile, and starts one of the host's each time.

    A bomb that nothing has ended after PATIENCE seconds is ended, and was `unheld`.
    """

    def __init__(self, cage: Cage) -> None:
        self.cage, self.most, self.refused, self.unheld = cage, 0, 0, False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count)

    def _count(self) -> None:
        end = time.monotonic() + PATIENCE
        while not self._over.wait(0.1):
            if time.monotonic() > end:
                self.unheld = True
                self.cage.kill("/task/in/x")
            self.most = max(self.most, self.cage.processes())
            try:
                subprocess.run(["true"], check=True)
            except OSError:
                self.refused += 1

    def __enter__(self) -> Counted:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()


def ground(plain: Plain) -> PlainGround:
    folder = Path(tempfile.mkdtemp(prefix="bounds-", dir=plain.person.home))
    os.chown(folder, plain.person.uid, plain.person.uid)
    return PlainGround(folder, plain)


@pytest.fixture
def second(plain: Plain) -> Iterator[Plain]:
    """Another engine of the same user, with much fewer processes of her own."""
    made = Plain(plain.person, plain.cage, 1000, name="second")
    yield made
    made.close()


def settled(plain: Plain) -> bool:
    """Whether only the engines are left of the cage's processes."""
    end = time.monotonic() + 60
    while plain.cage.processes() > ROOM and time.monotonic() < end:
        time.sleep(0.1)
    return plain.cage.processes() <= ROOM


def test_a_fork_bomb_meets_the_engines_limit_and_ends_in_time(plain: Plain, task_image: str) -> None:
    limits = evolve(LIMITS, memory=None, pids=500, seconds=5)
    with Counted(plain.cage) as counted:
        ended = ground(plain).run(RUN, image=task_image, limits=limits, recipe=recipe(BOMB))
    assert ended == Ended("failed", "BuildError", ended.message, [], [])
    assert "no end after 5 s" in ended.message
    assert 490 < counted.most < 500 + ROOM < NET  # the engine's number held, not the account's
    assert counted.refused == 0
    assert not counted.unheld
    assert settled(plain)


def test_a_fork_bomb_leaves_other_tasks_of_the_user_alone(
    plain: Plain, second: Plain, task_image: str, tiny_image: str
) -> None:
    limits = evolve(LIMITS, memory=None, pids=200, seconds=5)
    bombed: list[Ended] = []
    grounds = ground(plain), ground(second)
    bomb = threading.Thread(
        target=lambda: bombed.append(grounds[0].run(RUN, image=task_image, limits=limits, recipe=recipe(BOMB)))
    )
    bomb.start()
    end = time.monotonic() + 60
    while plain.cage.processes() < 190:
        assert time.monotonic() < end, "the bomb did not go off"
        time.sleep(0.05)
    script = "i=0; while [ $i -lt 150 ]; do sleep 1 & i=$((i+1)); done; wait; echo all > good.txt"
    ended = grounds[1].run(script, image=tiny_image, limits=evolve(limits, seconds=60))
    bomb.join()
    assert ended == Ended("done", "", "", ["good.txt"], [])
    assert "no end after 5 s" in bombed[0].message


def test_a_bomb_of_many_ids_ends_in_time_with_the_account_full(plain: Plain, second: Plain, task_image: str) -> None:
    """An installing step may become any id, each with a count of its own: the account's limit holds them together.

    Then podman can start no process to end the step with; the engine ends it by itself.
    """
    limits = evolve(LIMITS, memory=None, pids=250, seconds=6)
    with Counted(plain.cage) as counted:
        program = recipe(MANY_IDS, root=True)
        ended = ground(second).run(RUN, image=task_image, limits=limits, recipe=program)
    assert ended.fault == "BuildError", ended
    assert "no end after 6 s" in ended.message
    assert ended.left == []
    assert 250 + ROOM < counted.most <= 1000 + ROOM
    assert counted.refused == 0
    assert not counted.unheld
    assert settled(plain)


def test_no_container_may_have_all_processes_of_the_user(second: Plain, tiny_image: str) -> None:
    place = ground(second)
    ended = place.run("cat /proc/self/limits", image=tiny_image, limits=evolve(LIMITS, pids=4096))
    assert ended.status == "done"
    log = (place.folder / "results/one.log").read_text()
    assert next(line.split()[2:4] for line in log.splitlines() if line.startswith("Max processes")) == ["250", "250"]


def test_a_memory_bomb_is_the_first_to_go_and_the_only_one(plain: Plain, tiny_image: str) -> None:
    """No limit of the container binds; what bounds the whole user does, and the kernel takes the container."""
    script = "x=a; while :; do x=$x$x; done"
    ended = ground(plain).run(script, image=tiny_image, limits=evolve(LIMITS, memory=None, seconds=60))
    assert ended.fault == "BuildError", ended
    assert "signal 9" in ended.message
    assert plain.cage.peak() > CAGE * 0.9
    assert plain.process.poll() is None
    after = ground(plain).run("echo x > good.txt", image=tiny_image)
    assert after == Ended("done", "", "", ["good.txt"], [])  # no word of memory: the other one's end is not its own
