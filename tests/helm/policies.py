"""What every profile must keep to, as rules over its objects. Each yields what is wrong, in words."""

import re
from collections.abc import Callable, Iterator, Mapping

from .charts import Json, Manifest, at, containers, find, listing, manifests, mapping, of_kind, pods

Policy = Callable[[str], Iterator[str]]

DEVELOPMENT = ("dev",)
"""Profiles that bring stores and secrets of their own."""
_IMAGE = re.compile(r"^[^\s:@]+(:[0-9]+/[^\s:@]+)?(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$")
_SECRET_NAMES = re.compile(r"(PASSWORD|SECRET|TOKEN|_URL|_KEY)$")
_SAFE_URLS = {"CLARION_LINK_BASE_URL", "CLARION_RUNBOOK_URL"}


def restricted_pod_security(example: str) -> Iterator[str]:
    """The restricted level of the Pod Security Standards, field by field."""
    for manifest, spec in pods(example):
        security = mapping(find(spec, "securityContext"))
        if security.get("runAsNonRoot") is not True or not isinstance(security.get("runAsUser"), int):
            yield f"{manifest}: may run as root"
        if find(security, "seccompProfile", "type") != "RuntimeDefault":
            yield f"{manifest}: no seccomp profile"
        if any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{manifest}: uses the host's namespaces"
        for volume in listing(spec.get("volumes")):
            if not set(volume) & {"configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim"}:
                yield f"{manifest}: volume {volume['name']} is of a kind that is not allowed"
        for container in containers(spec):
            own = mapping(container.get("securityContext"))
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{manifest}: {container['name']} may gain privileges"
            if find(own, "capabilities", "drop") != ["ALL"] or find(own, "capabilities", "add"):
                yield f"{manifest}: {container['name']} keeps capabilities"


def read_only_root(example: str) -> Iterator[str]:
    for manifest, spec in pods(example):
        for container in containers(spec):
            if find(container, "securityContext", "readOnlyRootFilesystem") is not True:
                yield f"{manifest}: {container['name']} can write to its image"


def pinned_images(example: str) -> Iterator[str]:
    """A tag that moves would make a rollback a surprise."""
    for manifest, spec in pods(example):
        for container in containers(spec):
            image = str(container["image"])
            if not _IMAGE.match(image) or image.endswith(":latest"):
                yield f"{manifest}: {image} is not pinned"


def bounded_resources(example: str) -> Iterator[str]:
    for manifest, spec in pods(example):
        for container in containers(spec):
            resources = mapping(container.get("resources"))
            wanted = (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
            for part in wanted:
                if find(resources, *part) is None:
                    yield f"{manifest}: {container['name']} has no {'.'.join(part)}"
        for volume in listing(spec.get("volumes")):
            if "emptyDir" in volume and manifest.kind == "Deployment" and not find(volume, "emptyDir", "sizeLimit"):
                yield f"{manifest}: volume {volume['name']} has no bound"


def probes(example: str) -> Iterator[str]:
    """All three, and liveness asks for nothing that depends on others."""
    for manifest in of_kind(example, "Deployment", "StatefulSet"):
        container = containers(mapping(at(manifest.body, "spec", "template", "spec")))[0]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe not in container:
                yield f"{manifest}: no {probe}"
        if (
            "/opt/clarion/bin/clarion-probe" in str(container.get("livenessProbe"))
            and find(container, "livenessProbe", "exec", "command", 2) != "live"
        ):
            yield f"{manifest}: its liveness depends on others"


def no_secret_inline(example: str) -> Iterator[str]:
    """Secrets are named, never written: not as objects, not in the environment, not in settings."""
    for manifest in manifests(example):
        if manifest.kind == "Secret":
            yield f"{manifest}: a secret in the chart"
        if manifest.kind == "ConfigMap":
            for variable, value in mapping(manifest.body.get("data")).items():
                if _reveals(variable, str(value)):
                    yield f"{manifest}: {variable} belongs into a secret"
    for manifest, spec in pods(example):
        for container in containers(spec):
            for entry in listing(container.get("env")):
                if "value" in entry and _reveals(str(entry["name"]), str(entry["value"])):
                    yield f"{manifest}: {entry['name']} belongs into a secret"


def budget_iff_several(example: str) -> Iterator[str]:
    """A disruption budget where there are several pods, none where it would block the drain of a node."""
    budgets = {manifest.name for manifest in of_kind(example, "PodDisruptionBudget")}
    for manifest in of_kind(example, "Deployment"):
        several = _least(example, manifest) > 1
        if several is not (manifest.name in budgets):
            yield f"{manifest}: {'no budget' if several else 'a budget with one pod'}"
    for budget in of_kind(example, "PodDisruptionBudget"):
        if at(budget.body, "spec", "maxUnavailable") != 1:
            yield f"{budget}: does not let one pod go"


def no_service_account_token(example: str) -> Iterator[str]:
    """Nothing speaks to the Kubernetes API but jobs of an install, that make secrets and go."""
    jobs = ("-bootstrap",) if example in DEVELOPMENT else ("-first-key",)
    for manifest, spec in pods(example):
        wanted = manifest.kind == "Job" and manifest.name.endswith(jobs)
        if spec.get("automountServiceAccountToken") is not wanted:
            yield f"{manifest}: has a token of the API"
    for manifest in of_kind(example, "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"):
        deleted = str(find(manifest.body, "metadata", "annotations", "helm.sh/hook-delete-policy"))
        if manifest.kind.startswith("Cluster") or not manifest.name.endswith(jobs) or "hook-succeeded" not in deleted:
            yield f"{manifest}: nothing here needs rights"
        for rule in listing(manifest.body.get("rules")):
            verbs = rule.get("verbs")
            if rule.get("resources") != ["secrets"] or (verbs != ["create"] and not rule.get("resourceNames")):
                yield f"{manifest}: may do more than make secrets"


def own_users_on_the_bus(example: str) -> Iterator[str]:
    """A daemon proves itself to NATS by a file of its own, and by nothing that others have."""
    for manifest in daemons(example):
        volume = _volume(manifest, "nats")
        named = environment(example, manifest).get("CLARION_NATS_CREDENTIALS_FILE")
        keys = [item["key"] for item in listing(find(volume, "secret", "items"))]
        on_bus = "CLARION_NATS_URL" in {*environment(example, manifest), *secret_environment(manifest)}
        if (keys, named) != (
            ([manifest.component.replace("-", "_")], "/etc/clarion/nats/credentials") if on_bus else ([], None)
        ):
            yield f"{manifest}: is no user of its own on the bus"


def secrets_are_renewed_in_place(example: str) -> Iterator[str]:
    """A secret that is mounted by a subPath would stay as it was at the start of its pod."""
    for manifest, spec in pods(example):
        secret = {volume["name"] for volume in listing(spec.get("volumes")) if "secret" in volume}
        for container in containers(spec):
            for mount in listing(container.get("volumeMounts")):
                if mount["name"] in secret and ("subPath" in mount or mount.get("readOnly") is not True):
                    yield f"{manifest}: {container['name']} does not see a new {mount['name']}"


def own_service_accounts(example: str) -> Iterator[str]:
    accounts = [str(at(daemon.body, "spec", "template", "spec", "serviceAccountName")) for daemon in daemons(example)]
    for name in sorted({name for name in accounts if accounts.count(name) > 1}):
        yield f"{name}: serves several daemons"


def graceful_stop(example: str) -> Iterator[str]:
    """preStop, then the daemon's own stop, both inside the pod's grace."""
    for manifest in daemons(example):
        spec = mapping(at(manifest.body, "spec", "template", "spec"))
        rest = find(containers(spec)[0], "lifecycle", "preStop", "sleep", "seconds")
        own = float(environment(example, manifest)["CLARION_STOP_GRACE_SECONDS"])
        grace = spec["terminationGracePeriodSeconds"]
        if not isinstance(rest, int) or rest < 5:
            yield f"{manifest}: leaves before its clients have heard of it"
        elif not isinstance(grace, int) or grace < rest + own + 5:
            yield f"{manifest}: is killed after {grace} s while it may take {rest + own:g}"


def rolls_without_a_gap(example: str) -> Iterator[str]:
    for manifest in daemons(example):
        if find(manifest.body, "spec", "strategy", "rollingUpdate", "maxUnavailable") != 0:
            yield f"{manifest}: takes pods away before their successors serve"


def spreads(example: str) -> Iterator[str]:
    for manifest in daemons(example):
        keys = {
            part.get("topologyKey")
            for part in listing(find(manifest.body, "spec", "template", "spec", "topologySpreadConstraints"))
        }
        if not {"topology.kubernetes.io/zone", "kubernetes.io/hostname"} <= keys:
            yield f"{manifest}: may crowd on one node or in one zone"


def rolls_on_change(example: str) -> Iterator[str]:
    """Checksums of settings and secrets in the pod's annotations."""
    for manifest in daemons(example):
        found = mapping(find(manifest.body, "spec", "template", "metadata", "annotations"))
        if not {"checksum/config", "checksum/secrets"} <= set(found):
            yield f"{manifest}: does not roll when its settings change"


def nothing_open_by_default(example: str) -> Iterator[str]:
    """One policy shuts everything; every pod of the release is under it, every daemon under one of its own."""
    shut = [policy for policy in of_kind(example, "NetworkPolicy") if policy.name.endswith("-deny")]
    if [find(policy.body, "spec", "policyTypes") for policy in shut] != [["Ingress", "Egress"]]:
        yield "no policy shuts everything"
        return
    selected = mapping(at(shut[0].body, "spec", "podSelector", "matchLabels"))
    if find(shut[0].body, "spec", "ingress") or find(shut[0].body, "spec", "egress"):
        yield f"{shut[0]}: opens something"
    named = {policy.name for policy in of_kind(example, "NetworkPolicy")}
    for manifest in daemons(example):
        labels = mapping(at(manifest.body, "spec", "template", "metadata", "labels"))
        if any(labels.get(key) != value for key, value in selected.items()):
            yield f"{manifest}: is not under the policy that shuts"
        if manifest.name not in named:
            yield f"{manifest}: has no policy of its own"


def outside_is_not_inside(example: str) -> Iterator[str]:
    """Where a daemon may reach the internet, it may not reach private networks or the cloud's metadata service."""
    for policy in of_kind(example, "NetworkPolicy"):
        for rule in listing(find(policy.body, "spec", "egress")):
            for peer in listing(rule.get("to")):
                everywhere = find(peer, "ipBlock", "cidr") in ("0.0.0.0/0", "::/0")
                excepted = find(peer, "ipBlock", "except")
                if everywhere and (not isinstance(excepted, list) or "169.254.0.0/16" not in excepted):
                    yield f"{policy}: reaches the metadata service"


def selectors_find_their_pods(example: str) -> Iterator[str]:
    """Each selector of a Service, budget or spread picks exactly the pods it is named for."""
    templates = {
        manifest.name: mapping(at(manifest.body, "spec", "template", "metadata", "labels"))
        for manifest in of_kind(example, "Deployment", "StatefulSet")
    }
    for manifest in of_kind(example, "Service", "PodDisruptionBudget"):
        selector = find(manifest.body, "spec", "selector")
        wanted = mapping(find(selector, "matchLabels") or selector)
        hit = {name for name, labels in templates.items() if wanted.items() <= labels.items()}
        if len(hit) != 1 or not next(iter(hit)).endswith(manifest.component):
            yield f"{manifest}: selects {sorted(hit)}"


def names_fit(example: str) -> Iterator[str]:
    """Names of objects whose names end up in DNS labels or labels have at most 63 characters; none comes twice."""
    seen: set[str] = set()
    for manifest in manifests(example):
        if len(manifest.name) > 63:
            yield f"{manifest}: name too long"
        if manifest.identity in seen:
            yield f"{manifest}: comes twice"
        seen.add(manifest.identity)


def migrations_are_bounded(example: str) -> Iterator[str]:
    for manifest in of_kind(example, "Job"):
        spec = mapping(manifest.body["spec"])
        if not {"activeDeadlineSeconds", "backoffLimit"} <= set(spec):
            yield f"{manifest}: has no bound"
    if not any(manifest.component == "migrate" for manifest in of_kind(example, "Job")):
        yield "nobody brings the schema to its version"


def has_a_test(example: str) -> Iterator[str]:
    tests = [
        manifest
        for manifest in of_kind(example, "Pod")
        if find(manifest.body, "metadata", "annotations", "helm.sh/hook") == "test"
    ]
    if [manifest.name.endswith("-send") for manifest in tests] != [example in DEVELOPMENT]:
        yield "helm test must send in a practice mesh, and nowhere else"


def priorities_in_order(example: str) -> Iterator[str]:
    """Accepting before sending before tracking."""
    values = {
        manifest.name.rpartition("-")[2]: manifest.body["value"] for manifest in of_kind(example, "PriorityClass")
    }
    if values and not values["accept"] > values["send"] > values["track"]:  # type: ignore[operator]  # integers
        yield f"priorities are out of order: {values}"


POLICIES: Mapping[str, Policy] = {
    policy.__name__: policy
    for policy in (
        restricted_pod_security,
        read_only_root,
        pinned_images,
        bounded_resources,
        probes,
        no_secret_inline,
        budget_iff_several,
        no_service_account_token,
        own_users_on_the_bus,
        secrets_are_renewed_in_place,
        own_service_accounts,
        graceful_stop,
        rolls_without_a_gap,
        spreads,
        rolls_on_change,
        nothing_open_by_default,
        outside_is_not_inside,
        selectors_find_their_pods,
        names_fit,
        migrations_are_bounded,
        has_a_test,
        priorities_in_order,
    )
}


def daemons(example: str) -> list[Manifest]:
    """The daemons' Deployments: those that run under the mesh's identities."""
    return [
        manifest
        for manifest in of_kind(example, "Deployment")
        if manifest.template.endswith("templates/daemon/deployments.yaml")
    ]


def environment(example: str, daemon: Manifest) -> dict[str, str]:
    """Plain environment of a daemon: its ConfigMap."""
    own = next(manifest for manifest in of_kind(example, "ConfigMap") if manifest.name == daemon.name)
    return {name: str(value) for name, value in mapping(own.body["data"]).items()}


def secret_environment(daemon: Manifest) -> dict[str, dict[str, Json]]:
    """Variables that come from secrets: {"name", "key"} by variable."""
    container = containers(mapping(at(daemon.body, "spec", "template", "spec")))[0]
    return {
        str(variable["name"]): mapping(at(variable, "valueFrom", "secretKeyRef"))
        for variable in listing(container.get("env"))
        if "valueFrom" in variable
    }


def _volume(daemon: Manifest, name: str) -> Json:
    """A volume of a daemon, or None."""
    volumes = listing(find(daemon.body, "spec", "template", "spec", "volumes"))
    return next((volume for volume in volumes if volume["name"] == name), None)


def _least(example: str, deployment: Manifest) -> int:
    """Fewest pods a Deployment may have."""
    for scaler in of_kind(example, "HorizontalPodAutoscaler", "ScaledObject"):
        if at(scaler.body, "spec", "scaleTargetRef", "name") == deployment.name:
            least = find(scaler.body, "spec", "minReplicas") or find(scaler.body, "spec", "minReplicaCount")
            return int(str(least))
    return int(str(find(deployment.body, "spec", "replicas")))


def _reveals(variable: str, value: str) -> bool:
    if re.search(r"://[^/\s]*:[^/\s]*@", value) or "PRIVATE KEY" in value:
        return True
    return bool(_SECRET_NAMES.search(variable)) and variable not in _SAFE_URLS and "://" in value and "@" in value
