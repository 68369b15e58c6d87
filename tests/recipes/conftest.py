"""Fixtures: real podman."""

from tests.podmanhost import podman_host

__all__ = ["podman_host"]
