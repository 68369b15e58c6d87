"""Fixtures with real podman."""

from tests.podman_fixtures import manager, podman_service, tiny_image

__all__ = ["manager", "podman_service", "tiny_image"]
