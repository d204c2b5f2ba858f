"""The files for containers, Kubernetes and systemd: whole, safe, and in step with the code. No engine is needed."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from mediastore import Settings
from mediastore.embedded import EmbeddedServer, find_engine
from mediastore.settings import PREFIX, names

from .commands import check

HERE = Path(__file__).parent.parent
COMPOSE = HERE / "docker-compose.yml"
DOCKERFILE = HERE / "Dockerfile"
UNITS = sorted((HERE / "deploy" / "systemd").glob("*.service"))
MANIFESTS = sorted((HERE / "deploy" / "kubernetes").glob("*.yaml"))
FILES = [COMPOSE, DOCKERFILE, *UNITS, *MANIFESTS]
#: A worker ends hard by itself this long after SIGTERM: the hard limit of a tick, and ten seconds.
WORKER_ENDS_S = 70


def name_of(path: Path) -> str:
    return path.name


def first(pattern: str, text: str) -> str:
    """Return what the first group of a pattern finds; it must be there."""
    found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    assert found, pattern
    return found[1]


def documents(path: Path) -> list[Any]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def manifests(*kinds: str) -> list[Any]:
    every = [document for path in MANIFESTS for document in documents(path)]
    return [each for each in every if each["kind"] in kinds]


def units() -> dict[str, Any]:
    found = {}
    for path in UNITS:
        # Keys may be repeated in a unit, and none of ours is: strict says so.
        unit = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",))
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read_string(path.read_text())
        found[path.stem] = unit
    return found


def workloads() -> list[Any]:
    return manifests("Deployment", "DaemonSet")


def containers() -> list[Any]:
    return [each for load in workloads() for each in load["spec"]["template"]["spec"]["containers"]]


def instructions() -> list[tuple[str, str]]:
    """Return what the Dockerfile says, line by line, comments and line ends taken out."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return [(w, rest) for w, _, rest in (line.partition(" ") for line in joined.splitlines()) if w]


# --- what they all have in common


def commands() -> list[list[str]]:
    """Return every command that any of the files runs."""
    found = [yaml.safe_load(rest) for word, rest in instructions() if word in {"CMD", "ENTRYPOINT"}]
    for name, service in documents(COMPOSE)[0]["services"].items():
        if name != "valkey":
            found.append(service["command"])
            if "healthcheck" in service:
                found.append(service["healthcheck"]["test"][1:])
    for each in containers():
        found.append([*each.get("command", ()), *each["args"]])
        found += [each[f"{probe}Probe"]["exec"]["command"] for probe in ("liveness", "readiness")]
    for unit in units().values():
        program, *args = shlex.split(unit["Service"]["ExecStart"])
        found.append([Path(program).name, *args])
    return [list(words) for words in dict.fromkeys(tuple(words) for words in found)]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_one_that_the_program_takes(words):
    check(words)


def test_every_program_is_used_somewhere():
    said = {" ".join(words[:4]) for words in commands()}

    assert "celery -A worker worker" in said
    assert "celery -A worker beat" in said
    assert "mediastore sweep --watch" in said
    assert {"mediastore health worker", "mediastore health beat"} <= said


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_variable_is_a_setting(path):
    said = set(re.findall(rf"\b{PREFIX}[A-Z_]+", path.read_text()))

    # Kubernetes makes this one out of a Service's name; a comment says so.
    assert said - {"MEDIASTORE_PORT"} <= {f"{PREFIX}{name.upper()}" for name in names()}


def test_the_values_that_the_files_give_can_be_used():
    (config,) = manifests("ConfigMap")
    compose = documents(COMPOSE)[0]["services"]["worker"]["environment"]
    secret = {"VALKEY_PASSWORD": "s3cret"}
    filled = {
        name: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: secret[found[1]], text)
        for name, text in compose.items()
    }

    assert Settings.from_env(config["data"]).roots == ("/srv/media",)
    assert Settings.from_env(filled).redis_url == "redis://:s3cret@valkey:6379/0"


def test_one_image_and_one_user_for_all():
    image = {service["image"] for service in documents(COMPOSE)[0]["services"].values()}
    version = first(r'^version = "([\d.]+)"', (HERE / "pyproject.toml").read_text())

    assert {each["image"] for each in containers()} == {f"mediastore:{version}"}
    assert f"mediastore:{version}" in image
    assert not any(name.endswith(":latest") or ":" not in name for name in image)
    user = dict(instructions())["USER"]
    assert user == "10001:10001"
    for load in workloads():
        pod = load["spec"]["template"]["spec"]["securityContext"]
        assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == user


# --- Dockerfile


def test_the_image_is_made_in_stages_and_runs_as_nobody_special():
    said = instructions()
    stages = [rest.split() for word, rest in said if word == "FROM"]
    named = [words[2] for words in stages]

    assert all(words[1] == "AS" for words in stages)
    # The last stage is what a build without a target makes.
    assert named[-1] == "mediastore"
    assert {words[0] for words in stages} - set(named) == {"python:3.11-slim"}
    assert ("STOPSIGNAL", "SIGTERM") in said
    # What comes after USER in a stage runs without rights.
    base = said[next(i for i, (w, r) in enumerate(said) if w == "FROM" and r.endswith("AS base")) :]
    words = [word for word, _ in base]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
    assert all(rest.startswith("[") for word, rest in said if word in {"CMD", "ENTRYPOINT"})
    copied = [rest for word, rest in said if word == "COPY" and rest.startswith("--from=")]
    assert {first(r"--from=(\S+)", rest) for rest in copied} <= set(named)


def test_the_image_is_built_from_what_the_package_needs_and_nothing_else():
    kept = {line[1:] for line in (HERE / ".dockerignore").read_text().split() if line[0] == "!"}
    project = (HERE / "pyproject.toml").read_text()
    packages = first(r"build\.targets\.wheel\].*?packages = \[(.*?)\]", project)

    assert {"*"} <= set((HERE / ".dockerignore").read_text().split())
    assert all((HERE / name).exists() for name in kept)
    assert kept == {
        "pyproject.toml",
        *re.findall(r'^readme = "(.*)"', project, re.MULTILINE),
        *re.findall(r'^license-files = \["(.*)"\]', project, re.MULTILINE),
        *re.findall(r'"(\w+)"', packages),
    }


# --- compose

SERVICE_KEYS = {
    *("build", "image", "init", "restart", "stop_signal", "stop_grace_period", "read_only"),
    *("tmpfs", "cap_drop", "security_opt", "env_file", "environment", "depends_on", "command"),
    *("volumes", "healthcheck", "profiles", "ports", "configs"),
}


def seconds(text: str) -> float:
    return float(first(r"^(\d+)s$", text))


def test_compose_waits_for_health_and_gives_time_to_stop():
    (compose,) = documents(COMPOSE)
    services = compose["services"]

    assert set(compose) == {"name", "x-mediastore", "services", "configs", "volumes"}
    assert set(services) == {"valkey", "worker", "beat", "flower"}
    for name, service in services.items():
        assert set(service) <= SERVICE_KEYS, name
        if name != "valkey":
            assert service["depends_on"] == {"valkey": {"condition": "service_healthy"}}
            assert seconds(service["stop_grace_period"]) > WORKER_ENDS_S
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        if name != "flower":
            assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])
        for mount in service.get("volumes", ()):
            assert mount.partition(":")[0] in compose["volumes"]
        for config in service.get("configs", ()):
            assert config["source"] in compose["configs"]
    assert services["flower"]["profiles"] == ["flower"]
    assert "valkey-cli ping" in services["valkey"]["healthcheck"]["test"][1]
    assert services["worker"]["volumes"] == ["media:/srv/media"]


def test_composes_server_keeps_what_it_is_told(tmp_path):
    """The configuration in the file, given to a real server."""
    if find_engine() is None:
        pytest.skip("there is no server program to give it to")
    (compose,) = documents(COMPOSE)
    lines = compose["configs"]["valkey"]["content"].splitlines()
    given = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    password = given.pop("requirepass")
    assert password.startswith("${VALKEY_PASSWORD:?")

    with EmbeddedServer(tmp_path, config=given) as server:
        said = redis.Redis.from_url(server.url).config_get("*")

    wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"}
    assert {name: said[name] for name in wanted} == given == wanted


def test_only_this_machine_reaches_a_published_port():
    for service in documents(COMPOSE)[0]["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


# --- Kubernetes

API = {
    "ConfigMap": "v1",
    "PersistentVolumeClaim": "v1",
    "Deployment": "apps/v1",
    "DaemonSet": "apps/v1",
    "Kustomization": "kustomize.config.k8s.io/v1beta1",
}


def test_the_manifests_are_of_known_kinds_and_the_kustomization_names_files():
    every = [document for path in MANIFESTS for document in documents(path)]

    assert {each["kind"]: each["apiVersion"] for each in every} == API
    (kustomization,) = manifests("Kustomization")
    assert set(kustomization["resources"]) < {path.name for path in MANIFESTS}
    assert "worker-daemonset.yaml" not in kustomization["resources"]


@pytest.mark.parametrize("load", workloads(), ids=lambda load: load["metadata"]["name"])
def test_a_workload_is_whole_and_has_no_rights(load):
    pod = load["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    volumes = {volume["name"] for volume in pod["volumes"]}

    assert load["spec"]["selector"]["matchLabels"] == load["spec"]["template"]["metadata"]["labels"]
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # What is written beside the media: heartbeats, and temporary files.
    paths = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/var/lib/mediastore", "/tmp"} <= paths <= {"/var/lib/mediastore", "/tmp", "/srv/media"}
    assert pod["automountServiceAccountToken"] is False
    assert container["envFrom"] == [
        {"configMapRef": {"name": "mediastore"}},
        {"secretRef": {"name": "mediastore"}},
    ]
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["exec"]["command"][:2] == ["mediastore", "health"]
        assert container[probe]["timeoutSeconds"] >= 5


def test_workers_have_time_to_stop_and_their_media():
    found = {load["metadata"]["name"]: load for load in workloads()}
    shared, local = found["mediastore-worker"], found["mediastore-worker-local"]
    (claim,) = manifests("PersistentVolumeClaim")
    (config,) = manifests("ConfigMap")

    assert (shared["kind"], local["kind"]) == ("Deployment", "DaemonSet")
    for load in (shared, local):
        pod = load["spec"]["template"]["spec"]
        mounts = {
            mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]
        }
        assert pod["terminationGracePeriodSeconds"] > WORKER_ENDS_S
        assert mounts["media"] == config["data"]["MEDIASTORE_ROOTS"]
    volumes = {volume["name"]: volume for volume in shared["spec"]["template"]["spec"]["volumes"]}
    assert volumes["media"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    volumes = {volume["name"]: volume for volume in local["spec"]["template"]["spec"]["volumes"]}
    assert volumes["media"]["hostPath"]["type"] == "Directory"  # never made: it may be unmounted


def test_there_is_one_beat_and_the_old_one_ends_before_the_new_one_starts():
    (beat,) = [load for load in workloads() if load["metadata"]["name"] == "mediastore-beat"]

    assert beat["spec"]["replicas"] == 1
    assert beat["spec"]["strategy"] == {"type": "Recreate"}


def test_no_manifest_holds_a_password():
    assert manifests("Secret") == []
    for path in MANIFESTS:
        code = re.sub(r"#.*", "", path.read_text())
        assert "://" not in code, path.name


# --- systemd


def test_units_stop_by_sigterm_with_time_enough_and_may_write_the_roots():
    found = units()

    assert set(found) == {"mediastore-worker", "mediastore-beat", "mediastore-sweep"}
    for name, unit in found.items():
        service = unit["Service"]
        assert (service["Type"], service["KillSignal"]) == ("exec", "SIGTERM")
        assert service["EnvironmentFile"] == "/etc/mediastore/mediastore.env"
        assert (service["User"], service["NoNewPrivileges"]) == ("mediastore", "yes")
        assert service["ProtectSystem"] == "strict"
        assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
        if name != "mediastore-beat":
            assert service["ReadWritePaths"] == unit["Unit"]["RequiresMountsFor"] == "/srv/media"
            assert int(service["TimeoutStopSec"]) > WORKER_ENDS_S
            # The setgid bit of a shared root is given on to the directories made in it.
            assert "RestrictSUIDSGID" not in service
    assert found["mediastore-worker"]["Service"]["KillMode"] == "mixed"


@pytest.mark.parametrize("path", UNITS, ids=name_of)
def test_systemd_understands_the_unit(path, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    # The program is not installed there; what systemd thinks of the rest is the question.
    text = path.read_text().replace("/opt/mediastore/bin/", f"{Path(sys.executable).parent}/")
    program = first(r"^ExecStart=(\S+)", text)
    if not Path(program).exists():
        text = text.replace(program, sys.executable)
    (tmp_path / path.name).write_text(text)

    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / path.name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert [line for line in told.stderr.splitlines() if path.name in line] == []
    assert told.returncode == 0, told.stderr
