"""An existing kojid.conf, read as it stands (contract 1.1). A real kojid refuses unknown options; we name them.

Every option of kojid is in exactly one table here: read into `hub.*`, handed to recipes as a variable, or
named with the reason why it has no effect.
"""

from __future__ import annotations

import configparser
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from engine.core.errors import BadInput, Problem, did_you_mean
from engine.settings.document import LEAVES

SECTION = "kojid"
DEFAULT_PATH = "/etc/kojid/kojid.conf"

READ: frozenset[str] = frozenset(leaf.key for leaf in LEAVES.values() if leaf.table == "hub")
"""Options that are `[hub]` keys by the same name."""

VARIABLES: frozenset[str] = frozenset({"yum_proxy", "createrepo_update", "createrepo_skip_stat"})
"""Options that only a recipe can honour: they become `settings.variables.NAME`, text as it stands."""

RLIMITS: frozenset[str] = frozenset(name for name in vars(resource) if name.startswith("RLIMIT_"))
"""Limits that this system has."""

_MOCK = "there is no mock: the task's container is the build environment"
_SOURCES = "no recipe checks out sources"
_MAIL = "this worker sends no mail; read its log or `engine status`"
_ROOTS = "a task's root is removed when the task ends"
_IMAGES = "image tasks are not built by this worker"
NO_EFFECT: Mapping[str, str] = {
    "mockdir": _MOCK + "; free space is measured where podman keeps containers",
    "mockuser": _MOCK + "; its user is 1000",
    "chroot_tmpdir": _MOCK,
    "buildroot_basic_cleanup_delay": _ROOTS,
    "buildroot_final_cleanup_delay": _ROOTS,
    "failed_buildroot_lifetime": _ROOTS,
    "mock_bootstrap_image": "packages are installed from the task image, without a bootstrap chroot",
    "task_avail_delay": "kojid does not use it either since the hub schedules",
    "literal_task_arches": "this worker makes no child tasks",
    "build_arch_can_fail": "this worker makes no child tasks",
    "support_rpm_source_layout": _SOURCES,
    "use_createrepo_c": "createrepo_c is what the task image has",
    "distrepo_skip_stat": "no recipe makes dist repos",
    "copy_old_repodata": "this worker makes no child tasks",
    "allowed_scms": _SOURCES,
    "allowed_scms_use_config": _SOURCES,
    "allowed_scms_use_policy": _SOURCES,
    "allow_password_in_scm_url": _SOURCES,
    "scm_credentials_dir": _SOURCES,
    "maven_repo_ignore": "no recipe builds with maven",
    "oz_install_timeout": _IMAGES,
    "xz_options": _IMAGES,
    "allow_noverifyssl": _IMAGES,
    "admin_emails": _MAIL,
    "smtphost": _MAIL,
    "smtp_user": _MAIL,
    "smtp_pass": _MAIL,
    "from_addr": _MAIL,
    "plugin": "builder plugins are not loaded; write a recipe for the task type",
    "plugins": "builder plugins are not loaded; write a recipe for the task type",
    "pluginpath": "builder plugins are not loaded",
    "pkgurl": "obsolete in kojid too",
}
_KERBEROS = "koji has no such option any more: rdns and dns_canonicalize_hostname in krb5.conf decide"
_GONE: Mapping[str, str] = {"krb_rdns": _KERBEROS, "krb_canon_host": _KERBEROS, "krbservice": "the service is HTTP"}
# What kojid's own default is: saying that changes nothing, so it is no news.
_HARMLESS: Mapping[str, str] = {"use_createrepo_c": "true", "support_rpm_source_layout": "true"}


@frozen
class KojidConf:
    """What a kojid.conf says: `texts` by key path, `rlimits`, `variables`, and what it said in vain."""

    path: str
    texts: Mapping[str, str]
    rlimits: Mapping[str, str]
    variables: Mapping[str, str]
    notes: tuple[Problem, ...]


def read_kojid_conf(path: str) -> KojidConf:
    """Read one kojid.conf. BadInput when it cannot be read or is no such file at all."""
    # As koji.read_config_files(raw=True) does: no interpolation, so `%s` in host_principal_format is literal.
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(Path(path).read_text(encoding="utf-8"), source=path)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput([Problem(path, "", f"cannot be read: {_reason(error)}")]) from None
    except configparser.Error as error:
        raise BadInput([Problem(path, "", f"not a kojid.conf: {_one_line(error)}")]) from None
    if not parser.has_section(SECTION):
        raise BadInput([Problem(path, "", "has no section [kojid]", "is it a kojid.conf?")])
    options = {key: value or "" for key, value in parser.items(SECTION)}
    return KojidConf(
        path=path,
        texts={f"hub.{key}": text for key, text in options.items() if key in READ},
        rlimits={key.upper(): text for key, text in options.items() if key.upper() in RLIMITS},
        variables={key: text for key, text in options.items() if key in VARIABLES},
        notes=tuple(_notes(path, parser, options)),
    )


def _notes(path: str, parser: configparser.RawConfigParser, options: Mapping[str, str]) -> Iterator[Problem]:
    for section in parser.sections():
        if section != SECTION:
            yield Problem(path, section, "section ignored; kojid itself refuses it")
    known = sorted(READ | VARIABLES | NO_EFFECT.keys())
    if more := options.get("topurl", "").split()[1:]:
        yield Problem(path, "topurl", f"only the first address is used, not {', '.join(more)}")
    for key, text in options.items():
        if key.startswith("rlimit_"):
            if key.upper() not in RLIMITS:
                yield Problem(path, key.upper(), "ignored, as by kojid: this system has no such limit")
        elif key in NO_EFFECT:
            if _HARMLESS.get(key) != text.strip().lower():
                yield Problem(path, key, f"has no effect: {NO_EFFECT[key]}")
        elif key not in READ and key not in VARIABLES:
            yield Problem(path, key, "unknown option, ignored", _GONE.get(key) or _nearest(key, known))


def _nearest(key: str, known: list[str]) -> str:
    cure = did_you_mean(key, known)
    return cure if cure.startswith("did you mean") else ""


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else f"not UTF-8: {error.reason}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
