{{/* A small store of its own for practice: one pod, one volume. Wants (dict "root" $ "name" n "store" values "container"
     YAML of what is its own "port" number "mount" path or ""). */}}
{{- define "clarion.store" -}}
{{- $fullname := printf "%s-%s" (include "clarion.fullname" .root) .name -}}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $fullname }}
  labels:
    {{- include "clarion.labels" (dict "root" .root "component" .name) | nindent 4 }}
spec:
  selector:
    {{- include "clarion.selector" (dict "root" .root "component" .name) | nindent 4 }}
  ports:
    - name: {{ .name }}
      port: {{ .port }}
      targetPort: {{ .name }}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $fullname }}
  labels:
    {{- include "clarion.labels" (dict "root" .root "component" .name) | nindent 4 }}
spec:
  serviceName: {{ $fullname }}
  replicas: 1
  selector:
    matchLabels:
      {{- include "clarion.selector" (dict "root" .root "component" .name) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "clarion.podLabels" (dict "root" .root "component" .name) | nindent 8 }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 60
      securityContext:
        {{- include "clarion.podSecurity" .root | nindent 8 }}
      containers:
        - name: {{ .name }}
          image: {{ .store.image }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          securityContext:
            {{- include "clarion.containerSecurity" .root | nindent 12 }}
          ports:
            - name: {{ .name }}
              containerPort: {{ .port }}
          resources:
            {{- toYaml .store.resources | nindent 12 }}
          {{- .container | nindent 10 }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            {{- with .mount }}
            - name: data
              mountPath: {{ . }}
            {{- end }}
            {{- with .mounts }}
            {{- . | nindent 12 }}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {}
        {{- with .volumes }}
        {{- . | nindent 8 }}
        {{- end }}
  {{- if .mount }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .store.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .store.size }}
  {{- end }}
---
# Only this release's own pods.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ $fullname }}
  labels:
    {{- include "clarion.labels" (dict "root" .root "component" .name) | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "clarion.selector" (dict "root" .root "component" .name) | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector:
            matchLabels:
              app.kubernetes.io/name: {{ include "clarion.name" .root }}
              app.kubernetes.io/instance: {{ .root.Release.Name }}
      ports:
        - {port: {{ .port }}, protocol: TCP}
{{- end }}

{{- define "clarion.passwordFrom" -}}
valueFrom:
  secretKeyRef:
    name: {{ . }}
    key: password
{{- end }}

{{- define "clarion.postgresContainer" }}
args: [-c, synchronous_commit=on, -c, max_connections=300, -c, max_wal_size=4GB]
env:
  - name: PGDATA
    value: /var/lib/postgresql/clarion/data
  - name: POSTGRES_DB
    value: clarion
  - name: POSTGRES_INITDB_ARGS
    value: --data-checksums --auth=scram-sha-256
  - name: POSTGRES_PASSWORD
    {{- include "clarion.passwordFrom" .Values.database.existingSecret | nindent 4 }}
startupProbe: {exec: {command: [pg_isready, -h, 127.0.0.1, -U, postgres]}, periodSeconds: 2, failureThreshold: 60}
readinessProbe: {exec: {command: [pg_isready, -h, 127.0.0.1, -U, postgres]}, periodSeconds: 5, timeoutSeconds: 3}
livenessProbe: {tcpSocket: {port: postgres}, periodSeconds: 20}
{{- end }}

{{- define "clarion.natsContainer" }}
args: [-c, /etc/nats/nats.conf]
startupProbe: {httpGet: {path: /healthz, port: 8222}, periodSeconds: 2, failureThreshold: 60}
readinessProbe: {httpGet: {path: /healthz, port: 8222}, periodSeconds: 5}
livenessProbe: {httpGet: {path: "/healthz?js-server-only=true", port: 8222}, periodSeconds: 20}
{{- end }}

{{- define "clarion.valkeyContainer" }}
command: [valkey-server]
# Counters only: nothing is written, nothing is evicted (an evicted counter would hand out a fresh quota).
args: [--requirepass, $(VALKEY_PASSWORD), --save, "", --appendonly, "no", --maxmemory, 256mb, --maxmemory-policy, noeviction]
env:
  - name: VALKEY_PASSWORD
    {{- include "clarion.passwordFrom" .Values.valkey.existingSecret | nindent 4 }}
startupProbe: {tcpSocket: {port: valkey}, periodSeconds: 2, failureThreshold: 30}
readinessProbe: {tcpSocket: {port: valkey}, periodSeconds: 5}
livenessProbe: {tcpSocket: {port: valkey}, periodSeconds: 20}
{{- end }}
