"""Which fields Kubernetes refuses to change: an upgrade that changes one fails in the cluster, half done."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .charts import Json, Manifest, find, mapping

PREVIOUS = Path(__file__).with_name("previous")
"""Renders of the chart's version before (of this one, while there is none before)."""
KEPT = ("dev", "production")
"""Profiles of which that is kept: between them they have every kind of object."""

IMMUTABLE: dict[str, tuple[tuple[str, ...], ...]] = {
    "Deployment": (("spec", "selector"),),
    "StatefulSet": (
        ("spec", "selector"),
        ("spec", "serviceName"),
        ("spec", "volumeClaimTemplates"),
        ("spec", "podManagementPolicy"),
    ),
    "Service": (("spec", "clusterIP"),),
    "Job": (("spec", "selector"), ("spec", "template"), ("spec", "completions"), ("spec", "completionMode")),
    "PriorityClass": (("value",), ("preemptionPolicy",)),
    "RoleBinding": (("roleRef",),),
    "ConfigMap": (("immutable",),),
    "Secret": (("type",), ("immutable",)),
}
"""Fields by kind, as the API server's validation of updates has them."""


def refused_changes(before: Sequence[Manifest], after: Sequence[Manifest]) -> Iterator[str]:
    """Each change of an immutable field. Hooks that are deleted before they are made anew may change."""
    old = {manifest.identity: manifest for manifest in before}
    for manifest in after:
        known = old.get(manifest.identity)
        if known is None or _made_anew(manifest):
            continue
        for path in IMMUTABLE.get(manifest.kind, ()):
            if find(known.body, *path) != find(manifest.body, *path):
                yield f"{manifest.identity}: {'.'.join(path)}"


def _made_anew(manifest: Manifest) -> bool:
    annotations: dict[str, Json] = mapping(find(manifest.body, "metadata", "annotations"))
    return "before-hook-creation" in str(annotations.get("helm.sh/hook-delete-policy", ""))
