"""Keys, differences and choices: what is content and what is not."""

from __future__ import annotations

import json

import attrs
import pytest

from engine.buildroot import SnapshotLimits
from engine.buildroot.upkeep import beyond
from engine.core.snapshots import Package, Shape, Snapshot, choose, content_key, difference, snapshot_of

SHAPE = Shape(arch="x86_64", rpm="4.18.0", finish=1, options=(), macros=("_dbpath /var/lib/rpm",))


def package(name: str, version: str = "1", checksum: str = "") -> Package:
    return Package(
        name=name, version=version, release="1", arch="noarch", checksum=checksum or f"sha256:{name}{version}"
    )


def some(count: int, prefix: str = "p") -> tuple[Package, ...]:
    return tuple(package(f"{prefix}{number:03}") for number in range(count))


def snapshot(packages: tuple[Package, ...], **keywords: object) -> Snapshot:
    return Snapshot(key=content_key(packages, SHAPE), shape=SHAPE, packages=packages, **keywords)  # type: ignore[arg-type]


def test_the_order_of_packages_is_not_content() -> None:
    assert content_key(some(9), SHAPE) == content_key(reversed(some(9)), SHAPE)


@pytest.mark.parametrize(
    "field",
    [{"arch": "i686"}, {"rpm": "4.19.0"}, {"finish": 2}, {"options": ("tsflags nodocs",)}, {"macros": ()}],
    ids=lambda field: next(iter(field)),
)
def test_everything_that_shapes_a_root_is_content(field: dict[str, object]) -> None:
    assert content_key(some(3), attrs.evolve(SHAPE, **field)) != content_key(some(3), SHAPE)


def test_a_record_is_read_back() -> None:
    item = snapshot(some(3))
    assert snapshot_of(json.loads(json.dumps(attrs.asdict(item)))) == item


@pytest.mark.parametrize("field", ["options", "macros"])
def test_a_record_that_does_not_say_what_shaped_the_root_is_none(field: str) -> None:
    record = attrs.asdict(snapshot(some(3)))
    del record["shape"][field]
    with pytest.raises(KeyError):
        snapshot_of(record)


def test_a_package_rebuilt_under_its_name_is_another_root() -> None:
    rebuilt = (*some(2), package("p002", checksum="sha256:other"))
    assert content_key(rebuilt, SHAPE) != content_key(some(3), SHAPE)
    assert difference(some(3), rebuilt).changed == ("p002",)


def test_a_difference_is_told_in_words() -> None:
    old = (*some(8), package("gone"))
    new = (*(package(p.name, "2") for p in some(7)), package("p007"), package("come"))
    words = difference(old, new).words()
    assert words == "7 packages changed: p000, p001, p002, p003, p004, …; 1 added: come; 1 removed: gone"
    assert difference(old, old).words() == "nothing"


def test_the_nearest_snapshot_is_taken_and_named() -> None:
    far = snapshot((*some(8), *some(4, "q")))
    near = snapshot((*some(9), package("p009", "0")))
    wanted = some(10)
    choice = choose("k", wanted, SHAPE, [far, near], max_chain=5, exists=False)
    assert (choice.decision, choice.parent) == ("increment", near)
    assert choice.reason == f"near miss: 1 package changed: p009; from {near.key[:12]}"


def test_a_root_of_another_shape_is_no_start() -> None:
    other = attrs.evolve(snapshot(some(9)), shape=attrs.evolve(SHAPE, rpm="6.0.0"))
    choice = choose("k", some(10), SHAPE, [other], max_chain=5, exists=False)
    assert (choice.decision, choice.reason) == ("full", "miss: no snapshot of x86_64 yet")


def test_what_differs_by_more_than_half_is_made_from_nothing() -> None:
    choice = choose("k", some(10), SHAPE, [snapshot(some(4))], max_chain=5, exists=False)
    assert (choice.decision, choice.reason) == ("full", "miss: the nearest snapshot differs by 6 of 10 packages")


def test_a_root_with_build_requirements_is_no_start_for_one_without() -> None:
    choice = choose("k", some(10), SHAPE, [snapshot(some(9), level=2)], max_chain=5, exists=False)
    assert (choice.decision, choice.reason) == ("full", "miss: no snapshot of x86_64 yet")
    near, far = snapshot(some(9), level=2), snapshot(some(8))
    assert choose("k", some(10), SHAPE, [near, far], max_chain=5, exists=False).parent == far


@pytest.mark.parametrize("name", ["setup", "filesystem"])
def test_what_every_root_is_built_on_is_not_changed_in_one(name: str) -> None:
    parent = snapshot((*some(9), package(name)))
    choice = choose("k", (*some(9), package(name, "2")), SHAPE, [parent], max_chain=5, exists=False)
    reason = f"miss: 1 package changed: {name}; not from {parent.key[:12]}: every root is built on {name}"
    assert (choice.decision, choice.parent, choice.reason) == ("full", None, reason)


def test_a_package_that_left_something_is_not_removed() -> None:
    parent = snapshot((*some(9), package("extra")), lasting=("extra", "p001"))
    choice = choose("k", some(9), SHAPE, [parent], max_chain=5, exists=False)
    reason = f"not from {parent.key[:12]}: what scripts or triggers did for extra would stay"
    assert (choice.decision, choice.reason) == ("full", f"miss: 1 package removed: extra; {reason}")
    # Replaced, it is judged by those who see both builds; and one that only laid down its files may go.
    changed = (package("p001", "2"), *(item for item in some(9) if item.name != "p001"), package("extra"))
    assert choose("k", changed, SHAPE, [parent], max_chain=5, exists=False).decision == "increment"
    plain = attrs.evolve(parent, lasting=("p001",))
    assert choose("k", some(9), SHAPE, [plain], max_chain=5, exists=False).decision == "increment"
    # A farther one that holds nothing of the kind will do.
    far = snapshot(some(7))
    assert choose("k", some(9), SHAPE, [parent, far], max_chain=5, exists=False).parent == far


def test_a_long_chain_is_not_made_longer() -> None:
    long = snapshot(some(9), chain=5)
    assert choose("k", some(10), SHAPE, [long], max_chain=5, exists=False).decision == "full"
    assert choose("k", some(10), SHAPE, [long], max_chain=6, exists=False).decision == "increment"


def test_the_least_lately_used_goes_first() -> None:
    old, new, newest = (snapshot(some(n), used=float(n), own=100) for n in (1, 2, 3))
    assert beyond([newest, old, new], SnapshotLimits(count=2)) == [old]
    assert beyond([newest, old, new], SnapshotLimits(disk=150)) == [old, new]
    assert beyond([newest, old, new], SnapshotLimits()) == []


def test_the_second_level_has_a_bound_of_its_own() -> None:
    deps = [snapshot(some(n), used=float(n), level=2) for n in (1, 2, 3)]
    assert beyond([*deps, snapshot(some(4))], SnapshotLimits(repeats=2)) == [deps[0]]
