"""Operator's secrets for one step: a podman secret exists from just before its container until just after.

The content goes from the operator's file to podman in the body of one request: it is in no argument list,
environment, log, plan or answer. podman shows a container's secrets by name only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Iterator, Mapping

from attrs import frozen

from engine.adapters.podman_api import PodmanApi, Refused, quoted
from engine.core.errors import ContainerError, InfrastructureError
from engine.core.spec import LABEL_TASK_ID, LABEL_WORKER_ID, ContainerSpec, SecretMount

logger = logging.getLogger(__name__)

MAX_BYTES = 512_000
"""podman refuses more."""


@frozen(kw_only=True)
class StoredSecret:
    """A secret of ours in podman's store; `task_id` as its label says."""

    name: str
    worker_id: str
    task_id: str


class PodmanSecrets:
    """`files` maps the names that recipes use to files of the operator (`adjutant_secrets`)."""

    def __init__(self, api: PodmanApi, files: Mapping[str, str]) -> None:
        self._api, self._files = api, dict(files)

    @contextlib.contextmanager
    def lent(self, spec: ContainerSpec) -> Iterator[None]:
        """The spec's secrets exist inside the block. InfrastructureError, naming file and reason, if one cannot."""
        made: list[str] = []
        try:
            for secret in spec.secrets:
                made.append(secret.name)
                self._make(secret, spec)
            yield
        finally:
            for name in made:
                try:
                    self.remove(name)
                except ContainerError as error:  # its label lets gc find it
                    logger.warning("%s", error)

    def _make(self, secret: SecretMount, spec: ContainerSpec) -> None:
        content = self._content(os.path.basename(secret.target))
        owner = {key: spec.labels[key] for key in (LABEL_WORKER_ID, LABEL_TASK_ID) if key in spec.labels}
        # podman 4 keeps no labels of secrets, but the options of their driver.
        params = {"name": secret.name, "driver": "file", "driveropts": json.dumps(owner), "labels": json.dumps(owner)}
        self.remove(secret.name)  # of a run of this very step that was killed
        self._api.call(
            "POST", "/secrets/create", what="make secret", where=secret.name, params=params, body=content, patience=0
        )

    def _content(self, name: str) -> bytes:
        path = self._files.get(name)
        if path is None:
            raise InfrastructureError(f"secret '{name}' has no file on this host (add it to adjutant_secrets)")
        try:
            with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise InfrastructureError(f"secret '{name}': {path} is not a regular file")
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InfrastructureError(f"secret '{name}': cannot read {path}: {error.strerror}") from None
        if not 0 < len(content) <= MAX_BYTES:
            raise InfrastructureError(f"secret '{name}': {path} must have 1 to {MAX_BYTES} bytes")
        return content

    def stored(self, worker_id: str) -> list[StoredSecret]:
        """Every secret of this worker that podman has."""
        found = []
        for entry in self._api.call("GET", "/secrets/json", what="list", where="secrets") or []:
            spec = entry.get("Spec") or {}
            owner = {**((spec.get("Driver") or {}).get("Options") or {}), **(spec.get("Labels") or {})}
            if owner.get(LABEL_WORKER_ID) == worker_id:
                task = str(owner.get(LABEL_TASK_ID, ""))
                found.append(StoredSecret(name=str(spec.get("Name")), worker_id=worker_id, task_id=task))
        return found

    def remove(self, name: str) -> None:
        """Remove a secret; absent is fine."""
        try:
            self._api.call("DELETE", f"/secrets/{quoted(name)}", what="remove secret", where=name)
        except Refused as error:
            if error.status != 404 and "no such secret" not in error.why.lower():
                raise
