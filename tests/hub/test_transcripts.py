"""The stand-in answers the recorded traffic of a real hub as that hub did.

Compared are, for each of the calls: the fault code and text, or the whole answer with its keys and types; of
its values all but times, event numbers and digests of files the recordings do not hold.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .recorded_times import infer_times
from .recorded_world import UNRECORDED_RUNS, recorded_hub
from .replay import Difference, RecordedCall, Replay, differences, read_transcript

TRANSCRIPTS = sorted((Path(__file__).parents[1] / "data" / "transcripts").glob("*.jsonl"))

#: what the stand-in does not answer as recorded -> why; exactly these, or the test fails
UNSUPPORTED = {
    "56:16 None": "the recording kept neither method nor parameters of this request, so there is nothing to send",
}


class Outcome:
    """The whole recording played once."""

    def __init__(self, topdir: Path) -> None:
        self.calls = [call for path in TRANSCRIPTS for call in read_transcript(path)]
        self.unplayed = [call for call in self.calls if call.method is None]
        self.found: list[Difference] = []
        with recorded_hub(topdir) as hub:
            replay = Replay(hub, unrecorded_runs=UNRECORDED_RUNS)
            for call, at in zip(self.calls, infer_times(self.calls), strict=True):
                if call.method is not None:
                    self.found += differences(call, replay.play(call, at))
            replay.close()

    def unlike(self) -> set[str]:
        return {each.call.place for each in self.found} | {call.place for call in self.unplayed}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return Outcome(tmp_path_factory.mktemp("recorded"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem[:60])
def test_answers_as_recorded(outcome: Outcome, path: Path) -> None:
    unlike = [each for each in outcome.found if each.call.file == path.name and each.call.place not in UNSUPPORTED]
    assert not unlike, "\n".join(str(each)[:500] for each in unlike[:10])


def test_unsupported_table_is_exact(outcome: Outcome) -> None:
    assert outcome.unlike() == set(UNSUPPORTED)


def test_recording_is_complete(outcome: Outcome) -> None:
    """A lost file or a reader that skips lines would make the test above pass for nothing."""
    faults = [call for call in outcome.calls if call.fault is not None]
    uploads = [call for call in outcome.calls if call.query is not None]
    assert (len(TRANSCRIPTS), len(outcome.calls), len(faults), len(uploads)) == (56, 3919, 87, 238)


def _call(result: object, fault: dict[str, object] | None = None) -> RecordedCall:
    return RecordedCall("00-x.jsonl", 1, None, None, None, "getTag", [], None, 0, result, fault)


@pytest.mark.parametrize(
    ("recorded", "answer", "where"),
    [
        ({"id": 1}, {"id": 2}, ".id"),
        ({"id": 1}, {"id": 1, "more": 0}, ": keys"),
        ({"id": 1}, {"id": 1.0}, ".id"),
        ({"flag": True}, {"flag": 1}, ".flag"),
        ({"host_id": None}, {"host_id": 1}, ".host_id"),
        ([[1], [2]], [[1]], ": length"),
        ({"create_ts": 1.5}, {"create_ts": None}, ".create_ts"),
    ],
)
def test_comparison_sees(recorded: object, answer: object, where: str) -> None:
    assert [each.where for each in differences(_call(recorded), answer)] == [where]


def test_comparison_forgives_the_moment() -> None:
    recorded = {"create_ts": 1.5, "start_time": "a", "hexdigest": "00"}
    assert not differences(_call(recorded), {"create_ts": 2.5, "start_time": "b", "hexdigest": "ff"})


def test_comparison_of_a_fault_with_an_answer() -> None:
    call = _call(None, {"faultCode": 1004, "faultString": "host 1 does not own task 2"})
    assert [each.expected for each in differences(call, None)] == ["fault 1004"]
