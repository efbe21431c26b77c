{{/* Parts of pods. */}}

{{/* Restricted pod security, for every pod of the chart. */}}
{{- define "clarion.podSecurity" -}}
runAsNonRoot: true
{{- range $name := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- with get $.Values.podSecurity $name }}
{{ $name }}: {{ int64 . }}
{{- end }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "clarion.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The kubelet's own gRPC probe speaks no TLS, and ours asks for a client certificate: so a program in the image asks,
     with the pod's own identity. Wants (dict "root" $ "name" name "service" "" or "live" "probe" numbers). */}}
{{- define "clarion.probe" -}}
exec:
  command: [/opt/clarion/bin/clarion-probe, {{ .name | quote }}, {{ .service | quote }}]
{{ toYaml .probe }}
{{- end }}

{{/* Secrets as environment of one daemon. Wants (dict "root" $ "facts" facts "daemon" values). */}}
{{- define "clarion.secretEnvironment" -}}
{{- $values := .root.Values -}}
{{- with .facts.databaseRole }}
- name: CLARION_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ default $values.database.existingSecret $.daemon.databaseSecret.name }}
      key: {{ default . $.daemon.databaseSecret.key }}
{{- end }}
{{- if and .facts.nats $values.nats.existingSecret }}
- name: CLARION_NATS_URL
  valueFrom:
    secretKeyRef:
      name: {{ $values.nats.existingSecret }}
      key: {{ $values.nats.key }}
{{- end }}
{{- if .facts.valkey }}
- name: CLARION_VALKEY_URL
  valueFrom:
    secretKeyRef:
      name: {{ $values.valkey.existingSecret }}
      key: {{ $values.valkey.key }}
{{- end }}
{{- range $variable, $from := .daemon.secretSettings }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.name }}
      key: {{ $from.key }}
{{- end }}
{{- end }}

{{/* Spread over nodes and zones. Wants (dict "root" $ "name" name "spread" list). */}}
{{- define "clarion.spread" -}}
{{- range .spread }}
- {{ toYaml . | nindent 2 | trim }}
  labelSelector:
    matchLabels:
      {{- include "clarion.selector" (dict "root" $.root "component" $.name) | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}

{{/* Volumes and mounts every pod with an identity has. */}}
{{- define "clarion.trustVolume" -}}
{{- with .Values.trust.configMap }}
- name: trust
  configMap:
    name: {{ . }}
{{- end }}
{{- end }}

{{- define "clarion.trustMount" -}}
{{- if .Values.trust.configMap }}
- name: trust
  mountPath: /etc/clarion/trust
  readOnly: true
{{- end }}
{{- end }}
