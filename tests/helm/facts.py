"""What the chart knows of the daemons, read from their code: who calls whom, what each needs, which settings it has.

Writes `helm/clarion/files/mesh.json` (read by the templates) and the settings part of `helm/clarion/values.schema.json`;
`make helm-update` writes them, `make helm` fails while they differ from the code.
"""

import importlib
import json
import types
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeAlias, Union, get_args, get_origin

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from clarion_kit import mesh
from clarion_kit.settings import Common

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "clarion"
MESH_FILE = CHART / "files" / "mesh.json"
SCHEMA_FILE = CHART / "values.schema.json"

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

PLACED = frozenset(
    {
        "database_url",
        "nats_url",
        "nats_credentials_file",
        "valkey_url",
        "insecure",
        "grpc_listen",
        "http_listen",
        "metrics_listen",
        "bounce_listen",
        "tls_dir",
        "kek_file",
        "token_keys_file",
        "pepper_file",
        "link_key_file",
        "link_base_url",
        "otlp_endpoint",
        "peer_template",
        "peers",
        "subject_prefix",
        "stream_replicas",
        "profile",
        "stop_grace_seconds",
    }
)
"""Settings that have a place of their own in the chart's values, or that the chart alone decides."""

KEY_FILES = {
    "kek_file": "kek",
    "token_keys_file": "token-keys",
    "pepper_file": "pepper",
    "link_key_file": "link-key",
}
"""Key files by setting, as the secret of keys names them."""


HTTP_DAEMONS = ("tracker",)
"""Daemons whose HTTP server faces people and providers."""


def kubernetes_name(daemon: str) -> str:
    """ "rate_limiter" → "rate-limiter"."""
    return daemon.replace("_", "-")


def settings_of(daemon: str) -> type[Common]:
    """The settings class of a daemon."""
    found: type[Common] = importlib.import_module(f"clarion_{daemon}.settings").Settings
    return found


def calls() -> dict[str, set[str]]:
    """Who calls whom, by daemon; "operator" is a person."""
    edges: dict[str, set[str]] = {daemon: set() for daemon in (*mesh.DAEMONS, "operator")}
    for service in (*mesh.public_services(), *mesh.internal_services()):
        server = mesh.served_by(service)
        servers = mesh.DISPATCHERS if server == "dispatcher" else (server,)
        for caller in mesh.callers(service.full_name):
            edges[caller].update(name for name in servers if name != caller)
    for client in mesh.CLIENTS:
        edges[client].add(mesh.GATEWAY)
    return edges


def daemons() -> dict[str, Json]:
    """Everything the templates ask about each daemon, by its name in Kubernetes."""
    edges = calls()
    return {kubernetes_name(daemon): _facts(daemon, edges) for daemon in mesh.DAEMONS}


def settings_schemas() -> dict[str, Json]:
    """JSON Schemas of `settings` and `secretSettings` of each daemon, by the name of their definition."""
    schemas: dict[str, Json] = {}
    for daemon in mesh.DAEMONS:
        plain: dict[str, Json] = {}
        secret: dict[str, Json] = {}
        for name, field in sorted(settings_of(daemon).model_fields.items()):
            if name in PLACED:
                continue
            variable = f"CLARION_{name.upper()}"
            if SecretStr in _kinds(field):
                secret[variable] = {"$ref": "#/$defs/secretKey", "description": field.description}
            else:
                plain[variable] = {**_schema(field), "description": field.description}
        schemas[f"settings-{kubernetes_name(daemon)}"] = _closed(plain)
        schemas[f"secretSettings-{kubernetes_name(daemon)}"] = _closed(secret)
    return schemas


def rendered_mesh() -> str:
    """Text of `files/mesh.json`."""
    public = sorted(service.full_name for service in mesh.public_services())
    return json.dumps({"daemons": daemons(), "publicServices": public}, indent=2) + "\n"


def rendered_schema() -> str:
    """Text of `values.schema.json` with the settings as the code has them."""
    schema = json.loads(SCHEMA_FILE.read_text())
    written = {
        name: part for name, part in schema["$defs"].items() if not name.startswith(("settings-", "secretSettings-"))
    }
    schema["$defs"] = written | settings_schemas()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _facts(daemon: str, edges: Mapping[str, set[str]]) -> dict[str, Json]:
    fields = settings_of(daemon).model_fields
    keys: list[Json] = [
        key for name, key in KEY_FILES.items() if name in fields and (name != "kek_file" or fields[name].is_required())
    ]
    return {
        "identity": daemon,
        "databaseRole": _role(daemon) if fields["database_url"].is_required() else None,
        "nats": fields["nats_url"].is_required(),
        "valkey": fields["valkey_url"].is_required(),
        "keys": keys,
        "http": daemon in HTTP_DAEMONS,
        "links": "link_base_url" in fields,
        "bounces": "bounce_listen" in fields,
        "traces": "trace_url" in fields,
        "calls": [kubernetes_name(name) for name in sorted(edges[daemon])],
        "calledBy": [kubernetes_name(name) for name in sorted(edges) if name != "operator" and daemon in edges[name]],
        "operators": daemon in edges["operator"],
    }


def _role(daemon: str) -> str:
    return "dispatcher" if daemon in mesh.DISPATCHERS else daemon


def _kinds(field: FieldInfo) -> tuple[object, ...]:
    annotation = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _schema(field: FieldInfo) -> dict[str, Json]:
    """Bounds and type of one setting. Its value in the values file may be what YAML makes of it."""
    kind = next(kind for kind in _kinds(field) if kind is not type(None))
    schema: dict[str, Json] = {}
    if kind is bool:
        schema["type"] = "boolean"
    elif kind is int:
        schema["type"] = "integer"
    elif kind in (float, timedelta):
        schema["type"] = "number"
    elif get_origin(kind) is Literal:
        schema["enum"] = list(get_args(kind))
    elif isinstance(kind, type) and issubclass(kind, str) and kind is not str:
        schema["enum"] = [str(member.value) for member in kind]  # type: ignore[attr-defined]  # a StrEnum
    else:
        schema["type"] = "string"
    for bound in field.metadata:
        schema |= _bound(bound)
    return schema


def _bound(bound: object) -> dict[str, Json]:
    match bound:
        case annotated_types.Ge(ge=int() | float() as least):
            return {"minimum": least}
        case annotated_types.Gt(gt=int() | float() as over):
            return {"exclusiveMinimum": over}
        case annotated_types.Le(le=int() | float() as most):
            return {"maximum": most}
        case annotated_types.Lt(lt=int() | float() as under):
            return {"exclusiveMaximum": under}
    pattern = getattr(bound, "pattern", None)
    return {"pattern": pattern} if isinstance(pattern, str) else {}


def _closed(properties: dict[str, Json]) -> dict[str, Json]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def write() -> None:
    """Write both files."""
    MESH_FILE.write_text(rendered_mesh())
    SCHEMA_FILE.write_text(rendered_schema())
