"""Who serves what and who may call whom: the one map of the mesh.

Services and their daemons come from the contracts (`served_by`); callers are named here. The server of every daemon
refuses other callers, services/README.md and the network policies are checked against this map.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from clarion.options.v1 import options_pb2

GATEWAY = "gateway"
DISPATCHERS = ("dispatcher_ios", "dispatcher_android", "dispatcher_web", "dispatcher_sms", "dispatcher_email")
DAEMONS = (
    GATEWAY,
    "preference",
    "template",
    "rate_limiter",
    "planner",
    *DISPATCHERS,
    "scheduler",
    "tracker",
    "monitor",
)

CLIENTS = frozenset({"tracker"})
"""Daemons that ask the gateway as any client does: the console who somebody is (adr/0016)."""

_PUBLIC = (
    "clarion.notification.v1.notification_service",
    "clarion.auth.v1.auth_service",
    "clarion.app.v1.app_service",
    "clarion.auditlog.v1.audit_log_service",
    "clarion.category.v1.category_service",
    "clarion.provider.v1.provider_service",
    "clarion.routing.v1.routing_service",
    "clarion.budget.v1.budget_service",
    "clarion.webhook.v1.webhook_service",
    "clarion.deadletter.v1.dead_letter_service",
    "clarion.recipient.v1.recipient_service",
    "clarion.preference.v1.preference_service",
    "clarion.topic.v1.topic_service",
    "clarion.suppression.v1.suppression_service",
    "clarion.template.v1.template_service",
    "clarion.broadcast.v1.broadcast_service",
    "clarion.schedule.v1.schedule_service",
    "clarion.tracking.v1.tracking_service",
)

INTERNAL_CALLERS: Mapping[str, frozenset[str]] = {
    "clarion.internal.preference.v1.PreferenceService": frozenset({"planner", "tracker", *DISPATCHERS}),
    "clarion.internal.template.v1.TemplateService": frozenset({GATEWAY, "planner", "scheduler"}),
    "clarion.internal.ratelimit.v1.RateLimitService": frozenset({GATEWAY, "planner", *DISPATCHERS}),
    "clarion.internal.planner.v1.PlannerService": frozenset({GATEWAY, "operator"}),
    "clarion.internal.dispatch.v1.DispatchService": frozenset({"operator", "monitor"}),
}
"""Internal services and the daemons that may call them; "operator" is a person with an operator certificate."""

_INTERNAL = (
    "clarion.internal.preference.v1.preference_service",
    "clarion.internal.template.v1.template_service",
    "clarion.internal.ratelimit.v1.rate_limit_service",
    "clarion.internal.planner.v1.planner_service",
    "clarion.internal.dispatch.v1.dispatch_service",
)


@dataclass(frozen=True, slots=True)
class Method:
    """A public method as the gateway's forwarding table needs it; `path` is "/package.Service/Method"."""

    path: str
    served_by: str
    required_scope: str
    idempotent: bool
    max_request_bytes: int
    client_streaming: bool
    server_streaming: bool


def served_by(service: ServiceDescriptor) -> str:
    """The daemon of a service."""
    return str(service.GetOptions().Extensions[options_pb2.served_by])


def public_services() -> Iterator[ServiceDescriptor]:
    """Every service that clients may call, through the gateway."""
    for module in _PUBLIC:
        yield from import_module(f"{module}_pb2").DESCRIPTOR.services_by_name.values()


def internal_services() -> Iterator[ServiceDescriptor]:
    """Every service between daemons."""
    for module in _INTERNAL:
        yield from import_module(f"{module}_pb2").DESCRIPTOR.services_by_name.values()


def public_methods() -> dict[str, Method]:
    """Public methods by path."""
    return {
        method.path: method
        for service in public_services()
        for method in (_method(service, descriptor) for descriptor in service.methods)
    }


def callers(service: str) -> frozenset[str]:
    """Daemons that may call a service on its own server: for public ones only the gateway."""
    return INTERNAL_CALLERS.get(service, frozenset({GATEWAY}))


def _method(service: ServiceDescriptor, descriptor: MethodDescriptor) -> Method:
    rule = descriptor.GetOptions().Extensions[options_pb2.rule]
    return Method(
        path=f"/{service.full_name}/{descriptor.name}",
        served_by=served_by(service),
        required_scope=rule.required_scope,
        idempotent=rule.idempotent,
        max_request_bytes=rule.max_request_bytes,
        client_streaming=descriptor.client_streaming,
        server_streaming=descriptor.server_streaming,
    )
