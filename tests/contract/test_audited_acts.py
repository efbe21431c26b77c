"""Every public method that changes something is either an act that the audit log tells of, or everyday traffic."""

import ast
from collections.abc import Iterator
from pathlib import Path

from clarion_kit import mesh

ROOT = Path(__file__).parents[2]
READS = ("Count", "Explain", "Export", "Get", "Lint", "List", "Preview", "Stats", "Test", "Watch")
TRAFFIC = {
    "AuthService": {"IssueToken"},
    "NotificationService": {"Cancel", "Reschedule", "Send", "SendBatch", "SendStream"},
    "PreferenceService": {"CreatePageLink", "SetWishes", "Switch"},
    "RecipientService": {
        "ImportRecipients",
        "MergeRecipients",
        "RegisterAddress",
        "RemoveAddress",
        "UpsertRecipient",
        "UpsertRecipients",
    },
    "SuppressionService": {"Suppress"},
    "TemplateService": {"PutTemplate"},
    "TopicService": {"Subscribe", "Unsubscribe"},
}
"""What apps do all day with their own persons; wishes have a history of their own, a draft does nothing before it is published."""


def told() -> set[str]:
    """Names that modules give to the audit log."""
    return {name for path in ROOT.glob("*/*/src/**/*.py") for name in _names(path.read_text())}


def _names(text: str) -> Iterator[str]:
    if "audit_log" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value


def changing() -> Iterator[tuple[str, str, str]]:
    """Service, method and scope of what is no read."""
    for path, rule in mesh.public_methods().items():
        service, _, method = path[1:].partition("/")
        if not method.startswith(READS):
            yield service.rpartition(".")[2], method, rule.required_scope


def test_every_changing_method_is_told_or_traffic() -> None:
    known = told()
    silent = {
        f"{service}/{method}"
        for service, method, _ in changing()
        if method not in known and method not in TRAFFIC.get(service, set())
    }

    assert silent == set()


def test_no_administrators_act_is_traffic() -> None:
    assert {method for service, method, scope in changing() if scope == "admin"} & {
        method for methods in TRAFFIC.values() for method in methods
    } == set()


def test_traffic_names_methods_that_exist() -> None:
    there = {(service, method) for service, method, _ in changing()}

    assert {(service, method) for service, methods in TRAFFIC.items() for method in methods} <= there
