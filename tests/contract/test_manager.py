"""One suite for every `ContainerManager`: the fake is only worth what it shares with podman."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import ContainerError
from engine.core.spec import LABEL_TASK_ID, AnchorSpec, SecretMount, TmpfsMount, VolumeMount
from tests.contract import commands
from tests.contract.conftest import Engine
from tests.podman_fixtures import LABELS


def names(engine: Engine) -> set[str]:
    return {info.name for info in engine.manager.containers(LABELS)}


@pytest.mark.parametrize(
    ("argv", "code", "signal"),
    [
        (commands.TRUE, 0, None),
        (commands.EXIT_3, 3, None),
        (commands.KILL_SELF, 137, 9),
        (commands.SEGFAULT, 139, 11),
    ],
)
def test_exit_codes_and_signals(engine: Engine, argv: tuple[str, ...], code: int, signal: int | None) -> None:
    outcome = engine.manager.run(engine.spec(*argv))
    assert (outcome.exit_code, outcome.signal, outcome.ok) == (code, signal, code == 0)
    assert not any((outcome.oom, outcome.timed_out, outcome.cancelled, outcome.forced, outcome.log_exceeded))
    assert not names(engine)


@pytest.mark.parametrize(
    ("argv", "output"),
    [
        (commands.TRUE, b""),
        (commands.NAP, b"start\nend\n"),
        (commands.BYTES, b"a\0\xffb\r\n\nlast without newline"),
        (commands.LONG_LINE, b"x" * 100_000 + b"\nend\n"),
    ],
)
def test_output_is_exact(engine: Engine, argv: tuple[str, ...], output: bytes) -> None:
    seen = bytearray()
    outcome = engine.manager.run(engine.spec(*argv), log=seen.extend)
    assert bytes(seen) == output
    assert outcome.log_bytes == len(output)


def test_both_streams_reach_the_log(engine: Engine) -> None:
    seen = bytearray()
    engine.manager.run(engine.spec(*commands.HELLO), log=seen.extend)
    assert sorted(bytes(seen).splitlines()) == [b"hello", b"oops"]


def test_log_file_at_the_wanted_path(engine: Engine) -> None:
    path = engine.folder / "log of a run"
    path.write_bytes(b"of an earlier attempt\n")
    seen = bytearray()
    engine.manager.run(engine.spec(*commands.HELLO_ONLY, log_path=str(path)), log=seen.extend)
    assert bytes(seen) == b"hello\n"
    assert b" F hello\n" in path.read_bytes()


def test_timeout_stops_with_sigterm(engine: Engine) -> None:
    outcome = engine.manager.run(engine.spec(*commands.SLEEP), timeout=0.3)
    assert (outcome.timed_out, outcome.exit_code, outcome.signal, outcome.forced) == (True, 143, 15, False)
    assert not outcome.ok
    assert 0.3 <= outcome.seconds < 20
    assert not names(engine)


def test_who_ignores_sigterm_is_killed_after_the_grace(engine: Engine) -> None:
    began = time.monotonic()
    outcome = engine.manager.run(engine.spec(*commands.IGNORE_TERM), timeout=3)  # its trap is set by then
    assert (outcome.timed_out, outcome.exit_code, outcome.signal, outcome.forced) == (True, 137, 9, True)
    assert time.monotonic() - began >= 4  # timeout and the grace of a second
    assert not names(engine)


def test_cancel(engine: Engine) -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 2

    outcome = engine.manager.run(engine.spec(*commands.SLEEP), cancelled=cancelled)
    assert (outcome.cancelled, outcome.timed_out, outcome.signal) == (True, False, 15)
    assert not names(engine)


def test_too_much_output_kills(engine: Engine) -> None:
    seen = bytearray()
    outcome = engine.manager.run(engine.spec(*commands.ENDLESS), log=seen.extend, log_limit=5000)
    assert bytes(seen) == (b"0123456789\n" * 1000)[:5000]
    assert (outcome.log_exceeded, outcome.exit_code, outcome.ok) == (True, 137, False)


def test_output_of_exactly_the_limit_is_fine(engine: Engine) -> None:
    assert engine.manager.run(engine.spec(*commands.HELLO_ONLY), log_limit=6).ok
    assert engine.manager.run(engine.spec(*commands.HELLO_ONLY), log_limit=5).log_exceeded


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"argv": ("no-such-command",)}, "command"),
        ({"workdir": "/nowhere"}, "/nowhere"),
        ({"mounts": (VolumeMount(source="/no/such/source", target="/m"),)}, "/no/such/source"),
        (
            {"mounts": (VolumeMount(source="/tmp", target="/m"),), "tmpfs": (TmpfsMount(target="/m", size=4096),)},
            "duplicate",
        ),
        ({"log_path": "/no/such/directory/x.log"}, "/no/such/directory"),
    ],
)
def test_what_cannot_run_is_an_error_and_leaves_nothing(engine: Engine, fields: dict[str, Any], text: str) -> None:
    argv = fields.get("argv", commands.TRUE)
    others = {key: value for key, value in fields.items() if key != "argv"}
    with pytest.raises(ContainerError, match=text) as error:
        engine.manager.run(engine.spec(*argv, **others))
    assert not error.value.retry
    assert not names(engine)


def test_missing_secret(engine: Engine) -> None:
    with pytest.raises(ContainerError, match="no such secret"):
        engine.manager.create(engine.spec(*commands.TRUE, secrets=(SecretMount(name="no-such", target="/s"),)))
    assert not names(engine)


def test_missing_image(engine: Engine) -> None:
    name = "localhost/adjutant-no-such-image:1"
    with pytest.raises(ContainerError, match="image not known") as error:
        engine.manager.run(Engine(engine.manager, name, engine.folder).spec("true"))
    assert not error.value.retry
    with pytest.raises(ContainerError, match="never"):
        engine.manager.ensure_image_available(name, "never")


def test_image_that_is_here(engine: Engine) -> None:
    for policy in ("never", "if-not-present", None):
        info = engine.manager.ensure_image_available(engine.image, policy)  # type: ignore[arg-type]
        assert info.id
        assert engine.image in info.names


def test_leftover_of_the_same_worker_is_replaced(engine: Engine) -> None:
    spec = engine.spec(*commands.SLEEP)
    old = engine.manager.create(spec)
    engine.manager.start(old)
    new = engine.manager.create(spec)
    try:
        assert new.id != old.id
        assert [info.id for info in engine.manager.containers(LABELS)] == [new.id]
    finally:
        engine.manager.remove(new)


def test_name_of_somebody_else_is_refused(engine: Engine) -> None:
    spec = engine.spec(*commands.TRUE)
    owner = {"owner": f"somebody-{os.getpid()}"}
    theirs = AnchorSpec(name=spec.name, image=engine.image, labels=owner)
    handle = engine.manager.create_anchor(theirs)
    try:
        with pytest.raises(ContainerError, match="not ours") as error:
            engine.manager.run(spec)
        assert spec.name in str(error.value)
        assert [info.id for info in engine.manager.containers(owner)] == [handle.id]
    finally:
        engine.manager.remove(handle)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_exception_in_the_sink_comes_out_and_nothing_stays(engine: Engine, kind: type[BaseException]) -> None:
    def sink(_chunk: bytes) -> None:
        raise kind("from the sink")

    with pytest.raises(kind, match="from the sink"):
        engine.manager.run(engine.spec(*commands.ENDLESS), log=sink)
    assert not names(engine)


def test_step_by_step(engine: Engine) -> None:
    handle = engine.manager.create(engine.spec(*commands.DOZE))
    assert [info.state for info in engine.manager.containers(LABELS)] == ["created"]
    with pytest.raises(ContainerError, match="never started"):
        engine.manager.wait(handle)
    engine.manager.start(handle)
    assert [info.state for info in engine.manager.containers(LABELS)] == ["running"]
    with pytest.raises(ContainerError, match="is running"):
        engine.manager.remove(handle, force=False)
    assert engine.manager.wait(handle).exit_code == 6
    assert engine.manager.wait(handle).exit_code == 6  # the code stays until removal
    assert engine.manager.remove(handle) is False
    assert engine.manager.remove(handle) is False
    with pytest.raises(ContainerError):
        engine.manager.wait(handle)


@pytest.mark.parametrize(("argv", "forced"), [(commands.SLEEP, False), (commands.IGNORE_TERM, True)])
def test_remove_a_running_container(engine: Engine, argv: tuple[str, ...], forced: bool) -> None:
    log = engine.folder / "log"
    handle = engine.manager.create(engine.spec(*argv, log_path=str(log)))
    engine.manager.start(handle)
    end = time.monotonic() + 30
    while argv == commands.IGNORE_TERM and b"deaf" not in log.read_bytes():  # said once the trap is set
        assert time.monotonic() < end
        time.sleep(0.02)
    assert engine.manager.remove(handle) is forced
    assert not names(engine)


def test_containers_by_label(engine: Engine) -> None:
    before = time.time() - 5
    made = [
        engine.manager.create_anchor(
            AnchorSpec(name=f"{engine.spec('x').name}-a", image=engine.image, labels={**LABELS, LABEL_TASK_ID: task})
        )
        for task in ("1", "2")
    ]
    try:
        (one,) = engine.manager.containers({**LABELS, LABEL_TASK_ID: "2"})
        assert (one.id, one.name, one.state) == (made[1].id, made[1].name, "created")
        assert one.labels[LABEL_TASK_ID] == "2"
        assert before < one.created < time.time() + 5
        assert len(engine.manager.containers(LABELS)) == 2
        assert not engine.manager.containers({**LABELS, LABEL_TASK_ID: "3"})
    finally:
        for handle in made:
            engine.manager.remove(handle)


def test_anchor(engine: Engine) -> None:
    anchor = AnchorSpec(name=f"{engine.spec('x').name}-anchor", image=engine.image, labels=LABELS)
    handle = engine.manager.create_anchor(anchor)
    try:
        path = engine.manager.anchor_path(anchor.name)
        assert Path(path).is_absolute()
        assert path == path.strip()
        assert engine.manager.run(engine.spec(*commands.TRUE, root=anchor.name)).ok
    finally:
        engine.manager.remove(handle)
    with pytest.raises(ContainerError):
        engine.manager.anchor_path(anchor.name)
