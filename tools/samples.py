"""Source RPMs of the samples, made by the host's rpmbuild: `python -m tools.samples OUTDIR [NAME ...]`.

A sample is `samples/<name>/<name>.spec`; its Source0 is packed from `src/` beside it, or from what
`generate.py` beside it writes. The same sources give the same bytes. Two have no sources: `corrupt-header` and
`corrupt-payload` are the sample hz, cut off in the one or the other.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

SAMPLES = Path(__file__).parents[1] / "samples"
CORRUPT = {"corrupt-header": 2000, "corrupt-payload": -500}  # where hz is cut, in bytes
CORRUPT_FROM = "hz"
EPOCH_SECONDS = 1735689600  # 2025-01-01, the time of everything in a sample


class SampleError(RuntimeError):
    """A sample that does not exist, or that rpmbuild refuses."""


def names() -> list[str]:
    """Every sample there is."""
    return sorted([*(path.parent.name for path in SAMPLES.glob("*/*.spec")), *CORRUPT])


def build(name: str, outdir: Path) -> Path:
    """Make the source RPM of a sample in `outdir` and return its path."""
    outdir.mkdir(parents=True, exist_ok=True)
    if name in CORRUPT:
        with tempfile.TemporaryDirectory() as folder:
            whole = build(CORRUPT_FROM, Path(folder)).read_bytes()
        return _arrive(outdir / f"{name}-1.0-1.src.rpm", whole[: CORRUPT[name]])
    spec = SAMPLES / name / f"{name}.spec"
    if not spec.is_file():
        raise SampleError(f"no sample {name!r}; there are: {', '.join(names())}")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        _pack_source(name, spec, top)
        shutil.copy(spec, top / spec.name)
        os.utime(top / spec.name, (EPOCH_SECONDS, EPOCH_SECONDS))
        made = _rpmbuild(top, top / spec.name)
        return _arrive(outdir / made.name, made.read_bytes())


def _arrive(target: Path, content: bytes) -> Path:
    """Write a file in one step: another process may be reading the same sample."""
    arriving = target.with_name(f".{target.name}.{os.getpid()}")
    arriving.write_bytes(content)
    return arriving.rename(target)


def _pack_source(name: str, spec: Path, top: Path) -> None:
    version = re.search(r"^Version:\s*(\S+)", spec.read_text(), re.MULTILINE)
    if version is None:
        raise SampleError(f"{spec}: no Version line")
    source, generator = spec.parent / "src", spec.parent / "generate.py"
    if generator.is_file():
        source = top / "generated"
        source.mkdir()
        subprocess.run([sys.executable, generator, source], check=True)
    if source.is_dir():
        stem = f"{name}-{version[1]}"
        packed = top / f"{stem}.tar.gz"
        packed.write_bytes(_tar_gz(source, stem))
        os.utime(packed, (EPOCH_SECONDS, EPOCH_SECONDS))


def _tar_gz(source: Path, stem: str) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(f"{stem}/{path.relative_to(source)}")
            member.size = path.stat().st_size
            member.mode = 0o755 if path.suffix in (".sh", ".test") else 0o644
            member.mtime = EPOCH_SECONDS
            with path.open("rb") as stream:
                archive.addfile(member, stream)
    return gzip.compress(raw.getvalue(), mtime=0)


def _rpmbuild(top: Path, spec: Path) -> Path:
    # The header holds the expanded spec file, so no path of this run may come into it.
    defines = {
        "_builddir": "BUILD",
        "_buildrootdir": "BUILDROOT",
        "_topdir": str(top),
        "_sourcedir": ".",
        "_srcrpmdir": str(top / "out"),
        "_dbpath": str(top / "db"),
        "_buildhost": "samples",
        "_source_payload": "w6.gzdio",
        "dist": "%{nil}",
        "use_source_date_epoch_as_buildtime": "1",
        "clamp_mtime_to_source_date_epoch": "1",
    }
    options = [word for key, value in defines.items() for word in ("--define", f"{key} {value}")]
    try:
        done = subprocess.run(
            ["rpmbuild", "-bs", "--nodeps", "--target", "x86_64", *options, spec],
            cwd=top,
            env={**os.environ, "HOME": str(top), "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(EPOCH_SECONDS)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SampleError("rpmbuild is not installed: make setup") from error
    if done.returncode:
        raise SampleError(f"{spec.name}: rpmbuild ended with status {done.returncode}\n{done.stderr[-2000:]}")
    return next((top / "out").glob("*.src.rpm"))


def main(argv: list[str]) -> int:
    """Exit status 0 with one path a line on standard output, 1 when a sample failed, 2 without OUTDIR."""
    if not argv or argv[0].startswith("-"):
        print(f"usage: python -m tools.samples OUTDIR [NAME ...]\nnames: {', '.join(names())}", file=sys.stderr)
        return 2
    try:
        for name in argv[1:] or names():
            print(build(name, Path(argv[0])), flush=True)
    except SampleError as error:
        print(f"samples: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
