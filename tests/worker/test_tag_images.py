"""The image that a hub's tag names: the present word, asked once in a while, on a hub that may be away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import koji
import pytest

from engine.adapters.hub import gather, task_request
from engine.adapters.tag_images import TagImages
from engine.core.facts import Facts, Settings
from engine.core.loader import load_recipe
from engine.core.render import image_choice
from tests.hub import HubStandIn

DEFAULT, FIRST, SECOND = "r.example/default:1", "r.example/team/a:1", "r.example/team/b:1"
SETTINGS = Settings(adjutant_task_image_default=DEFAULT, adjutant_images_allowed=("r.example/team/*",))
RECIPE = """
recipe = 1
method = "index"
params = [{ name = "repo_id", type = "int" }]
[facts]
repo = "{{ params.repo_id }}"
[[steps]]
name = "a"
argv = ["true"]
"""


class Place:
    """A tag with a repo, and what a task of that repo is told."""

    def __init__(self, hub: HubStandIn, folder: Path) -> None:
        self.hub, self.now = hub, 1000.0
        hub.add_tag("dist", "x86_64", {"adjutant.image": FIRST})
        self.repo = hub.add_repo("dist")
        self.admin = hub.session()
        self.session = koji.ClientSession(hub.url, {"max_retries": 0, "anon_retry": False, "offline_retry": False})
        self.known = TagImages(folder / "known", 300, clock=lambda: self.now)

    def chosen(self, **settings: Any) -> str:
        recipe = load_recipe(RECIPE, "index.toml")
        request = task_request(recipe, {"id": 5, "arch": "noarch"}, [self.repo])
        wanted = Settings(adjutant_task_image_default=DEFAULT, **settings) if settings else SETTINGS
        facts: Facts = gather(self.session, recipe, request, wanted, tag_images=self.known).facts
        return image_choice(request, facts).image

    def say(self, image: Any) -> None:
        if image is None:
            self.admin.editTag2("dist", remove_extra=["adjutant.image"])
        else:
            self.admin.editTag2("dist", extra={"adjutant.image": image})

    def asked(self) -> int:
        return len(self.hub.calls("getBuildConfig"))


@pytest.fixture
def place(hub: HubStandIn, tmp_path: Path) -> Place:
    return Place(hub, tmp_path)


def test_a_correction_counts_when_the_last_word_is_old_enough(place: Place) -> None:
    """A task without a build tag, too: its repo's tag says it, and not as it was when the repo was made."""
    assert [place.chosen(), place.chosen()] == [FIRST, FIRST]
    assert place.asked() == 1
    place.say(SECOND)
    place.now += 299
    assert (place.chosen(), place.asked()) == (FIRST, 1)
    place.now += 1
    assert (place.chosen(), place.asked()) == (SECOND, 2)
    place.say(None)
    place.now += 300
    assert (place.chosen(), place.chosen(), place.asked()) == (DEFAULT, DEFAULT, 3)


def test_tasks_of_one_worker_share_what_was_said(place: Place, tmp_path: Path) -> None:
    assert place.chosen() == FIRST
    place.known = TagImages(tmp_path / "known", 300, clock=lambda: place.now)  # as in another process
    assert (place.chosen(), place.asked()) == (FIRST, 1)
    (tmp_path / "known" / f"{place.hub.session().getTag('dist')['id']}.json").write_text("{")  # cut short
    assert (place.chosen(), place.asked()) == (FIRST, 2)


@pytest.mark.parametrize("said", [7, "elsewhere.example/x:1", "not an image", ["r.example/team/a:1"]])
def test_what_is_not_allowed_falls_back_to_the_default(place: Place, said: Any) -> None:
    place.say(said)
    assert place.chosen() == DEFAULT


def test_a_hub_that_cannot_say_it_is_not_in_the_way(place: Place, hub: HubStandIn) -> None:
    assert place.chosen() == FIRST
    place.now += 1000
    known, tag = place.known, place.hub.session().getTag("dist")["id"]
    hub.offline()
    assert known.image(place.session, tag) == FIRST
    assert TagImages(None, 0).image(place.session, tag) == ""
    hub.offline(on=False)
    assert TagImages(None, 0).image(place.session, 4711) == ""


def test_where_no_tag_may_say_it_the_hub_is_not_asked(place: Place) -> None:
    assert place.chosen(adjutant_images_allowed=()) == DEFAULT
    assert place.asked() == 0
