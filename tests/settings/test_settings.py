"""worker.toml, kojid.conf, environment and command line laid over one another."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from engine.adapters import images, recipes
from engine.buildroot import SnapshotLimits
from engine.cli import cli
from engine.cli.config import config as config_command
from engine.core.errors import BadInput
from engine.core.facts import MountRule, Settings
from engine.core.structure import structure
from engine.settings import Loaded, load_settings
from engine.settings.document import LEAVES, WorkerFile
from engine.settings.kojid import NO_EFFECT, READ, VARIABLES
from engine.settings.sources import RESERVED, environment_layer, environment_variables

KOJID = """
[kojid]
server = http://hub.example/kojihub
topurl = http://hub.example/files http://mirror.example/files
sleeptime = 3
maxjobs = 4
user = builder1
password = secret-word
offline_retry = no
host_principal_format = compile/%s@EXAMPLE
RLIMIT_NOFILE = 1024 4096
yum_proxy = http://proxy:3128
"""

# Contract 1.1, the table of options, in its order.
# fmt: off
CONTRACT_OPTIONS = [
    "server", "topurl", "topdir", "workdir", "chroot_tmpdir", "sleeptime", "maxjobs", "minspace",
    "buildroot_basic_cleanup_delay", "buildroot_final_cleanup_delay", "failed_buildroot_lifetime",
    "task_avail_delay", "literal_task_arches", "build_arch_can_fail", "mockdir", "mockuser", "mockhost",
    "mock_bootstrap_image", "packager", "vendor", "distribution", "yum_proxy", "rpmbuild_timeout",
    "support_rpm_source_layout", "use_createrepo_c", "createrepo_update", "createrepo_skip_stat",
    "distrepo_skip_stat", "copy_old_repodata", "allowed_scms", "allowed_scms_use_config",
    "allowed_scms_use_policy", "allow_password_in_scm_url", "scm_credentials_dir", "maven_repo_ignore",
    "oz_install_timeout", "xz_options", "allow_noverifyssl", "log_timestamps", "log_level", "admin_emails",
    "smtphost", "smtp_user", "smtp_pass", "from_addr", "plugin", "plugins", "pluginpath", "cert", "serverca",
    "no_ssl_verify", "krb_principal", "host_principal_format", "keytab", "ccache", "user", "password",
    "max_retries", "retry_interval", "offline_retry", "offline_retry_interval", "timeout", "use_fast_upload",
    "pkgurl",
]
# fmt: on


def load(tmp_path: Path, toml: str = "", kojid: str | None = None, **options: object) -> Loaded:
    config = tmp_path / "worker.toml"
    config.write_text(toml)
    conf = None
    if kojid is not None:
        conf = str(tmp_path / "kojid.conf")
        Path(conf).write_text(kojid)
    options.setdefault("environment", {})
    return load_settings(str(config), conf, **options)  # type: ignore[arg-type]


def problems(tmp_path: Path, toml: str = "", kojid: str | None = None, **options: object) -> list[str]:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, toml, kojid, **options)
    return [str(one).replace(str(tmp_path) + "/", "") for one in caught.value.problems]


def test_defaults_are_the_ADRs(tmp_path: Path) -> None:
    settings = load(tmp_path).settings
    plain = Settings()
    for name in [path.partition(".")[0] for path in LEAVES if path.startswith("adjutant_")]:
        assert getattr(settings, name) == getattr(plain, name), name
    timeouts = settings.adjutant_container_timeouts
    assert (timeouts.pull, timeouts.start, timeouts.stop_grace) == (300, 60, 20)
    assert settings.adjutant_image_pull_policy == "if-not-present"
    assert settings.adjutant_network_enabled is True


def test_every_option_of_kojid_has_exactly_one_fate() -> None:
    for option in CONTRACT_OPTIONS:
        assert [option in READ, option in VARIABLES, option in NO_EFFECT].count(True) == 1, option
    assert set(CONTRACT_OPTIONS) == READ | VARIABLES | set(NO_EFFECT)
    assert all(reason for reason in NO_EFFECT.values())


@pytest.mark.parametrize("option", sorted(VARIABLES - {"yum_proxy"}))
def test_what_is_handed_to_recipes_is_read_by_one(option: str) -> None:
    recipes = "".join(path.read_text() for path in sorted((Path(__file__).parents[2] / "recipes").glob("*.toml")))
    assert f"settings.variables.{option}" in recipes


def test_a_kojid_conf_is_read_as_it_stands(tmp_path: Path) -> None:
    loaded = load(tmp_path, kojid=KOJID)
    assert loaded.hub.server == "http://hub.example/kojihub"
    assert loaded.hub.host_principal_format == "compile/%s@EXAMPLE"
    assert (loaded.hub.sleeptime, loaded.hub.maxjobs, loaded.hub.offline_retry) == (3, 4, False)
    assert loaded.settings.topurl == "http://hub.example/files"
    assert loaded.rlimits == {"RLIMIT_NOFILE": "1024 4096"}
    assert loaded.settings.variables == {"yum_proxy": "http://proxy:3128"}
    assert [str(note).partition(": ")[2] for note in loaded.notes] == [
        "topurl: only the first address is used, not http://mirror.example/files"
    ]
    assert loaded.origin("hub.maxjobs") == f"{tmp_path}/kojid.conf: maxjobs"


def test_what_a_kojid_conf_says_in_vain_is_named(tmp_path: Path) -> None:
    loaded = load(
        tmp_path, kojid=KOJID + "plugins = runroot\nslepetime = 4\nkeepalive = 1\nkrb_rdns = no\n[other]\nx = 1\n"
    )
    notes = [str(note).replace(f"{tmp_path}/", "") for note in loaded.notes]
    assert notes == [
        "kojid.conf: other: section ignored; kojid itself refuses it",
        "kojid.conf: topurl: only the first address is used, not http://mirror.example/files",
        "kojid.conf: plugins: has no effect: builder plugins are not loaded; write a recipe for the task type",
        "kojid.conf: slepetime: unknown option, ignored (did you mean 'sleeptime'?)",
        "kojid.conf: keepalive: unknown option, ignored",
        "kojid.conf: krb_rdns: unknown option, ignored (koji has no such option any more: rdns and "
        "dns_canonicalize_hostname in krb5.conf decide)",
    ]


def test_waiting_longer_than_a_host_may_be_silent_is_named(tmp_path: Path) -> None:
    conf = "[kojid]\nsleeptime = 61\nretry_interval = 60\noffline_retry_interval = 120\ntimeout = 43200\n"
    notes = [str(note).replace(f"{tmp_path}/", "") for note in load(tmp_path, kojid=conf).notes]
    words = "s is longer than a host may be silent;"
    assert notes == [
        f"kojid.conf: sleeptime: 61 {words} 60 s is used",
        f"kojid.conf: retry_interval: 60 {words} 15 s is used",
        f"kojid.conf: offline_retry_interval: 120 {words} 15 s is used",
        f"kojid.conf: timeout: 43200 {words} 300 s is used",
    ]
    assert load(tmp_path).notes == ()


def test_containers_may_see_the_hubs_tree_wherever_it_is(tmp_path: Path) -> None:
    loaded = load(tmp_path, kojid="[kojid]\ntopdir = /srv/koji\n")
    assert loaded.settings.adjutant_container_mounts == (MountRule(source="/srv/koji", target="/srv/koji"),)
    assert loaded.origin("adjutant_container_mounts") == "default, from hub.topdir"
    assert loaded.notes == ()
    rule = 'adjutant_container_mounts = [{ source = "/SOURCE", target = "/srv/koji" }]\n[hub]\ntopdir = "/srv/koji"\n'
    assert load(tmp_path, rule.replace("/SOURCE", "/srv/koji")).notes == ()
    assert [
        str(note).replace(f"{tmp_path}/", "") for note in load(tmp_path, rule.replace("/SOURCE", "/mnt/koji")).notes
    ] == [
        "worker.toml: adjutant_container_mounts: does not allow hub.topdir, /srv/koji: tasks that read it there "
        'are refused (add { source = "/srv/koji", target = "/srv/koji" })'
    ]


def test_precedence_and_origin(tmp_path: Path) -> None:
    toml = "[hub]\nmaxjobs = 5\nsleeptime = 7\nretry_interval = 2"
    loaded = load(
        tmp_path,
        toml,
        KOJID,
        environment={"ADJUTANT_HUB_SLEEPTIME": "8", "ADJUTANT_HUB_RETRY_INTERVAL": "9"},
        command_line={"hub.retry_interval": 1, "hub.server": None},
    )
    found = {
        path: (value.value, value.origin.replace(f"{tmp_path}/", ""))
        for value in loaded.values
        if (path := value.path) in {"hub.retry_interval", "hub.sleeptime", "hub.maxjobs", "hub.user", "hub.vendor"}
    }
    assert found == {
        "hub.retry_interval": (1, "command line: --retry-interval"),
        "hub.sleeptime": (8, "environment: ADJUTANT_HUB_SLEEPTIME"),
        "hub.maxjobs": (5, "worker.toml: hub.maxjobs"),
        "hub.user": ("builder1", "kojid.conf: user"),
        "hub.vendor": ("Koji", "default"),
    }


def test_the_ADRs_names_as_environment_variables(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        environment={
            "ADJUTANT_TASK_IMAGE_DEFAULT": "localhost/task:el10",
            "ADJUTANT_IMAGE_PULL_POLICY": "never",
            "ADJUTANT_CONTAINER_MOUNTS": "[{ source = '/srv/koji', target = '/mnt/koji', selinux_label = 'z' }]",
            "ADJUTANT_NETWORK_ENABLED": "false",
            "ADJUTANT_CONTAINER_LABELS": "{ site = 'a' }",
            "ADJUTANT_CONTAINER_TIMEOUTS": "{ pull = 10, start = 11 }",
            "ADJUTANT_CONTAINER_TIMEOUTS_STOP_GRACE": "3",
        },
    ).settings
    assert settings.adjutant_task_image_default == "localhost/task:el10"
    assert settings.adjutant_image_pull_policy == "never"
    assert [mount.source for mount in settings.adjutant_container_mounts] == ["/srv/koji"]
    assert settings.adjutant_network_enabled is False
    assert settings.adjutant_container_labels == {"site": "a"}
    timeouts = settings.adjutant_container_timeouts
    assert (timeouts.pull, timeouts.start, timeouts.stop_grace) == (10, 11, 3)


def test_all_problems_of_all_sources_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        'adjutant_network_enabled = "no"\nadjutant_image_pull_policy = "sometimes"\n[hub]\nmaxjobs = "4"\nslep = 3\n',
        "[kojid]\nmaxjobs = many\noffline_retry = perhaps\n",
        environment={"ADJUTANT_HUB_MINSPACE": "1G", "ADJUTANT_CONTAINER_TIMEOUTS": "{ stop = 3 }"},
    )
    assert sorted(found) == [
        "environment: ADJUTANT_CONTAINER_TIMEOUTS: unknown key 'stop'",
        "environment: ADJUTANT_HUB_MINSPACE: must be an integer, got '1G'",
        "kojid.conf: maxjobs: must be an integer, got 'many'",
        "kojid.conf: offline_retry: must be yes or no, got 'perhaps'",
        "worker.toml: adjutant_image_pull_policy: must be one of 'if-not-present', 'always', 'never', got 'sometimes'",
        "worker.toml: adjutant_network_enabled: must be a boolean, got string 'no' (write false without quotes)",
        "worker.toml: hub.maxjobs: must be an integer, got string '4' (write 4 without quotes)",
        "worker.toml: hub: unknown key 'slep' (did you mean 'sleeptime'?)",
    ]


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ('[hub]\nworkdir = "relative"', "worker.toml: hub.workdir: must be an absolute path"),
        ('[hub]\nlog_level = "LOUD"', "worker.toml: hub.log_level: no level is called 'LOUD'"),
        ('[hub]\nhost_principal_format = "%s%s"', "worker.toml: hub.host_principal_format: may hold one %s"),
        ('[adjutant_container_labels]\n"io.koji.adjutant.x" = "1"', "worker.toml: adjutant_container_labels: "),
        ("[adjutant_container_timeouts]\npull = 0", "worker.toml: adjutant_container_timeouts.pull: must be"),
        ('[buildroots]\ndisk = "20"', "worker.toml: buildroots.disk: "),
        ("[buildroots]\ndisk = 20", "worker.toml: buildroots.disk: must be a string, got integer 20"),
        ("[buildroots]\nchain = -1", "worker.toml: buildroots.chain: must be at least 0"),
        ('[buildroots]\nrepeats_after = "1"', "worker.toml: buildroots.repeats_after: must be an integer, got"),
        ("[buildroots]\nrepeat = 1", "worker.toml: buildroots: unknown key 'repeat' (did you mean 'repeats'?)"),
        (
            '[buildroots]\nwarm = ["buildArch f45"]',
            "worker.toml: buildroots.warm: 'buildArch f45' does not name a root",
        ),
        ('[hub]\nhost_principal_format = "compile/%d@X"', "worker.toml: hub.host_principal_format: may hold one %s"),
        ('[hub]\nhost_principal_format = "compile/x@X"', "worker.toml: hub.host_principal_format: may hold one %s"),
        ('[hub]\nhost_principal_format = "100%"', "worker.toml: hub.host_principal_format: may hold one %s"),
        ('[hub]\nserver = "koji.example.com/kojihub"', "worker.toml: hub.server: 'koji.example.com/kojihub' is no"),
        ('[hub]\nserver = "http://"', "worker.toml: hub.server: 'http://' is no address"),
        ('[hub]\nserver = "http://h:99999/x"', "worker.toml: hub.server: 'http://h:99999/x' is no address"),
        ('[rlimits]\nRLIMIT_FOO = "1"', "worker.toml: rlimits: this system has no limit 'RLIMIT_FOO'"),
        ('[rlimits]\nRLIMIT_CORE = "0 5 7"', "worker.toml: rlimits: RLIMIT_CORE = '0 5 7' is no limit"),
        ('[rlimits]\nRLIMIT_CORE = "5 4"', "worker.toml: rlimits: RLIMIT_CORE = '5 4' is no limit"),
        (f'[rlimits]\nRLIMIT_CORE = "{10**30}"', "worker.toml: rlimits: RLIMIT_CORE = '1000"),
        ('[rlimits]\nRLIMIT_NOFILE = "much"', "worker.toml: rlimits: RLIMIT_NOFILE = 'much' is no limit"),
    ],
)
def test_values_that_do_not_fit(tmp_path: Path, toml: str, expected: str) -> None:
    found = problems(tmp_path, toml)
    assert len(found) == 1
    assert found[0].startswith(expected[: len(found[0])][:60]), found


@pytest.mark.parametrize("text", ["0", "-1", "5 5", "1024 -1", "-1 -1"])
def test_limits_that_setrlimit_takes(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, f'[rlimits]\nRLIMIT_CORE = "{text}"').rlimits == {"RLIMIT_CORE": text}


def test_a_limit_of_another_system_in_a_kojid_conf_is_named(tmp_path: Path) -> None:
    loaded = load(tmp_path, kojid="[kojid]\nRLIMIT_SWAP = 5\nrlimit_core = 0\n")
    assert loaded.rlimits == {"RLIMIT_CORE": "0"}
    assert [note.path for note in loaded.notes] == ["RLIMIT_SWAP"]


def test_what_stored_roots_may_cost(tmp_path: Path) -> None:
    default = SnapshotLimits(disk=20 * 1024**3, count=60, chain=20, repeats=20, repeats_after=1)
    assert SnapshotLimits.of(load(tmp_path).settings.buildroots) == SnapshotLimits() == default
    toml = '[buildroots]\ndisk = "512m"\ncount = 3\nchain = 0\nrepeats = 2\nrepeats_after = 0'
    said = load(tmp_path, toml, environment={"ADJUTANT_BUILDROOTS_COUNT": "4"}).settings.buildroots
    expected = SnapshotLimits(disk=512 * 1024**2, count=4, chain=0, repeats=2, repeats_after=0)
    assert SnapshotLimits.of(said) == expected


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        load_settings(str(tmp_path / "none.toml"), environment={})
    with pytest.raises(BadInput, match=r"has no section \[kojid\]"):
        load(tmp_path, kojid="[hub]\nserver = x\n")
    with pytest.raises(BadInput, match="not a kojid.conf"):
        load(tmp_path, kojid="server = x\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["open", "closed"])
def test_kojids_own_files_may_be_roots_alone(mode: int) -> None:
    """Where root's kojid ran before: its certificate keeps a worker of another user from nothing."""
    folder = Path("/tmp", f"adjutant-test-{os.getpid()}")  # noqa: S108 - pytest's own is closed to others
    code = f"""
import os
from engine.settings import effective, kojid, load_settings
import engine.worker.session
os.setgid(65534); os.setuid(65534)
kojid.DEFAULT_PATH = "{folder}/kojid.conf"
effective._IF_PRESENT = {{"hub.cert": "{folder}/client.crt", "hub.serverca": "{folder}/serverca.crt"}}
loaded = load_settings(environment={{"ADJUTANT_HUB_SERVER": "http://localhost:1/kojihub"}})
engine.worker.session.require_credentials(loaded.hub)
print(loaded.hub.cert, loaded.hub.serverca, loaded.hub.maxjobs, *loaded.notes, sep=chr(10))
"""
    try:
        folder.mkdir()
        (folder / "kojid.conf").write_text("[kojid]\nmaxjobs = 3\n")
        for name, readable in (("client.crt", 0o600), ("serverca.crt", 0o644)):
            (folder / name).touch()
            (folder / name).chmod(readable)
        folder.chmod(mode)
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(folder)
    assert said.stderr == ""
    words = f"{folder}/%s: cannot be read by uid 65534, not used (make it readable, or %s)"
    if mode == 0o700:
        found = ["None", "None", "10", words % ("kojid.conf", "say what holds in worker.toml")]
    else:
        found = ["None", f"{folder}/serverca.crt", "3", words % ("client.crt", "set hub.cert")]
    assert said.stdout.splitlines() == found


def test_a_conf_file_given_as_config_is_a_kojid_conf(tmp_path: Path) -> None:
    path = tmp_path / "kojid.conf"
    path.write_text(KOJID)
    assert load_settings(str(path), environment={}).hub.user == "builder1"


def test_worker_toml_can_name_the_kojid_conf(tmp_path: Path) -> None:
    (tmp_path / "k.conf").write_text(KOJID)
    assert load(tmp_path, f'kojid_conf = "{tmp_path}/k.conf"').hub.maxjobs == 4


def test_workers_of_one_host_are_told_apart_by_their_workdir(tmp_path: Path) -> None:
    ids = {load(tmp_path, f'[hub]\nworkdir = "/w/{name}"').settings.worker_id for name in "ab"}
    ids.add(load(tmp_path).settings.worker_id)
    assert len(ids) == 3
    assert load(tmp_path, '[worker]\nid = "w1"').settings.worker_id == "w1"


def test_every_setting_has_its_own_environment_variable() -> None:
    assert len(environment_variables()) == len(LEAVES)


def test_a_commands_own_variable_is_no_setting() -> None:
    def variables(command: click.Command) -> Iterator[str]:
        for option in command.params:
            yield from [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                found = command.get_command(click.Context(command), name)
                yield from variables(found) if found is not None else ()

    of_commands = {*variables(cli), recipes.ENVIRONMENT, images.ENVIRONMENT}
    assert of_commands == RESERVED
    assert RESERVED & environment_variables().keys() == {"ADJUTANT_KOJID_CONF"}, "these two mean the same"
    _layer, notes = environment_layer(dict.fromkeys(RESERVED, "/some/where"))
    assert notes == ()


def test_show_prints_toml_that_is_a_worker_toml(tmp_path: Path) -> None:
    conf = tmp_path / "kojid.conf"
    conf.write_text(KOJID)
    result = CliRunner().invoke(config_command, ["show", "--kojid-conf", str(conf)])
    assert result.exit_code == 0, result.output
    assert "secret-word" not in result.output
    assert f"# {conf}: maxjobs\nmaxjobs = 4\n" in result.output
    again = tmp_path / "again.toml"
    again.write_text(result.stdout)
    loaded = load_settings(str(again), environment={})
    assert loaded.hub.maxjobs == 4
    assert loaded.settings.variables == {"yum_proxy": "http://proxy:3128"}


def test_show_as_json_has_every_setting(tmp_path: Path) -> None:
    result = CliRunner().invoke(config_command, ["show", "--format", "json", "--kojid-conf", "/dev/null"])
    assert isinstance(result.exception, BadInput)
    conf = tmp_path / "kojid.conf"
    conf.write_text(KOJID)
    result = CliRunner().invoke(config_command, ["show", "--format", "json", "--kojid-conf", str(conf)])
    table = json.loads(result.stdout)
    assert set(table) == set(LEAVES)
    assert table["hub.password"] == {"value": "********", "origin": f"{conf}: password"}


def test_convert_says_the_same_and_is_private(tmp_path: Path) -> None:
    conf, target = tmp_path / "kojid.conf", tmp_path / "worker.toml"
    conf.write_text(KOJID + "mockdir = /var/lib/mock\n")
    result = CliRunner().invoke(config_command, ["convert", str(conf), "-o", str(target)])
    assert result.exit_code == 0, result.output
    assert re.search(r"not carried over: .*kojid\.conf: mockdir: has no effect", result.stderr)
    assert target.stat().st_mode & 0o777 == 0o600
    assert tomllib.loads(target.read_text())["hub"]["password"] == "secret-word"
    schema = target.read_text().splitlines()[0].removeprefix("#:schema ")
    assert (target.parent / schema).is_file()
    direct = load_settings(None, str(conf), environment={})
    by_way = load_settings(str(target), environment={})
    assert by_way.file == direct.file
    again = CliRunner().invoke(config_command, ["convert", str(conf), "-o", str(target)])
    assert isinstance(again.exception, BadInput)


def test_the_class_has_a_description_for_every_key() -> None:
    assert all(leaf.summary for leaf in LEAVES.values())
    assert WorkerFile().hub.sleeptime == 15


@pytest.mark.parametrize("source", ["/", "/var/tmp", "/var/log", "/var/tmp/koji-adjutant", "/var/tmp/koji-adjutant/7"])
def test_a_mount_rule_opens_nothing_that_no_recipe_may_mount(source: str, tmp_path: Path) -> None:
    rule = f'[[adjutant_container_mounts]]\nsource = "{source}"\ntarget = "/mnt/x"\n'
    with pytest.raises(BadInput, match=r"adjutant_container_mounts\[0\].source: .*" + source):
        load(tmp_path, rule)


def test_an_image_rule_that_names_no_image_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"worker.toml: adjutant_images\[1\].image: '-x' is not an image"):
        load(tmp_path, '[[adjutant_images]]\nimage = "a/b:1"\n[[adjutant_images]]\nimage = "-x"\n')


@pytest.mark.parametrize("name", ["memory", "cpus", "pids", "nofile", "seconds", "log_bytes"])
def test_a_ceiling_of_nothing_is_refused(name: str) -> None:
    """podman takes 0 for no limit at all, and so did the engine a step without an end."""
    least = "at least 0.01" if name == "cpus" else "at least 1"
    with pytest.raises(BadInput, match=rf"worker.toml: limits.{name}: must be {least}.*, got 0"):
        structure({"limits": {name: 0}}, WorkerFile, "worker.toml")
