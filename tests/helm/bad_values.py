"""Values that must be refused, and what Helm must say: the name of the value, and what would be right."""

from dataclasses import dataclass

from .charts import Values


@dataclass(frozen=True, slots=True)
class Bad:
    """`on` is a profile the values go over; "" means the chart's own values."""

    case: str
    values: Values
    says: tuple[str, ...]
    on: str = ""


BAD = (
    # What the schema refuses.
    Bad("daemon misspelt", {"services": {"gatway": {}}}, ("/services", "gatway")),
    Bad("knob misspelt", {"services": {"gateway": {"replica": 3}}}, ("/services/gateway", "replica")),
    Bad("top-level knob unknown", {"autoscaling": {"enabled": True}}, ("autoscaling", "not allowed")),
    Bad("number as text", {"services": {"gateway": {"replicas": "3"}}}, ("/services/gateway/replicas", "want integer")),
    Bad("no replica", {"services": {"planner": {"replicas": 0}}}, ("/services/planner/replicas", "got 0, want 1")),
    Bad("profile unknown", {"profile": "prod"}, ("/profile", "'production', 'development'")),
    Bad(
        "setting unknown to the daemon",
        {"services": {"gateway": {"settings": {"CLARION_CAPACITY": 10}}}},
        ("/services/gateway/settings", "CLARION_CAPACITY"),
    ),
    Bad(
        "setting out of range",
        {"services": {"gateway": {"settings": {"CLARION_TOKEN_MINUTES": 60}}}},
        ("CLARION_TOKEN_MINUTES", "got 60, want 15"),
    ),
    Bad(
        "setting of the wrong type",
        {"services": {"scheduler": {"settings": {"CLARION_POLL_SECONDS": "often"}}}},
        ("CLARION_POLL_SECONDS", "want number"),
    ),
    Bad(
        "setting the chart decides",
        {"services": {"gateway": {"settings": {"CLARION_INSECURE": 1}}}},
        ("/services/gateway/settings", "CLARION_INSECURE"),
    ),
    Bad(
        "secret written into values",
        {"services": {"monitor": {"settings": {"CLARION_ALERT_WEBHOOK_URL": "https://hooks.example.com/x"}}}},
        ("/services/monitor/settings", "CLARION_ALERT_WEBHOOK_URL"),
    ),
    Bad(
        "secret without its key",
        {"services": {"monitor": {"secretSettings": {"CLARION_ALERT_WEBHOOK_URL": {"name": "alerts"}}}}},
        ("CLARION_ALERT_WEBHOOK_URL", "missing property 'key'"),
    ),
    Bad(
        "settings for all daemons",
        {"defaults": {"settings": {"CLARION_WIDTH": 2}}},
        ("/defaults/settings", "CLARION_WIDTH"),
    ),
    Bad("memory without unit", {"defaults": {"resources": {"limits": {"memory": "lots"}}}}, ("memory", "'lots'")),
    Bad("no memory limit", {"defaults": {"resources": {"limits": None}}}, ("limits",)),
    Bad("root", {"podSecurity": {"runAsUser": 0}}, ("/podSecurity/runAsUser", "got 0, want 1")),
    Bad("digest cut short", {"services": {"gateway": {"image": {"digest": "sha256:12"}}}}, ("digest", "sha256:12")),
    Bad("link URL without TLS", {"links": {"enabled": True, "baseUrl": "http://t.example.com"}}, ("/links/baseUrl",)),
    Bad("trace ratio of percent", {"tracing": {"ratio": 10}}, ("/tracing/ratio", "got 10, want 1")),
    Bad("even number of stream replicas", {"nats": {"streamReplicas": 2}}, ("/nats/streamReplicas", "1, 3, 5")),
    Bad("subject prefix with a dot", {"nats": {"subjectPrefix": "a.b"}}, ("/nats/subjectPrefix", "'a.b'")),
    Bad("TLS off", {"tls": {"mode": "none"}}, ("/tls/mode", "'certManager', 'existing'")),
    Bad("NodePort", {"public": {"gateway": {"service": {"type": "NodePort"}}}}, ("/public/gateway/service/type",)),
    Bad("release name in capitals", {"fullnameOverride": "Clarion"}, ("/fullnameOverride", "'Clarion'")),
    # What contradicts itself.
    Bad("practice stores in production", {"stores": {"enabled": True}}, ("stores.enabled", "profile: production")),
    Bad("sandbox in production", {"sandbox": {"enabled": True}}, ("sandbox.enabled", "not with profile: production")),
    Bad(
        "keys made in production", {"bootstrap": {"enabled": True}}, ("bootstrap.enabled", "make the secrets yourself")
    ),
    Bad("one stream replica in production", {"nats": {"streamReplicas": 1}}, ("nats.streamReplicas: at least 3",)),
    Bad("no database", {"database": {"existingSecret": ""}}, ("database.existingSecret: name the secret",)),
    Bad("no bus", {"nats": {"existingSecret": ""}}, ("nats: give url, or existingSecret",)),
    Bad("two ways to the bus", {"nats": {"url": "tls://nats:4222"}}, ("nats: url and existingSecret exclude",)),
    Bad(
        "password in the bus URL",
        {"nats": {"url": "nats://a:b@nats:4222", "existingSecret": ""}},
        ("nats.url: must hold no password", "nats.existingSecret"),
    ),
    Bad(
        "certificate for a bus that migrations do not use",
        {"migrations": {"nats": {"tlsSecret": "clarion-operator-tls"}}},
        ("migrations.nats.tlsSecret: migrations do not use the bus",),
    ),
    Bad(
        "user of the bus as a setting",
        {"services": {"planner": {"settings": {"CLARION_NATS_CREDENTIALS_FILE": "/x"}}}},
        ("/services/planner/settings", "CLARION_NATS_CREDENTIALS_FILE"),
    ),
    Bad("no Valkey", {"valkey": {"existingSecret": ""}}, ("valkey.existingSecret: name the secret",)),
    Bad("no keys", {"keys": {"existingSecret": ""}}, ("keys.existingSecret: name the secret",)),
    Bad(
        "no issuer",
        {"tls": {"certManager": {"issuerRef": {"name": ""}}}},
        ("tls.certManager.issuerRef.name: name an issuer",),
    ),
    Bad(
        "one identity for all",
        {"tls": {"mode": "existing", "existing": {"secretName": "clarion-tls"}}},
        ("tls.existing.secretName: must contain {daemon}",),
    ),
    Bad("moving tag", {"image": {"tag": "latest"}}, ("image.tag: never latest",)),
    Bad(
        "moving tag of one",
        {"services": {"planner": {"image": {"tag": "latest"}}}},
        ("services.planner.image.tag: never",),
    ),
    Bad(
        "digest wanted and missing",
        {"services": {"tracker": {"image": {"digest": ""}}}},
        ("services.tracker.image.digest: missing",),
        on="production",
    ),
    Bad("name too long", {"fullnameOverride": "c" * 41}, ("fullnameOverride:", "more than 40 characters")),
    Bad("links without URL", {"links": {"enabled": True}}, ("links.baseUrl: the tracker's public URL",)),
    Bad(
        "console without links",
        {"services": {"tracker": {"settings": {"CLARION_CONSOLE": True}}}},
        ("services.tracker.settings.CLARION_CONSOLE: the console needs links.enabled",),
    ),
    Bad("first key where there is one", {"firstKey": {"enabled": True}}, ("firstKey.enabled: with sandbox",), on="dev"),
    Bad("first key for nobody", {"firstKey": {"enabled": True, "app": ""}}, ("/firstKey/app",)),
    Bad("bounces without links", {"bounces": {"enabled": True}}, ("bounces.enabled: needs links.enabled",)),
    Bad(
        "drain shorter than a provider's answer",
        {"services": {"dispatcher-sms": {"stopGraceSeconds": 30}}},
        ("services.dispatcher-sms.stopGraceSeconds: must be more than twice", "(30)"),
    ),
    Bad(
        "more pods at least than at most",
        {"services": {"gateway": {"autoscaling": {"enabled": True, "minReplicas": 20}}}},
        ("services.gateway.autoscaling: minReplicas is above maxReplicas",),
    ),
    Bad(
        "KEDA without Prometheus",
        {"autoscaler": {"keda": {"prometheus": ""}}},
        ("autoscaler.keda.prometheus:",),
        on="keda",
    ),
    Bad(
        "a mesh without planner",
        {"services": {"planner": {"enabled": False}}},
        ("services.planner.enabled: the mesh does",),
    ),
    Bad(
        "priorities upside down",
        {"priorityClasses": {"accept": 1, "send": 2, "track": 3}},
        ("priorityClasses: accept must be above send",),
    ),
    Bad(
        "name of a class with create",
        {"priorityClasses": {"accept": "system-cluster-critical"}},
        ("priorityClasses.accept: a number with create: true",),
    ),
    Bad(
        "route without hostname",
        {"public": {"gateway": {"hostnames": []}}},
        ("public.gateway.hostnames: a GRPCRoute needs",),
        on="gateway-api",
    ),
    Bad(
        "route without Gateway",
        {"public": {"gatewayApi": {"parentRefs": []}}},
        ("public.gatewayApi.parentRefs: name the Gateway",),
        on="gateway-api",
    ),
    Bad("nobody may call", {"networkPolicy": {"clients": []}}, ("networkPolicy.clients: empty",)),
    Bad("alerts without runbooks", {"monitoring": {"rules": {"enabled": True}}}, ("runbooks.url: alerts link",)),
    Bad(
        "several faults at once",
        {"valkey": {"existingSecret": ""}, "keys": {"existingSecret": ""}, "image": {"tag": "latest"}},
        ("valkey.existingSecret", "keys.existingSecret", "image.tag"),
    ),
)
