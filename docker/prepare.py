"""Prepares a mesh for practice in containers: certificates, keys, passwords, logins, the sandbox's accounts, one send.

    clarion-prepare files FOLDER    certificates, keys and users of the bus as files (compose)
    clarion-prepare secrets         the same, and passwords, as secrets of this namespace (Helm, bootstrap.enabled)
    clarion-prepare database        migrate, streams where CLARION_NATS_URL is set, logins of the daemons' roles
    clarion-prepare practice        the app "demo" with an account of every provider of the sandbox; then stands by
    clarion-prepare key [operator]  one more key of the app "demo", or of an operator, shown once
    clarion-prepare send            one notification to its end, then the audit (helm test)
    clarion-prepare first-key       the first admin key into a secret of this namespace (Helm, firstKey.enabled)

Each keeps what is there. For practice: whoever can read the result holds every key. Only `files` and `first-key` also serve a
production mesh, where nobody else reads the result.
"""

import asyncio
import base64
import json
import os
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import unquote, urlsplit

import asyncpg

from clarion_client import AsyncClient, ClarionError
from clarion_kit import keyfiles, mesh, tls
from clarion_kit.bus_rights import read_credentials
from clarion_kit.errors import Unavailable
from clarion_kit.subjects import Subjects
from clarion_ledger import admin, app_keys, db, migrate
from clarion_ledger.bootstrap import AlreadyBootstrapped, bootstrap
from clarion_ledger.keys import load_wrapper, new_wrapper_file
from clarion_local.authority import Authority
from clarion_local.cli.lanes import bus_of
from clarion_local.cli.running import APP_SCOPES
from clarion_local.practice import Practice
from clarion_local.practising import open_accounts
from clarion_local.private_file import write_private
from clarion_local.servers.nats import ADMIN, NatsUser, authorization, bus_users
from clarion_local.stack import DATABASE_ROLES

APP = "demo"
OPERATORS = "operations"
OTHERS = ("operator", "sandbox")
"""Identities beside the daemons'."""
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API_SECONDS = 20
PATIENCE = timedelta(minutes=5)
"""How long to wait for what starts at the same time."""
PAUSE_SECONDS = 1.0
COMMAND_LIMIT = timedelta(minutes=2)
NOT_YET = (OSError, TimeoutError, Unavailable, asyncpg.PostgresError, asyncpg.InterfaceError, ClarionError)
"""What others raise while they are still starting."""

Secrets = dict[str, dict[str, str]]


def files(folder: Path, fullname: str = "clarion", namespace: str = "") -> None:
    """`tls/<identity>/{ca.crt,tls.crt,tls.key}` and `keys/*`, made once. Raises OSError."""
    identities, keys = folder / "tls", folder / "keys"
    identities.mkdir(parents=True, exist_ok=True)
    keys.mkdir(parents=True, exist_ok=True)
    authority = Authority.load(identities) if (identities / "ca.crt").exists() else Authority.create(identities)
    for identity in (*mesh.DAEMONS, *OTHERS):
        if not (identities / identity / "tls.crt").exists():
            authority.issue(identity, dns=_hosts(identity, fullname, namespace))
    makers: dict[str, Callable[[Path], None]] = {
        "kek": new_wrapper_file,
        "token-keys": keyfiles.new_token_key_file,
        "pepper": keyfiles.new_secret_file,
        "link-key": keyfiles.new_secret_file,
    }
    for name, make in makers.items():
        if not (keys / name).exists():
            make(keys / name)


def bus_files(folder: Path, administrator: str) -> None:
    """`nats/<daemon>/credentials`, made once, and `nats-server/authorization.json`, made anew: what a daemon may do is its
    version's. `administrator` is the password of one more user, who may do everything. Raises ValueError, OSError."""
    passwords: dict[str, str] = {}
    for daemon in mesh.DAEMONS:
        kept = folder / "nats" / daemon / "credentials"
        passwords[daemon] = read_credentials(kept)[1] if kept.exists() else token_urlsafe(24)
    users = bus_users(passwords, _subjects())
    for user in users:
        place = folder / "nats" / user.name
        place.mkdir(parents=True, exist_ok=True)
        write_private(place / "credentials", _credentials(user))
    server = folder / "nats-server"
    server.mkdir(parents=True, exist_ok=True)
    write_private(server / "authorization.json", _authorization(users, administrator))


def _credentials(user: NatsUser) -> str:
    return f"{user.name}:{user.password}\n"


def _authorization(users: Sequence[NatsUser], administrator: str) -> str:
    everything = NatsUser(ADMIN, administrator, publish=(">",), subscribe=(">",))
    return json.dumps(authorization([everything, *users]), indent=1) + "\n"


def _subjects() -> Subjects:
    return Subjects(os.environ.get("CLARION_SUBJECT_PREFIX") or "clarion")


def _hosts(identity: str, fullname: str, namespace: str) -> list[str]:
    """Where a server is reached: by its bare name among daemons, by its services, from its own machine."""
    name = identity.replace("_", "-")
    public = {"gateway": [f"{fullname}-public"], "tracker": [f"{fullname}-web"]}
    services = [f"{fullname}-{name}", *public.get(identity, [])]
    return [name, *services, *(f"{service}.{namespace}.svc" for service in services if namespace), "localhost"]


def secrets_of(fullname: str, namespace: str) -> Secrets:
    """Every secret that the profile `dev` names, by name and key."""
    found: Secrets = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        files(folder, fullname, namespace)
        for identity in (*mesh.DAEMONS, *OTHERS):
            own = folder / "tls" / identity
            name = f"clarion-{identity.replace('_', '-')}-tls"
            found[name] = {file: (own / file).read_text() for file in ("ca.crt", "tls.crt", "tls.key")}
        found["clarion-keys"] = {path.name: path.read_text() for path in sorted((folder / "keys").iterdir())}
    host = f"{fullname}-postgres:5432/clarion"
    owner = token_urlsafe(24)
    found["clarion-database"] = {"password": owner, "owner": f"postgresql://postgres:{owner}@{host}"} | {
        role: f"postgresql://clarion_{role}:{token_urlsafe(24)}@{host}" for role in DATABASE_ROLES
    }
    bus, cache = token_urlsafe(24), token_urlsafe(24)
    users = bus_users({daemon: token_urlsafe(24) for daemon in mesh.DAEMONS}, _subjects())
    place = f"{fullname}-nats:4222"
    found["clarion-nats"] = {"url": f"nats://{place}", "administrator": f"nats://{ADMIN}:{bus}@{place}"}
    found["clarion-nats-users"] = {user.name: _credentials(user) for user in users}
    found["clarion-nats-server"] = {"authorization.json": _authorization(users, bus)}
    found["clarion-valkey"] = {"password": cache, "url": f"redis://:{cache}@{fullname}-valkey:6379/0"}
    return found


def create_secrets(fullname: str, namespace: str) -> None:
    """Create those that are missing. Raises OSError, urllib.error.HTTPError.

    All belong together (one authority), so they are kept in one secret first: whoever is interrupted goes on with the same.
    """
    place, plan = f"/api/v1/namespaces/{namespace}/secrets", f"{fullname}-bootstrap"
    wanted = secrets_of(fullname, namespace)
    whole = {name: json.dumps(data) for name, data in wanted.items()}
    if api("POST", place, _secret(plan, whole)) is None:
        kept = api("GET", f"{place}/{plan}") or {}
        wanted = {name: json.loads(base64.b64decode(data)) for name, data in kept["data"].items()}
    for name, data in wanted.items():
        made = api("POST", place, _secret(name, data)) is not None
        sys.stdout.write(f"{name}: {'made' if made else 'kept'}\n")


def _secret(name: str, data: Mapping[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "clarion"}},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def api(method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, dict[str, str]] | None:
    """Ask the Kubernetes API as this pod; None: what was to be made is there. Raises OSError, urllib.error.HTTPError."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    token = (SERVICE_ACCOUNT / "token").read_text().strip()
    request = urllib.request.Request(
        f"https://{host}:{port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
        method=method,
    )
    context = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=API_SECONDS, context=context) as answer:
            found: dict[str, dict[str, str]] = json.load(answer)
            return found
    except urllib.error.HTTPError as refused:
        if refused.code == HTTPStatus.CONFLICT:
            return None
        raise


async def database() -> None:
    """Wait for the database, migrate it, let the roles log in, make the streams if told where. Raises TimeoutError."""
    owner = os.environ["CLARION_DATABASE_URL"]
    await _patiently(lambda: _reach(owner))
    await asyncio.to_thread(migrate.upgrade, owner)
    connection = await asyncpg.connect(owner)
    try:
        for role, password in _passwords().items():
            quoted = await connection.fetchval("SELECT quote_literal($1)", password)
            await connection.execute(f"ALTER ROLE clarion_{role} LOGIN PASSWORD {quoted}")
    finally:
        await connection.close()
    if os.environ.get("CLARION_NATS_URL"):
        await _patiently(_streams)


async def practice() -> None:
    """Open the accounts; then stand by until the process is ended, so that a pod goes on. Raises TimeoutError."""
    description = Path(os.environ["PREPARE_SANDBOX"])
    key, secret = await _key(OPERATORS, ("admin",))

    async def open_all() -> None:
        room = Practice.read(description, os.environ["CLARION_CA_FILE"])
        async with AsyncClient.connect(
            os.environ["CLARION_ENDPOINT"], key, secret, ca_file=os.environ["CLARION_CA_FILE"]
        ) as operator:
            if APP not in {app.name for app in (await operator.apps.list()).apps}:
                await operator.apps.create(APP)
            await open_accounts(operator, APP, room, os.environ["PREPARE_TRACKER_URL"])

    await _patiently(open_all)
    sys.stdout.write(f"the app {APP!r} practises\n")
    sys.stdout.flush()
    if os.environ.get("PREPARE_STAND_BY", "1") == "1":
        await asyncio.Event().wait()


async def key(app: str = APP, scopes: Sequence[str] = APP_SCOPES) -> None:
    """Show a new key of an app, as the `clarion` command reads it. Raises TimeoutError."""
    name, secret = await _key(app, scopes)
    sys.stdout.write(f"export CLARION_APP_KEY={name} CLARION_APP_SECRET={secret}\n")


async def first_key() -> None:
    """The first admin key of the mesh into a secret, before it counts; none where there ever was one. Raises TimeoutError."""
    wrapper = load_wrapper(Path(os.environ["CLARION_KEK_FILE"]))
    pepper = keyfiles.load_secret(Path(os.environ["CLARION_PEPPER_FILE"]))
    name, place = os.environ["PREPARE_SECRET"], f"/api/v1/namespaces/{os.environ['PREPARE_NAMESPACE']}/secrets"

    async def keep(made: app_keys.KeyRow, secret: str) -> None:
        body = _secret(name, {"key": made.app_key, "secret": secret})
        if await asyncio.to_thread(api, "POST", place, body) is None:
            # Left by a try that did not come to its end.
            await asyncio.to_thread(api, "PUT", f"{place}/{name}", body)

    async def make() -> None:
        async with db.pool(os.environ["CLARION_DATABASE_URL"], size=1, application="prepare") as pool:
            await db.ping(pool, "ledger.audit_log")
            try:
                await bootstrap(pool, wrapper, pepper, os.environ["PREPARE_APP"], keep)
            except AlreadyBootstrapped as already:
                sys.stdout.write(f"{already}; none was made\n")
            else:
                sys.stdout.write(f"the first admin key is in the secret {name}\n")

    await _patiently(make)


async def send() -> None:
    """One SMS to its end and the audit, by the `clarion` command itself. Raises RuntimeError."""
    key, secret = await _key(APP, APP_SCOPES)
    env = {**os.environ, "CLARION_APP_KEY": key, "CLARION_APP_SECRET": secret}
    person = json.dumps({"recipient_id": "helm-test", "addresses": [{"sms": {"e164": "+821012345678"}}]})
    await _clarion(env, "recipients", "import", "-", given=person)
    await _clarion(
        env, "send", "--to", "helm-test", "--category", "transactional", "--sms", "A test of the mesh.", "--wait"
    )
    await _clarion(env, "audit", "--since", "1h")


async def _clarion(env: Mapping[str, str], *arguments: str, given: str = "") -> None:
    """Run the command beside this one, its output shown. Raises RuntimeError, TimeoutError."""
    program = Path(sys.argv[0]).with_name("clarion")
    process = await asyncio.create_subprocess_exec(program, *arguments, env=env, stdin=asyncio.subprocess.PIPE)
    try:
        await asyncio.wait_for(process.communicate(given.encode()), COMMAND_LIMIT.total_seconds())
    except TimeoutError:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"clarion {arguments[0]} ended with status {process.returncode}")


async def _key(app: str, scopes: Sequence[str]) -> tuple[str, str]:
    """A new key of an app, made if missing; the secrets of older ones cannot be read any more. Raises TimeoutError."""
    made: list[tuple[str, str]] = []

    async def make() -> None:
        async with db.pool(os.environ["CLARION_DATABASE_URL"], size=1, application="prepare") as pool:
            known = {row.name: row.app_id for row in await admin.apps(pool)}
            app_id = known.get(app)
            if app_id is None:
                wrapper = load_wrapper(Path(os.environ["CLARION_KEK_FILE"]))
                app_id = (await admin.create_app(pool, wrapper, app)).app_id
            pepper = keyfiles.load_secret(Path(os.environ["CLARION_PEPPER_FILE"]))
            row, secret = await app_keys.create_key(pool, pepper, app_id, list(scopes))
            made.append((row.app_key, secret))

    await _patiently(make)
    return made[-1]


async def _reach(url: str) -> None:
    await (await asyncpg.connect(url, timeout=API_SECONDS)).close()


async def _streams() -> None:
    async with bus_of(os.environ["CLARION_NATS_URL"], os.environ) as bus:
        await bus.ping()
        await bus.ensure_topology()


def _passwords() -> dict[str, str]:
    """Of each role: from the URLs of a mounted secret, else one for all."""
    folder = os.environ.get("CLARION_DATABASE_URLS_DIR")
    if folder is None:
        return dict.fromkeys(DATABASE_ROLES, os.environ["PREPARE_PASSWORD"])
    urls = {role: (Path(folder) / role).read_text().strip() for role in DATABASE_ROLES}
    return {role: unquote(urlsplit(url).password or "") for role, url in urls.items()}


async def _patiently(attempt: Callable[[], Awaitable[None]]) -> None:
    """Repeat what fails because others are still starting. Raises TimeoutError with the last fault."""
    ends = asyncio.get_running_loop().time() + PATIENCE.total_seconds()
    while True:
        try:
            await attempt()
        except NOT_YET as away:
            if asyncio.get_running_loop().time() > ends:
                raise TimeoutError(f"gave up after {PATIENCE}: {away}") from away
            sys.stderr.write(f"waiting: {type(away).__name__}: {away}\n")
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return


def main(arguments: list[str]) -> int:
    """Run one step; gives the exit status."""
    steps: dict[str, Callable[[], Coroutine[object, object, None]]] = {
        "database": database,
        "practice": practice,
        "key": key,
        "key operator": partial(key, OPERATORS, ("admin",)),
        "send": send,
        "first-key": first_key,
    }
    match arguments:
        case ["files", folder]:
            try:
                files(Path(folder))
                bus_files(Path(folder), os.environ.get("PREPARE_PASSWORD") or token_urlsafe(24))
            except (OSError, ValueError) as fault:
                sys.stderr.write(f"files: {fault}\n")
                return 1
        case ["secrets"]:
            create_secrets(os.environ["PREPARE_FULLNAME"], os.environ["PREPARE_NAMESPACE"])
        case words if (step := " ".join(words)) in steps:
            tls.restrict_cipher_suites()
            try:
                asyncio.run(steps[step]())
            except (RuntimeError, TimeoutError) as failed:
                sys.stderr.write(f"{step}: {failed}\n")
                return 1
        case _:
            sys.stderr.write(__doc__ or "")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
