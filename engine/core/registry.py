"""What a registry or transport error means: words, cure, and whether asking again can help. Pure, over podman's text.

Only transport faults are worth a retry: a wrong password or a missing tag stays wrong.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class TransferFault:
    """`why` in podman's own words, `cure`; `retry`: the same call can succeed later. `kind` is a stable word."""

    kind: str
    why: str
    cure: str
    retry: bool


# kind: (texts in podman's answer, cure, retry); the first that fits counts, so the special ones come first.
_FAULTS: tuple[tuple[str, tuple[str, ...], str, bool], ...] = (
    (
        "untrusted",
        ("x509:", "certificate signed by unknown authority", "tls: failed to verify"),
        "put the registry's CA into /etc/containers/certs.d/HOST:PORT/ca.crt (rootless: ~/.config/containers/certs.d)",
        False,
    ),
    (
        "not-tls",
        ("server gave HTTP response to HTTPS client", "first record does not look like a TLS handshake"),
        "the registry speaks plain http: give it TLS, or say insecure = true for it in registries.conf",
        False,
    ),
    (
        "login",
        ("unauthorized", "authentication required", "invalid username/password", "denied:", "403 (Forbidden)"),
        "log in as the worker's user: podman login HOST (or a credential helper in auth.json)",
        False,
    ),
    (
        "damaged",
        (
            "digest did not match",
            "does not match digest",
            "unexpected EOF",
            "invalid checksum",
            "size mismatch",
            "invalid tar header",
            "digest invalid",
            "corrupt input",
            "gzip: invalid",
            "flate:",
            "zstd:",
            "archive/tar",
        ),
        "the registry's copy is damaged or was cut: push the image again",
        True,
    ),
    (
        "architecture",
        ("no image found in manifest list for architecture", "no image found in image index for architecture"),
        "the image is not published for this architecture: build and push it for this host's",
        False,
    ),
    (
        "absent",
        ("manifest unknown", "name unknown", "not found", "repository name not known", "reading manifest"),
        "correct the name or the tag, or push the image",
        False,
    ),
    (
        "short-name",
        ("short-name", "did not resolve to an alias"),
        "name the registry: registry.example.org/name:tag",
        False,
    ),
    (
        "full",
        ("no space left on device",),
        "free space where podman keeps images (podman info: graphRoot): engine image prune",
        False,
    ),
    (
        "down",
        (
            "connection refused",
            "no such host",
            "i/o timeout",
            "network is unreachable",
            "no route to host",
            "connection reset",
            "server closed idle connection",
            "broken pipe",
            "use of closed network connection",
            "EOF",
            "502 ",
            "503 ",
            "504 ",
            "500 ",
            "429 ",
            "too many requests",
            "timeout",
            "deadline exceeded",
            "temporary failure in name resolution",
        ),
        "the registry does not answer: check it and the network",
        True,
    ),
)


def lost_race(words: str) -> bool:
    """Whether podman 4.3.1 could not read an image, or a list of them, for another process removing one just then.

    The words are of its label or parent, of itself, of its use, of its manifest; asked again it can.
    """
    return any(
        sign in words for sign in ("retrieving ", "reading image ", "checking if image ", "locating item named ")
    )


def judge_transfer(text: str) -> TransferFault:
    """The fault behind what podman said of a failed pull or push."""
    why = _last_cause(text)
    lower = text.lower()
    for kind, signs, cure, retry in _FAULTS:
        if any(sign.lower() in lower for sign in signs):
            return TransferFault(kind, why, cure, retry)
    return TransferFault("other", why, "try podman pull by hand as the worker's user", False)


def _last_cause(text: str) -> str:
    """The last line that says something, without podman's prefixes, at most 1000 characters."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "level=" not in line]
    line = (errors or lines or ["podman gave no reason"])[-1]
    return line.removeprefix("Error: ")[:1000]
