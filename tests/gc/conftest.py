"""Fixtures: real podman."""

from tests.podmanhost import manager, podman_host, task_image, tiny_image

__all__ = ["manager", "podman_host", "task_image", "tiny_image"]
