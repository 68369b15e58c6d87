"""What podman says of a registry fault, and what we make of it: pure."""

from __future__ import annotations

import pytest

from engine.core.registry import judge_transfer

SAID = [
    ("down", True, "pinging container registry 127.0.0.1:1: Get: dial tcp 127.0.0.1:1: connect: connection refused"),
    ("down", True, "Get https://r.example/v2/: dial tcp: lookup r.example: no such host"),
    ("down", True, "received unexpected HTTP status: 503 Service Unavailable"),
    ("down", True, "net/http: TLS handshake timeout"),
    ("down", True, 'pinging container registry r: Get "http://r/v2/": http: server closed idle connection'),
    ("down", True, "Patch https://r/v2/: write tcp: broken pipe"),
    ("down", True, "toomanyrequests: Too Many Requests (HAP429)."),
    ("login", False, "reading manifest 1 in r.example/a: unauthorized: authentication required"),
    ("login", False, "logging into r: invalid username/password"),
    ("login", False, "reading manifest 1 in r.example/a: denied: requested access to the resource is denied"),
    ("absent", False, "reading manifest 2 in 127.0.0.1:5000/a: manifest unknown: manifest unknown"),
    ("absent", False, "reading manifest 1 in 127.0.0.1:5000/b: name unknown: repository name not known to registry"),
    ("untrusted", False, "pinging registry: Get: x509: certificate signed by unknown authority"),
    ("not-tls", False, "http: server gave HTTP response to HTTPS client"),
    ("damaged", True, "writing blob: happened during read: Digest did not match, expected sha256:a, got sha256:b"),
    ("damaged", True, "writing blob: storing blob to file: happened during read: unexpected EOF"),
    ("damaged", True, "flate: corrupt input before offset 542068"),
    ("architecture", False, 'no image found in manifest list for architecture amd64, variant "", OS linux'),
    ("short-name", False, 'short-name "x" did not resolve to an alias and no unqualified-search registries'),
    ("full", False, "writing blob: storing blob to file: write /var/tmp/s: no space left on device"),
    ("other", False, "something nobody has seen"),
    ("other", False, ""),
]


@pytest.mark.parametrize(("kind", "retry", "text"), SAID)
def test_a_fault_has_its_kind_a_cure_and_says_whether_to_retry(kind: str, retry: bool, text: str) -> None:
    fault = judge_transfer(f"Error: {text}\n" if text else "")
    assert (fault.kind, fault.retry) == (kind, retry)
    assert fault.cure
    assert text in fault.why
