{{/* Names and labels. Every object is named <fullname>-<what>; daemons by their names in Kubernetes ("rate-limiter"). */}}

{{- define "clarion.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "clarion.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end }}

{{/* What selects: never changes over upgrades. Wants (dict "root" $ "component" name). */}}
{{- define "clarion.selector" -}}
app.kubernetes.io/name: {{ include "clarion.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* What every object carries. Wants (dict "root" $ "component" name). */}}
{{- define "clarion.labels" -}}
{{ include "clarion.selector" . }}
app.kubernetes.io/part-of: clarion
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- with .root.Values.cell.name }}
clarion.dev/cell: {{ . }}
{{- end }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What pods carry: nothing that changes with every version of the chart, or all of them would roll for nothing. */}}
{{- define "clarion.podLabels" -}}
{{ include "clarion.selector" . }}
app.kubernetes.io/part-of: clarion
{{- with .root.Values.cell.name }}
clarion.dev/cell: {{ . }}
{{- end }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Image of one daemon or tool. Wants (dict "root" $ "name" name "image" its own map or nil). */}}
{{- define "clarion.image" -}}
{{- $common := .root.Values.image -}}
{{- $own := default dict .image -}}
{{- $base := printf "%s-%s" $common.repository .name -}}
{{- $repository := default $base $own.repository -}}
{{- $full := $repository -}}
{{- if $common.registry -}}
{{- $full = printf "%s/%s" $common.registry $repository -}}
{{- end -}}
{{- if $own.digest -}}
{{- printf "%s@%s" $full $own.digest -}}
{{- else -}}
{{- printf "%s:%s" $full (default (default .root.Chart.AppVersion $common.tag) $own.tag) -}}
{{- end -}}
{{- end }}

{{/* Secret with the certificate of one daemon. Wants (dict "root" $ "name" name). */}}
{{- define "clarion.tlsSecret" -}}
{{- if eq .root.Values.tls.mode "certManager" -}}
{{- printf "%s-%s-tls" (include "clarion.fullname" .root) .name -}}
{{- else -}}
{{- .root.Values.tls.existing.secretName | replace "{daemon}" .name -}}
{{- end -}}
{{- end }}

{{- define "clarion.imagePullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
