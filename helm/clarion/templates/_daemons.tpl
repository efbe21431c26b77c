{{/* What the templates know of the daemons: files/mesh.json (made from the code), values on top. */}}

{{/* Facts of every daemon, as YAML. */}}
{{- define "clarion.facts" -}}
{{- (.Files.Get "files/mesh.json" | fromJson).daemons | toYaml -}}
{{- end }}

{{/* Values of one daemon over the defaults of all, as YAML. Wants (dict "root" $ "name" name). */}}
{{- define "clarion.daemon" -}}
{{- $own := get .root.Values.services .name | default dict -}}
{{- mustMergeOverwrite (deepCopy .root.Values.defaults) (deepCopy $own) | toYaml -}}
{{- end }}

{{/* Least number of its pods: what decides about a disruption budget. Wants a daemon's merged values. */}}
{{- define "clarion.leastReplicas" -}}
{{- if .autoscaling.enabled -}}{{ .autoscaling.minReplicas }}{{- else -}}{{ .replicas }}{{- end -}}
{{- end }}

{{/* Seconds from SIGTERM to SIGKILL: preStop, then the daemon's own stop, then a margin for the kubelet. */}}
{{- define "clarion.grace" -}}
{{- add .preStopSeconds .stopGraceSeconds 5 -}}
{{- end }}

{{/* The environment of one daemon, all but secrets. Wants (dict "root" $ "name" name "facts" facts "daemon" values). */}}
{{- define "clarion.environment" -}}
{{- $values := .root.Values -}}
{{- $env := dict
  "CLARION_PROFILE" $values.profile
  "CLARION_GRPC_LISTEN" (printf "%s:7443" $values.listenHost)
  "CLARION_METRICS_LISTEN" (printf "%s:9464" $values.listenHost)
  "CLARION_TLS_DIR" "/etc/clarion/tls"
  "CLARION_PEER_TEMPLATE" (printf "dns:///%s-{daemon}:7443" (include "clarion.fullname" .root))
  "CLARION_SUBJECT_PREFIX" $values.nats.subjectPrefix
  "CLARION_STREAM_REPLICAS" $values.nats.streamReplicas
  "CLARION_STOP_GRACE_SECONDS" .daemon.stopGraceSeconds
  "CLARION_LOG_LEVEL" $values.logLevel
  "CLARION_TRACE_RATIO" $values.tracing.ratio
-}}
{{- with $values.tracing.otlpEndpoint }}{{- $_ := set $env "CLARION_OTLP_ENDPOINT" . }}{{- end }}
{{- if and .facts.nats $values.nats.url (not $values.nats.existingSecret) }}
{{- $_ := set $env "CLARION_NATS_URL" $values.nats.url }}
{{- end }}
{{- if include "clarion.ownUser" . }}
{{- $_ := set $env "CLARION_NATS_CREDENTIALS_FILE" "/etc/clarion/nats/credentials" }}
{{- end }}
{{- range .facts.keys }}
{{- if include "clarion.usesKey" (dict "root" $.root "key" .) }}
{{- $_ := set $env (printf "CLARION_%s_FILE" (. | replace "-" "_" | upper)) (printf "/etc/clarion/keys/%s" .) }}
{{- end }}
{{- end }}
{{- if and .facts.links $values.links.baseUrl }}{{- $_ := set $env "CLARION_LINK_BASE_URL" $values.links.baseUrl }}{{- end }}
{{- if .facts.http }}{{- $_ := set $env "CLARION_HTTP_LISTEN" (printf "%s:8443" $values.listenHost) }}{{- end }}
{{- if and .facts.bounces $values.bounces.enabled }}
{{- $_ := set $env "CLARION_BOUNCE_LISTEN" (printf "%s:2525" $values.listenHost) }}
{{- $_ := set $env "CLARION_BOUNCE_HOSTNAME" $values.bounces.hostname }}
{{- end }}
{{- if and .facts.traces $values.tracing.jaegerUrl }}
{{- $_ := set $env "CLARION_TRACE_URL" (printf "%s/trace/{trace_id}" (trimSuffix "/" $values.tracing.jaegerUrl)) }}
{{- end }}
{{- if and (eq .name "monitor") $values.runbooks.url }}{{- $_ := set $env "CLARION_RUNBOOK_URL" $values.runbooks.url }}{{- end }}
{{- range $variable, $value := .daemon.settings }}{{- $_ := set $env $variable $value }}{{- end }}
{{- range $variable, $value := $env }}
{{ $variable }}: {{ include "clarion.scalar" $value | quote }}
{{- end }}
{{- end }}

{{/* A number as people write it: YAML's 10000 must not become 1e+04. */}}
{{- define "clarion.scalar" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ printf "%.0f" . }}{{- else -}}{{ . }}{{- end -}}
{{- end }}

{{/* Non-empty if a daemon has a user of its own on the bus. Wants (dict "root" $ "facts" facts). */}}
{{- define "clarion.ownUser" -}}
{{- if and .facts.nats .root.Values.nats.usersSecret -}}yes{{- end -}}
{{- end }}

{{/* Non-empty if a key file is there: the link key is optional. */}}
{{- define "clarion.usesKey" -}}
{{- if or (ne .key "link-key") .root.Values.links.enabled -}}yes{{- end -}}
{{- end }}
