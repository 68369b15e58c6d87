"""When the daemon looks after stored roots."""

from __future__ import annotations

from engine.worker.housekeeping import UpkeepPace

SOON, HOUR, SELDOM = UpkeepPace.AFTER_TASKS, UpkeepPace.BUSY, UpkeepPace.IDLE


def test_at_the_start_and_seldom_while_nothing_happens() -> None:
    pace = UpkeepPace()
    assert [pace.due(now, busy=False) for now in (5.0, 6.0, 5.0 + SOON, 4.0 + SELDOM, 5.0 + SELDOM)] == [
        True, False, False, False, True,
    ]  # fmt: skip


def test_soon_after_tasks_but_not_while_they_run() -> None:
    pace = UpkeepPace()
    assert pace.due(0.0, busy=False)
    assert not pace.due(10.0, busy=True)
    assert not pace.due(SOON - 1, busy=False)
    assert not pace.due(SOON + 1, busy=True)
    assert pace.due(SOON + 2, busy=False)
    assert not pace.due(2 * SOON + 3, busy=False)  # nothing ran since


def test_a_builder_that_is_never_idle_is_looked_after_all_the_same() -> None:
    pace = UpkeepPace()
    assert [pace.due(now, busy=True) for now in (0.0, SOON, HOUR - 1, HOUR, HOUR + SOON, 2 * HOUR)] == [
        True, False, False, True, False, True,
    ]  # fmt: skip


def test_always_soon_where_roots_are_made_ahead() -> None:
    pace = UpkeepPace(often=True)
    assert [pace.due(now, busy=False) for now in (0.0, SOON - 1, SOON, SOON + 1, 2 * SOON)] == [
        True, False, True, False, True,
    ]  # fmt: skip
