"""Fixtures with real podman for the golden cases."""

from tests.podmanhost import manager, podman_host, tiny_image

__all__ = ["manager", "podman_host", "tiny_image"]
