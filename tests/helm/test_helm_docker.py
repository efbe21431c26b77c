"""Image and compose files: what they say holds, and compose runs the mesh that the chart runs."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest
import yaml

from clarion_kit import bus_rights, mesh
from clarion_kit.settings import load

from . import facts
from .charts import ROOT, Json, find, listing, manifests, mapping, pods

pytestmark = pytest.mark.helm

DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
LAYERS = ("infrastructure", "mesh", "observability")
IMAGES = (*mesh.DAEMONS, "cli", "sandbox")
KUBERNETES = [facts.kubernetes_name(daemon) for daemon in mesh.DAEMONS]


@pytest.mark.parametrize("layer", ["compose", *LAYERS])
def test_compose_file_fits_its_schema(layer: str) -> None:
    schema = json.loads((Path(__file__).with_name("schemas") / "compose.json").read_text())

    faults = jsonschema.Draft202012Validator(schema).iter_errors(_read(layer))

    assert [f"{'.'.join(map(str, fault.absolute_path))}: {fault.message}" for fault in faults] == []


def test_compose_up_starts_stores_and_mesh_and_observability_comes_on_top() -> None:
    assert _read("compose")["include"] == ["infrastructure.yaml", "mesh.yaml"]
    assert set(_services()) >= {"postgres", "nats", "valkey", "sandbox", *KUBERNETES}


def test_what_compose_files_refer_to_exists() -> None:
    services = _services()
    volumes, configs = (
        {key for layer in LAYERS for key in mapping(_read(layer).get(kind))} for kind in ("volumes", "configs")
    )
    for name, service in services.items():
        assert mapping(service.get("depends_on")).keys() <= services.keys(), name
        for volume in _volumes(service):
            source = volume.partition(":")[0] if isinstance(volume, str) else str(mapping(volume)["source"])
            assert source in volumes or (DOCKER / source).exists(), name
        for config in listing(service.get("configs")):
            assert config["source"] in configs, name


@pytest.mark.parametrize("daemon", mesh.DAEMONS)
def test_daemon_in_compose_accepts_its_environment(daemon: str, tmp_path: Path) -> None:
    """And has the identity, the alias and the keys that are its own."""
    name = facts.kubernetes_name(daemon)
    service = _services()[name]
    for file in ("ca.crt", "tls.crt", "tls.key"):
        (tmp_path / file).touch()
    env = {key: _filled(str(value)) for key, value in mapping(service["environment"]).items()}

    settings = load(facts.settings_of(daemon), env | {"CLARION_TLS_DIR": str(tmp_path)})

    assert {key.removeprefix("CLARION_").lower() for key in env} <= set(type(settings).model_fields)
    mounts = {str(mount["target"]): find(mount, "volume", "subpath") for mount in listing(service["volumes"])}
    assert mounts["/etc/clarion/tls"] == f"tls/{daemon}"
    known = mapping(facts.daemons()[name])
    assert ("/etc/clarion/keys" in mounts) is bool(known["keys"])
    assert mounts.get("/etc/clarion/nats") == (f"nats/{daemon}" if known["nats"] else None)
    assert env.get("CLARION_NATS_CREDENTIALS_FILE") == ("/etc/clarion/nats/credentials" if known["nats"] else None)
    alias = env["CLARION_PEER_TEMPLATE"].format(daemon=name).removeprefix("dns:///").partition(":")[0]
    assert find(service, "networks", "default", "aliases") == [alias]
    assert find(service, "build", "args", "SERVICE") == daemon
    for hardened in ("read_only", "user", "cap_drop", "security_opt", "mem_limit", "healthcheck"):
        assert service.get(hardened), hardened


@pytest.mark.parametrize("daemon", mesh.DAEMONS)
def test_compose_practises_as_the_local_stack_does(daemon: str) -> None:
    """Settings for practice alone: the page of operators, quick retries, receivers on private networks."""
    fields = facts.settings_of(daemon).model_fields
    practised = {
        "CLARION_CONSOLE",
        "CLARION_RETRY_BASE_SECONDS",
        "CLARION_RETRY_CAP_SECONDS",
        "CLARION_PROBE_AFTER_SECONDS",
        "CLARION_WEBHOOK_PRIVATE_HOSTS",
        "CLARION_PUSH_PRIVATE_HOSTS",
    }
    stack = (ROOT / "libs" / "local" / "src" / "clarion_local" / "stack.py").read_text()
    local = dict(re.findall(r'"(CLARION_[A-Z_]+)": "([^"]*)"', stack))
    env = mapping(_services()[facts.kubernetes_name(daemon)]["environment"])

    assert practised <= local.keys()
    known = {name for name in practised if name.removeprefix("CLARION_").lower() in fields}
    assert {name: env.get(name) for name in known} == {name: local[name] for name in known}


@pytest.mark.parametrize("found", ["compose", "chart"])
def test_nats_takes_its_configuration_with_the_users_of_the_daemons(found: str, tmp_path: Path) -> None:
    """The server itself reads both files, where they lie in its container."""
    if found == "compose":
        configuration = str(find(_read("infrastructure"), "configs", "nats", "content"))
    else:
        (chart,) = (one for one in manifests("dev") if one.identity == "ConfigMap/clarion-nats")
        configuration = str(find(chart.body, "data", "nats.conf"))
    for folder, file, text in (
        ("nats", "nats.conf", configuration),
        ("nats-users", "authorization.json", _secrets()["clarion-nats-server"]["authorization.json"]),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(text)

    program = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    assert program is not None
    checked = subprocess.run(
        [program, "-t", "-c", str(tmp_path / "nats" / "nats.conf")],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert checked.returncode == 0, checked.stderr


def test_users_of_a_bootstrap_are_those_that_the_server_knows(tmp_path: Path) -> None:
    """Each with its own password and rights; the URL of the daemons names none."""
    made = _secrets()
    users = {user["user"]: user for user in json.loads(made["clarion-nats-server"]["authorization.json"])["users"]}

    assert set(made["clarion-nats-users"]) == {daemon for daemon in mesh.DAEMONS if bus_rights.rights(daemon)}
    for daemon, text in made["clarion-nats-users"].items():
        (tmp_path / daemon).write_text(text)
        assert bus_rights.read_credentials(tmp_path / daemon) == (daemon, users[daemon]["password"])
        given = bus_rights.rights(daemon)
        assert given is not None
        assert users[daemon]["permissions"]["publish"] == {"allow": list(given.publish)}
    assert "@" not in made["clarion-nats"]["url"]
    assert users["clarion"]["password"] in made["clarion-nats"]["administrator"]


def test_prometheus_of_compose_scrapes_every_daemon() -> None:
    content = str(find(_read("observability"), "configs", "prometheus", "content"))
    scrape = mapping(yaml.safe_load(content.replace("$$", "$")))

    assert find(scrape, "scrape_configs", 0, "static_configs", 0, "targets") == KUBERNETES


def test_image_is_built_from_locked_wheels_runs_as_nobody_and_names_itself() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    installs = re.findall(r"pip install [^\n]*", DOCKERFILE)

    assert all("--require-hashes --only-binary :all:" in line or "--no-index" in line for line in installs)
    assert re.search(r"^USER [1-9][0-9]*:[1-9][0-9]*$", final, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["/', final, re.MULTILINE)
    assert "ADD " not in DOCKERFILE
    assert "latest" not in DOCKERFILE
    assert set(re.findall(r"org\.opencontainers\.image\.([a-z]+)=", final)) >= {"title", "version", "revision"}


@pytest.mark.parametrize("image", IMAGES)
def test_image_holds_only_what_its_service_needs(image: str) -> None:
    closure = _script("closure")

    found = closure.closure_of(image)

    tools = {"pytest", "mypy", "ruff", "uv", "playwright", "grpcio-tools", "hypothesis"}
    assert found.packages.isdisjoint(tools)
    others = {f"clarion-{facts.kubernetes_name(daemon)}" for daemon in mesh.DAEMONS if daemon != image}
    assert found.members.keys().isdisjoint(others)
    assert found.packages.isdisjoint({"sqlalchemy", "alembic"}) is (image != "cli")


@pytest.mark.parametrize("image", IMAGES)
def test_everything_an_image_needs_is_installed_before_it_is_sorted_out(image: str) -> None:
    kept = set(re.findall(r"^([a-z0-9._-]+)==", _script("runtime_lock").runtime_lock(), re.MULTILINE))
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))

    assert _script("closure").closure_of(image).packages & locked <= kept


def test_lock_of_an_image_has_every_hash_of_the_lock_and_refuses_what_is_not_locked() -> None:
    closure = _script("closure")

    part = closure.lock_of({"grpcio", "pydantic"})

    assert part.count("==") == 2
    assert all(line in (ROOT / "requirements.lock").read_text() for line in part.splitlines())
    with pytest.raises(LookupError, match="make lock"):
        closure.lock_of({"grpcio", "not-locked"})
    with pytest.raises(LookupError, match="no daemon and no tool"):
        closure.closure_of("gatway")


def test_bootstrap_makes_every_secret_and_key_that_the_dev_profile_names() -> None:
    made = _secrets()

    for name, keys in _named_secrets("dev").items():
        assert name in made
        assert keys <= set(made[name]), name


def test_secrets_of_a_bootstrap_fit_the_daemons(tmp_path: Path) -> None:
    """Keys load, certificates carry the names that peers check."""
    from cryptography import x509

    from clarion_kit import keyfiles
    from clarion_ledger.keys import load_wrapper

    made = _script("prepare").secrets_of("clarion", "there")
    for name, text in made["clarion-keys"].items():
        (tmp_path / name).write_text(text)
    load_wrapper(tmp_path / "kek")
    keyfiles.load_token_keys(tmp_path / "token-keys")
    keyfiles.load_secret(tmp_path / "pepper")
    keyfiles.load_secret(tmp_path / "link-key")
    certificate = x509.load_pem_x509_certificate(made["clarion-rate-limiter-tls"]["tls.crt"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://clarion/rate_limiter"]
    assert {"rate-limiter", "clarion-rate-limiter", "clarion-rate-limiter.there.svc"} <= set(
        names.get_values_for_type(x509.DNSName)
    )


def test_bootstrap_that_was_interrupted_goes_on_with_the_same_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a cluster that takes so many secrets and then is away; then again."""
    prepare = _script("prepare")
    cluster: dict[str, dict[str, dict[str, str]]] = {}
    room = 5

    def api(method: str, path: str, body: dict[str, dict[str, str]] | None = None) -> object:
        if body is None:
            return cluster[path.rpartition("/")[2]]
        name = body["metadata"]["name"]
        if name in cluster:
            return None
        if len(cluster) == room:
            raise ConnectionResetError
        cluster[name] = body
        return body

    monkeypatch.setattr(prepare, "api", api)
    with pytest.raises(ConnectionResetError):
        prepare.create_secrets("clarion", "clarion")
    room = 1_000
    prepare.create_secrets("clarion", "clarion")

    assert set(_named_secrets("dev")) <= set(cluster)
    authorities = {made["data"]["ca.crt"] for name, made in cluster.items() if name.endswith("-tls")}
    assert len(authorities) == 1


@cache
def _secrets() -> dict[str, dict[str, str]]:
    """What a bootstrap makes."""
    made: dict[str, dict[str, str]] = _script("prepare").secrets_of("clarion", "clarion")
    return made


def _named_secrets(example: str) -> dict[str, set[str]]:
    """Keys that pods of a profile ask of each secret."""
    named: dict[str, set[str]] = {}
    for _, spec in pods(example):
        for volume in listing(spec.get("volumes")):
            if "secret" in volume:
                secret = mapping(volume["secret"])
                items = {str(item["key"]) for item in listing(secret.get("items"))}
                named.setdefault(str(secret["secretName"]), set()).update(items)
        for container in listing(spec["containers"]):
            for variable in listing(container.get("env")):
                reference = find(variable, "valueFrom", "secretKeyRef")
                if reference:
                    named.setdefault(str(find(reference, "name")), set()).add(str(find(reference, "key")))
    assert manifests(example)
    return named


def _read(layer: str) -> dict[str, Json]:
    return mapping(yaml.safe_load((DOCKER / f"{layer}.yaml").read_text()))


def _services() -> dict[str, dict[str, Json]]:
    return {name: mapping(service) for layer in LAYERS for name, service in mapping(_read(layer)["services"]).items()}


def _volumes(service: dict[str, Json]) -> list[Json]:
    volumes = service.get("volumes", [])
    assert isinstance(volumes, list)
    return volumes


def _filled(text: str) -> str:
    """With the defaults of its variables."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"clarion_docker_{name}", DOCKER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
