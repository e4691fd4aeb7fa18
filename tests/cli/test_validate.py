"""``validate`` and ``show`` through their doors: every fault with its place, precedence, masks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermes_backup.fleet.declared import declared
from hermes_backup.fleet.render import known_variables
from tests.fleet.ground import HOSTS, LOCAL, Ground, new_ground
from tests.keys import KeyMaker, Recipient

INVALID, ORDER, TEMPLATE, YAML = "HB-CONFIG-INVALID", "HB-PIPELINE-ORDER", "HB-CONFIG-TEMPLATE", "HB-CONFIG-YAML"
NIGHTLY = ("hermes_backup_pipelines:", "  nightly:", "    stages:")
ENCRYPT = '      - encrypt: {recipients: "{{ hermes_backup_recipients }}"}'


def test_a_sound_inventory(ground: Ground) -> None:
    assert ground.faults(examine_keys=True) == []
    fleet = ground.fleet()
    (host,) = fleet.hosts
    assert host.config is not None
    assert list(host.config.pipelines) == ["nightly", "snapshot", "drill"]
    assert host.config.own_controller
    assert len(host.config.public_keys) == 1


AFTER_THE_USUAL = [
    (("hermes_backup_max_age: soon",), "8:1", INVALID, "'soon' is no duration"),
    (("hermes_backup_max_age: 26",), "8:1", INVALID, "'26' is no duration; write for example 15m, 26h or 30d"),
    (("hermes_backup_exclude_extra: true",), "8:1", INVALID, "should be a list"),
    (("hermes_backup_agent: [1]",), "8:1", INVALID, "should be a text"),
    (("hermes_backup_recipient: x",), "8:1", INVALID, "unknown variable 'hermes_backup_recipient'"),
    (("hermes_bakcup_recipients: x",), "8:1", INVALID, "unknown variable 'hermes_bakcup_recipients'"),
    ((*NIGHTLY, "      - archive:", "          formt: tar", ENCRYPT), "12:11", INVALID, "unknown setting 'formt'"),
    ((*NIGHTLY, "      - archive: {compression: {levl: 3}}", ENCRYPT), "11:33", INVALID, "unknown setting 'levl'"),
    (
        (*NIGHTLY, "      - archive:", "          compression: {level: high}", ENCRYPT),
        "12:25",
        INVALID,
        "compression.level: Input should be a valid integer",
    ),
    ((*NIGHTLY, "      - archive:", "      - encript:"), "12:9", INVALID, "there is no stage 'encript'"),
    ((*NIGHTLY, ENCRYPT, "      - archive:"), "11:9", ORDER, "encrypt takes a Stream"),
    ((*NIGHTLY, "      - archive:", ENCRYPT, "      - verify2"), "13:9", INVALID, "there is no stage 'verify2'"),
    (
        (*NIGHTLY, "      - archive:", "          exclude: ['{{ unknown_one }}']", ENCRYPT),
        "12:21",
        TEMPLATE,
        "'unknown_one' is undefined",
    ),
    (
        ("hermes_backup_pipelines: {';rm -rf': {stages: [archive, {store: {path: /x}}]}}",),
        "8:27",
        INVALID,
        "cannot name a folder",
    ),
    (
        ("hermes_backup_pipelines: {--x: {stages: [archive, {store: {path: /x}}]}}",),
        "8:27",
        INVALID,
        "cannot name a folder",
    ),
    (
        ('hermes_backup_pipelines: {"a\\nb": {stages: [archive, {store: {path: /x}}]}}',),
        "8:27",
        INVALID,
        "cannot name a folder",
    ),
]
ALONE = [
    ("hermes_backup_home: '{{ nope }}/x'", "1:21", TEMPLATE, "hermes_backup_home: 'nope' is undefined"),
    ("hermes_backup_home: '{{ nope'", "1:21", TEMPLATE, "hermes_backup_home: "),
    ("hermes_backup_remotes: ['r2:$(touch x)']", "1:1", INVALID, "hermes_backup_remotes: "),
    ("hermes_backup_remotes: ['--config=/etc/passwd']", "1:1", INVALID, "hermes_backup_remotes: "),
    ("hermes_backup_home: null", "1:1", INVALID, "hermes_backup_home: Input should be a text"),
    ("x: 1\nhermes_backup_home: true", "2:1", INVALID, "hermes_backup_home: Input should be a text"),
]


@dataclass(frozen=True)
class Found:
    """Of each case the file that is wrong, and what was said of it."""

    files: Mapping[int, str]
    faults: Sequence[tuple[str, str, str]]

    def of(self, case: int) -> list[tuple[str, str, str]]:
        """Return where in the file, the name and the words of every fault of one case."""
        mine = [it for it in self.faults if it[0].startswith(self.files[case] + ":")]
        return [(it[0].removeprefix(self.files[case] + ":"), *it[1:]) for it in mine]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, recipient: Recipient) -> Found:
    """Each case is a host of one inventory, with a file or a folder of variables: all that is wrong is told at once."""
    with pytest.MonkeyPatch.context() as patch:
        ground = new_ground(tmp_path_factory.mktemp("faults"), recipient, patch)
        usual = (ground.inventory / "group_vars" / "all.yml").read_text()
        texts = [usual + "\n".join(lines) + "\n" for lines, *_ in AFTER_THE_USUAL] + [f"{line}\n" for line, *_ in ALONE]
        files = {it: f"host_vars/h{it}{'/main' if it % 2 else ''}.yml" for it in range(len(texts))}
        hosts = ", ".join(f"h{it}: " for it in files)
        ground.write("hosts.yml", f"all:\n  vars: {{{LOCAL}}}\n  hosts: {{{hosts}}}\n")
        for number, text in enumerate(texts):
            ground.write(files[number], text)
        return Found(files, ground.faults())


@pytest.mark.parametrize(
    ("case", "where", "name", "says"), [(it, *row[1:]) for it, row in enumerate([*AFTER_THE_USUAL, *ALONE])]
)
def test_a_fault_has_its_place(found: Found, case: int, where: str, name: str, says: str) -> None:
    told = found.of(case)
    assert [it[:2] for it in told] == [(where, name)], told
    assert says in told[0][2]


def test_each_fault_is_one_of_a_case(found: Found) -> None:
    assert len(found.faults) == len(AFTER_THE_USUAL) + len(ALONE)


def test_a_key_that_is_given_twice(ground: Ground) -> None:
    ground.write("host_vars/vps1/main.yml", "x: {a: 1, a: 2}\n")
    assert ground.faults() == [("host_vars/vps1/main.yml:1:11", YAML, "the key 'a' is given twice")]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: [1, 2\nb: 3\n", "2:2"),
        ("a: 1\n\tb: 2\n", "2:1"),
        ("a: {{ b }} c\n", "1:12"),
        ("a: &x 1\nb: *y\n", "2:4"),
    ],
)
def test_broken_yaml_is_told_before_ansible_starts(ground: Ground, text: str, where: str) -> None:
    ground.write("host_vars/vps1.yml", text)
    done = ground.call("validate", str(ground.inventory), "--json", PATH="/nonexistent")  # no Ansible to be found there
    assert done.code == 3
    assert done.data["error"]["name"] == YAML
    assert done.data["error"]["where"] == f"prod/host_vars/vps1.yml:{where}"


def test_text_that_is_not_utf8(ground: Ground) -> None:
    (ground.inventory / "group_vars" / "all.yml").write_bytes(b"a: \xff\n")
    assert ground.faults() == [("group_vars/all.yml", YAML, "not UTF-8 text: byte 3")]


def test_everything_is_told_at_once_sorted_by_place(ground: Ground) -> None:
    ground.settings(
        "hermes_backup_max_agee: 1h",
        "hermes_backup_max_age: [1]",
        *NIGHTLY,
        "      - archive: {formt: tar}",
        "      - encrypt: {recipients: [abc]}",
        "  weekly:",
        "    schedule: {}",
        "    stages: [archive]",
    )
    ground.write("host_vars/vps1.yml", "hermes_backup_home: '{{ nope }}'\n")
    done = ground.call("validate", str(ground.inventory), "--json")
    assert done.code == 3
    places = [it["where"].removeprefix("prod/") for it in done.data["errors"]]
    assert places == [f"group_vars/all.yml:{it}" for it in ("8:1", "9:1", "13:19", "14:19", "16:5")] + [
        "host_vars/vps1.yml:1:21"
    ]
    assert done.data["errors"][0]["mend"] == "did you mean 'hermes_backup_max_age'?"
    assert done.data["error"] == done.data["errors"][0]


def test_people_read_place_cause_name_and_mend(ground: Ground) -> None:
    ground.settings(*NIGHTLY, "      - archive:", "      - encript:")
    done = ground.call("validate", "./prod")
    assert done.code == 3
    assert done.err.splitlines() == [
        "prod/group_vars/all.yml:12:9: hermes_backup_pipelines.nightly.stages[1].encript: there is no stage 'encript'"
        " [HB-CONFIG-INVALID]",
        "    did you mean 'encrypt'?",
    ]


def test_a_bad_variable_is_blamed_and_not_the_default_that_uses_it(ground: Ground) -> None:
    ground.settings()
    ground.write("host_vars/vps1.yml", "hermes_backup_recipients: [1234]\n")
    places = [it[0] for it in ground.faults()]
    assert places == ["host_vars/vps1.yml:1:28"]


def test_nothing_set_names_the_inventory(ground: Ground) -> None:
    ground.write("group_vars/all.yml", "---\n")
    found = ground.faults()
    assert [it[0] for it in found] == ["hosts.yml", "hosts.yml"]
    assert found[0][2].startswith("hermes_backup_recipients is not set")
    assert found[1][2].startswith("hermes_backup_remotes is not set")


def test_a_fault_behind_a_template_is_found_where_the_value_is_written(ground: Ground) -> None:
    ground.settings("my_stages:", "  - archive: {formt: tar}", *NIGHTLY[:2], '    stages: "{{ my_stages }}"')
    assert [it[0] for it in ground.faults()] == ["group_vars/all.yml:9:15"]


def test_a_fault_behind_a_merge_key(ground: Ground) -> None:
    ground.settings("base: &base {formt: tar}", *NIGHTLY, "      - archive:", "          <<: *base", ENCRYPT)
    assert [it[0] for it in ground.faults()] == ["group_vars/all.yml:8:14"]


def test_a_fault_of_one_group_is_told_once_and_spares_the_others(ground: Ground) -> None:
    ground.write(
        "hosts.yml",
        f"all:\n  vars: {{{LOCAL}}}\n  children:\n"
        "    bad:\n      hosts: {a: , b: }\n    good:\n      hosts: {c: }\n",
    )
    ground.write("group_vars/bad.yml", "hermes_backup_max_age: never\n")
    fleet = ground.fleet()
    assert [(it.spot.line, sorted(it.hosts)) for it in fleet.found] == [(1, ["a", "b"])]
    fleet.demand_sound([fleet.host("c")])


def test_unknown_variables_in_hosts_files_and_ini(ground: Ground) -> None:
    ground.write("hosts.yml", HOSTS + "  vars:\n    hermes_backup_hom: /x\n")
    assert [it[0] for it in ground.faults()] == ["hosts.yml:5:5"]
    (ground.inventory / "hosts.yml").unlink()
    ground.write("hosts", "vps1 ansible_connection=local hermes_backup_hom=/x\n")
    assert [(it[0], it[2]) for it in ground.faults()] == [("hosts:1", "unknown variable 'hermes_backup_hom'")]


def test_variables_of_ones_own_may_hold_anything(ground: Ground) -> None:
    ground.settings("mine: {hermes_backup_recipient: 1}", "other: '{{ undefined_but_unused }}'")
    assert ground.faults() == []


@pytest.mark.parametrize("name", ["--x", ";rm -rf", "$(touch x)", "a b", "..", "'{{ 7 * 7 }}'"])
def test_a_host_whose_name_is_no_folder_is_refused(ground: Ground, name: str) -> None:
    ground.write("hosts.yml", f"all:\n  hosts:\n    {name!r}: {{{LOCAL}}}\n".replace("\"'", '"').replace("'\"", '"'))
    found = ground.faults()
    assert [(it[0], it[1]) for it in found] == [("hosts.yml:3:5", INVALID)], found
    assert not (ground.root / "x").exists()


def test_an_inventory_without_hosts(ground: Ground) -> None:
    ground.write("hosts.yml", "all:\n  hosts: {}\n")
    assert [it[2] for it in ground.faults()] == ["the inventory names no hosts"]


def test_what_ansible_itself_refuses(ground: Ground) -> None:
    ground.write("hosts.yml", "- not\n- an inventory\n")
    (found,) = ground.faults()
    assert found[1] == INVALID
    assert "Ansible refuses the inventory" in found[2]


def test_keys_are_examined(ground: Ground, key_maker: KeyMaker) -> None:
    sign_only = key_maker.make("ed25519", "sign", "never")
    ground.write("keys/second.asc", sign_only.public)
    ground.write("keys/broken.asc", "no key\n")
    other = "A" * 40
    ground.write(
        "host_vars/vps1.yml",
        f"hermes_backup_recipients:\n  - {ground.recipient.fingerprint}\n  - {sign_only.fingerprint}\n  - {other}\n",
    )
    assert [(it[0], it[1]) for it in ground.faults(examine_keys=True)] == [
        ("host_vars/vps1.yml:3:5", "HB-KEY-SIGN-ONLY"),
        ("host_vars/vps1.yml:4:5", "HB-KEY-MISSING"),
        ("keys/broken.asc", "HB-KEY-INVALID"),
    ]
    assert ground.call("validate", str(ground.inventory)).code == 8


def test_a_key_that_expires_soon_is_a_warning(ground: Ground, key_maker: KeyMaker) -> None:
    soon = key_maker.make("future-default", "default", "5d")
    ground.write("keys/second.asc", soon.public)
    ground.write("host_vars/vps1.yml", f"hermes_backup_recipients: [{soon.fingerprint}]\n")
    done = ground.call("validate", str(ground.inventory), "--json")
    assert done.code == 0
    assert "expires on" in done.data["warnings"][0]


def test_precedence_is_ansibles(ground: Ground) -> None:
    ground.write(
        "hosts.yml",
        f"all:\n  vars: {{{LOCAL}, hermes_backup_owner: hosts-file, hermes_backup_max_age: 1h}}\n"
        "  children:\n    outer:\n      children:\n        inner:\n          hosts: {vps1: , vps2: }\n",
    )
    ground.settings("hermes_backup_owner: all", "hermes_backup_gnupghome: /all")
    ground.write("group_vars/outer.yml", "hermes_backup_owner: outer\nhermes_backup_max_drill_age: 2d\n")
    ground.write("group_vars/inner.yml", "hermes_backup_owner: inner\n")
    ground.write("host_vars/vps1.yml", "hermes_backup_owner: host\n")
    fleet = ground.fleet()
    first, second = (it.config for it in fleet.hosts)
    assert first is not None
    assert second is not None
    assert (first.owner, second.owner) == ("host", "inner")
    assert (first.gnupghome, first.max_age.total_seconds(), first.max_drill_age.days) == ("/all", 3600, 2)


def test_every_default_is_known_to_the_model(ground: Ground) -> None:
    from hermes_backup.fleet.means import Means
    from hermes_backup.fleet.render import defaults_file
    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.locate import read

    names = known_variables({defaults_file(): read(defaults_file())})
    fields = {f"hermes_backup_{it}" for it in HostConfig.model_fields}
    means = {f"hermes_backup_{it}" for it in Means.model_fields}
    assert set(names) - fields == means
    assert fields - set(names) == {f"hermes_backup_{it}" for it in ("version", "host", "public_keys", "own_controller")}


def vault(ground: Ground, text: str) -> str:
    password = ground.root / "vault-password"
    password.write_text("open sesame")
    program = Path(sys.executable).parent / "ansible-vault"
    argv = [program, "encrypt_string", "--vault-password-file", password, text]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=True, env={**os.environ, "HOME": str(ground.root)}
    )
    return done.stdout


def test_show_fills_in_defaults_and_masks_secrets(ground: Ground) -> None:
    ground.settings(
        f"in_the_vault: {vault(ground, 'tok-en-5150')}".rstrip(),
        "hermes_backup_rclone_config: |",
        "  [r2]",
        "  secret_access_key = hunter2",
        "hermes_backup_owner: '{{ in_the_vault }}'",
        "hermes_backup_exclude_extra: ['/x/{{ in_the_vault }}/y', 'https://user:pw@host/']",
    )
    password = {"ANSIBLE_VAULT_PASSWORD_FILE": "vault-password"}  # as Ansible has it: relative to the current folder
    done = ground.call("show", "./prod", "vps1", "--json", **password)
    assert done.code == 0, done.err
    for secret in ("hunter2", "tok-en-5150", "user:pw"):
        assert secret not in done.out
    assert done.data["rclone_config"] == "********"
    assert done.data["owner"] == "********"
    assert done.data["exclude_extra"] == ["/x/********/y", "https://********@host/"]
    archive = done.data["pipelines"]["nightly"]["stages"][1]["archive"]
    assert archive["one_file_system"] is True
    assert "/logs/" in str(done.data["exclude"])
    text = ground.call("show", "./prod", **password).out
    assert "hunter2" not in text
    assert "recipients:\n  - " in text


def test_a_vaulted_value_that_fails_its_check_is_not_told(ground: Ground) -> None:
    secret = "hunter2hunter2"
    short = "q7z"  # which only a value that is nothing else tells
    ground.settings(
        f"hush: {vault(ground, secret)}".rstrip(),
        f"tiny: {vault(ground, short)}".rstrip(),
        f"torn: {vault(ground, secret + chr(10) + 'x' * 200)}".rstrip(),
        "hermes_backup_max_age: '{{ hush }}'",
        "hermes_backup_pipelines:",
        "  a: {stages: [archive, push: {to: ['/x'], bandwidth: '{{ hush }}', unencrypted: true}]}",
        "  b: {stages: [archive, push: {to: ['{{ hush }}'], unencrypted: true}]}",
        "  c: {stages: [archive, store: {path: /x}, prune: {keep_within: '{{ hush }}'}]}",
        "  d: {stages: [archive, encrypt: {recipients: ['{{ hush }}']}, store: {path: /x}]}",
        "  e: {stages: [archive, store: {path: '{{ hush }}'}]}",
        "  f: {stages: [archive, push: {to: ['/x'], bandwidth: '{{ tiny }}', unencrypted: true}]}",
        "  g: {stages: [archive, push: {to: ['{{ torn }}'], unencrypted: true}]}",
        "  h: {stages: [archive, {fetch: {from: ':s3,access_key_id=AKIA,secret_access_key=SEKRIT:bucket'}}]}",
        "  i: {stages: [{check: {timeout: '{{ hush }}'}}]}",
        "  j: {stages: [command: {before: [dump], timeout: '{{ hush }}'}, archive, store: {path: /x}]}",
    )
    password = {"ANSIBLE_VAULT_PASSWORD_FILE": "vault-password"}
    for words in (["validate", "./prod"], ["validate", "./prod", "--json"], ["run", "./prod"]):
        done = ground.call(*words, **password)
        assert done.code == 3
        said = done.out + done.err
        for told in (secret, short, "xxx", "AKIA", "SEKRIT"):
            assert told not in said, said
        assert said.count("'********' is no rate") == 2
        assert "'********' is no duration; write for example" in said
        assert "'********' is no full fingerprint" in said
        assert ":s3,…" in said or ":s3,\\u2026" in said


def test_a_sound_vaulted_value_is_not_told_either(ground: Ground) -> None:
    ground.settings(
        f"hush: {vault(ground, 'q7z-5150')}".rstrip(),
        f"tiny: {vault(ground, '/')}".rstrip(),
        f"where: {vault(ground, 'bucket-4711')}".rstrip(),
        "hermes_backup_exclude_extra: ['/x/{{ hush }}/y', '/plain/', '{{ tiny }}']",
        "hermes_backup_pipelines:",
        "  nightly:",
        "    stages:",
        "      - command: {before: [dump, --password=abc, --token, d-e-f, 'X-Key: 1', 'Authorization: Bearer ghi']}",
        "      - archive:",
        "      - store: {path: /x}",
    )
    ground.write("host_vars/vps1.yml", "hermes_backup_remotes: ['r2:{{ where }}', 'b2-private:x']\n")
    password = {"ANSIBLE_VAULT_PASSWORD_FILE": "vault-password"}
    done = ground.call("show", "./prod", "--json", **password)
    assert done.code == 0, done.err
    for secret in ("q7z-5150", "=abc", "d-e-f", "ghi", "bucket-4711"):
        assert secret not in done.out
    assert done.data["exclude_extra"] == ["/x/********/y", "/plain/", "********"]
    before = done.data["pipelines"]["nightly"]["stages"][0]["command"]["before"]
    assert before == [
        "dump",
        "--password=********",
        "--token",
        "********",
        "X-Key: 1",
        "Authorization: Bearer ********",
    ]
    for words in ([], ["--json"]):
        done = ground.call("validate", "./prod", *words, **password)
        assert (done.code, "r2:********" in done.out, "bucket-4711" in done.out) == (0, True, False)
        assert "b2-private:x" in done.out


def encrypted(ground: Ground, name: str, text: str) -> None:
    """Write a file of the inventory that is a vault as a whole."""
    file = ground.write(name, text)
    password = ground.root / "vault-password"
    password.write_text("open sesame")
    program = Path(sys.executable).parent / "ansible-vault"
    argv = [program, "encrypt", "--vault-password-file", password, file]
    subprocess.run(argv, capture_output=True, check=True, env={**os.environ, "HOME": str(ground.root)})


@pytest.mark.parametrize("suffix", ["yml", "json"])
def test_a_file_that_is_a_vault_as_a_whole(ground: Ground, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    secrets = {
        "vault_key": "topsecretvalue123",
        "vault_number": 47118150,
        "vault_made": "{{ vault_key | reverse }}",
        "vault_list": [{"deep": "downinthevault"}],
        "vault_bucket": "bucket-4711",
        "hermes_backup_owner": "nobodyknowsme",
    }
    settings = ground.settings(
        "hermes_backup_exclude_extra: ['/x{{ vault_key }}', '{{ vault_key }}', 'n{{ vault_number }}',"
        " 'm{{ vault_made }}', 'l{{ vault_list[0].deep }}']",
    )
    settings.rename(ground.write("group_vars/all/main.yml", ""))
    encrypted(ground, f"group_vars/all/vault.{suffix}", json.dumps(secrets))
    ground.write("host_vars/vps1.yml", "hermes_backup_remotes: ['r2:{{ vault_bucket }}']\n")
    password = {"ANSIBLE_VAULT_PASSWORD_FILE": str(ground.root / "vault-password")}
    told = ("topsecretvalue123", "47118150", "321eulavtercespot", "downinthevault", "nobodyknowsme", "bucket-4711")
    for words in ("show ./prod", "show ./prod --json", "validate ./prod", "validate ./prod --json"):
        done = ground.call(*words.split(), **password)
        assert (done.code, [it for it in told if it in done.out + done.err]) == (0, []), done
    shown = ground.call("show", "./prod", "--json", **password).data
    assert shown["exclude_extra"] == ["/x********", "********", "n********", "m********", "l********"]
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", password["ANSIBLE_VAULT_PASSWORD_FILE"])
    fleet = ground.fleet()
    assert declared(fleet.host("vps1"), ["vps1"]).secret


def test_a_vault_without_its_password(ground: Ground) -> None:
    ground.settings(f"hermes_backup_owner: {vault(ground, 'x')}".rstrip())
    (found,) = ground.faults()
    assert found[1] == TEMPLATE
    assert found[0] == "group_vars/all.yml:8:22"


def test_what_an_image_leaves_out_is_told(ground: Ground) -> None:
    """Nothing: it is used as it lies."""

    def sqlite(pipeline: str) -> object:
        shown = ground.call("show", "./prod", "--pipeline", pipeline, "--json").data
        return shown["pipelines"][pipeline]["stages"][0]["sqlite"]["search_indexes"]

    assert (sqlite("nightly"), sqlite("snapshot")) == ("auto", "keep")
    assert ground.call("validate", "./prod", "--json").data["warnings"] == []
    stages = ("archive: {format: squashfs}", "store: {path: /x}")
    ground.settings(
        *NIGHTLY, "      - sqlite: {search_indexes: auto}", *(f"      - {it}" for it in stages),
        "  other:", "    stages:", "      - sqlite: {search_indexes: rebuild}", *(f"      - {it}" for it in stages),
    )  # fmt: skip
    assert (sqlite("nightly"), sqlite("other")) == ("keep", "rebuild")
    (warning,) = ground.call("validate", "./prod", "--json").data["warnings"]
    assert warning == "pipeline nightly: search_indexes: auto keeps every index here, for an image is used as it lies"


def test_show_of_one_pipeline_and_of_none(ground: Ground) -> None:
    assert list(ground.call("show", "./prod", "--pipeline", "drill", "--json").data) == ["host", "pipelines"]
    done = ground.call("show", "./prod", "--pipeline", "dril", "--json")
    assert done.code == 3
    assert done.data["error"]["mend"] == "did you mean 'drill'?"
    assert ground.call("show", "./prod", "vps2", "--json").data["error"]["name"] == "HB-HOST-MISSING"


def test_an_unknown_inventory_names_those_that_there_are(ground: Ground) -> None:
    done = ground.call("validate", "dmeo", "--json")
    assert done.code == 3
    error = done.data["error"]
    assert (error["name"], "demo, local" in error["what"]) == ("HB-INVENTORY-MISSING", True)
    assert "did you mean 'demo'?" in error["mend"]
    far = ground.call("validate", "nope", "--json").data["error"]["mend"]
    assert far == "known: demo, local. Or make one: hermes-backup init NAME."
    for name in ("./nowhere/at/all", "x" * 300, "./" + "x" * 300, "--", "$(touch x)", "a\nb"):
        assert ground.call("validate", "--", name).code == 3
    (ground.root / "bare").mkdir()
    assert "holds none of hosts.yml" in ground.call("validate", "./bare").err


def test_names_are_looked_up_here_then_in_the_users_folder(ground: Ground) -> None:
    for place, owner in ((".config/hermes-backup", "user"), (".", "here")):
        folder = ground.root / place / "inventory" / "prod"
        folder.parent.mkdir(parents=True)
        subprocess.run(["cp", "-r", str(ground.inventory), str(folder)], check=True)
        with (folder / "group_vars" / "all.yml").open("a") as file:
            file.write(f"hermes_backup_owner: {owner}\n")
        assert ground.call("show", "prod", "--json").data["owner"] == owner


def test_the_built_in_local_says_how_to_begin(ground: Ground) -> None:
    done = ground.call("validate", "local", "--json")
    assert done.code == 3
    assert "hermes-backup init" in done.data["error"]["mend"]


def test_the_environment_is_not_handed_to_ansible(ground: Ground) -> None:
    ground.settings("hermes_backup_owner: \"{{ lookup('env', 'AWS_SECRET') }}{{ lookup('env', 'ANY') }}\"")
    done = ground.call("show", "./prod", "--json", AWS_SECRET="a", ANY="b")
    assert done.data["owner"] == ""
