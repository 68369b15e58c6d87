"""Is an image fit to be a task image? Its own configuration, and what is in it, tried as a step would."""

from __future__ import annotations

import platform

from engine.adapters.images import PodmanImages
from engine.core.errors import ContainerError
from engine.core.health import CheckResult, problem
from engine.core.image_contents import judge_answers, judge_config, probe_script
from engine.core.manager import ContainerManager
from engine.core.spec import LABEL_ROLE, LABEL_WORKER_ID, ContainerSpec, ResourceLimits

PROBE_SECONDS = 120


def probe_spec(image: str, worker_id: str, name: str) -> ContainerSpec:
    """A container like a build step's: uid 1000, no network, no capability."""
    return ContainerSpec(
        name=f"adjutant-{worker_id}-{name}",
        image=image,
        argv=("/bin/sh", "-c", probe_script()),
        env={"HOME": "/builddir", "LANG": "C.UTF-8"},
        network_disabled=True,
        limits=ResourceLimits(pids=256),
        labels={LABEL_WORKER_ID: worker_id, LABEL_ROLE: "image-check"},
        stop_timeout=1,
    )


def check_image(image: str, manager: ContainerManager, *, worker_id: str, name: str) -> list[CheckResult]:
    """Run `image` once (it must be on this host) and judge it. `name` makes the container's name unique.

    ContainerError only when podman cannot be asked at all.
    """
    found = PodmanImages().inspect(image)
    if found is None:
        cure = "engine image build NAME, or engine image pull"
        return [problem("image.present", f"{image} is not on this host", cure)]
    results = judge_config(found[1], platform.machine())
    output: list[bytes] = []
    try:
        outcome = manager.run(probe_spec(image, worker_id, name), timeout=PROBE_SECONDS, log=output.append)
    except ContainerError as error:
        return [*results, problem("image.runs", str(error), error.cure or "the image needs /bin/sh")]
    text = b"".join(output).decode(errors="replace")
    if not outcome.ok:
        found_text = f"the check ended with exit code {outcome.exit_code}: {text.strip()[-300:]}"
        return [*results, problem("image.runs", found_text, "the image needs /bin/sh and must start")]
    return [*results, *judge_answers(text)]
