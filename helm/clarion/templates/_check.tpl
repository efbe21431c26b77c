{{/* What a schema cannot say: values that contradict each other. Every fault is told at once, in words. */}}
{{- define "clarion.check" -}}
{{- $v := .Values -}}
{{- $faults := list -}}

{{- if eq $v.profile "production" -}}
{{- if $v.stores.enabled }}{{ $faults = append $faults "stores.enabled: these stores are for practice; with profile: production name your own in database, nats and valkey" }}{{ end -}}
{{- if $v.sandbox.enabled }}{{ $faults = append $faults "sandbox.enabled: the sandbox is for practice; not with profile: production" }}{{ end -}}
{{- if $v.bootstrap.enabled }}{{ $faults = append $faults "bootstrap.enabled: keys made in the cluster are for practice; with profile: production make the secrets yourself (helm/README.md)" }}{{ end -}}
{{- if lt (int $v.nats.streamReplicas) 3 }}{{ $faults = append $faults "nats.streamReplicas: at least 3 with profile: production" }}{{ end -}}
{{- end -}}

{{- if not $v.database.existingSecret }}{{ $faults = append $faults "database.existingSecret: name the secret with a URL per role (helm/README.md lists its keys)" }}{{ end -}}
{{- if and (not $v.nats.url) (not $v.nats.existingSecret) }}{{ $faults = append $faults "nats: give url, or existingSecret where the URL holds a password" }}{{ end -}}
{{- if and $v.nats.url $v.nats.existingSecret }}{{ $faults = append $faults "nats: url and existingSecret exclude each other; set existingSecret: \"\" to use url" }}{{ end -}}
{{- if contains "@" $v.nats.url }}{{ $faults = append $faults "nats.url: must hold no password; put the URL into a secret and name it in nats.existingSecret" }}{{ end -}}
{{- if and $v.nats.usersSecret $v.migrations.nats.tlsSecret }}{{ $faults = append $faults "migrations.nats.tlsSecret: migrations do not use the bus with nats.usersSecret" }}{{ end -}}
{{- if not $v.valkey.existingSecret }}{{ $faults = append $faults "valkey.existingSecret: name the secret with the URL" }}{{ end -}}
{{- if not $v.keys.existingSecret }}{{ $faults = append $faults "keys.existingSecret: name the secret with kek, token-keys, pepper and link-key" }}{{ end -}}

{{- if and (eq $v.tls.mode "certManager") (not $v.tls.certManager.issuerRef.name) }}{{ $faults = append $faults "tls.certManager.issuerRef.name: name an issuer with a CA of the mesh's own" }}{{ end -}}
{{- if and (eq $v.tls.mode "existing") (not (contains "{daemon}" $v.tls.existing.secretName)) }}{{ $faults = append $faults "tls.existing.secretName: must contain {daemon}; each daemon has an identity of its own" }}{{ end -}}

{{- if eq (toString $v.image.tag) "latest" }}{{ $faults = append $faults "image.tag: never latest; a rollback would not know what it was" }}{{ end -}}
{{- if gt (len (include "clarion.fullname" .)) 40 }}{{ $faults = append $faults (printf "fullnameOverride: %q has more than 40 characters; names of objects would not fit" (include "clarion.fullname" .)) }}{{ end -}}

{{- if and $v.links.enabled (not $v.links.baseUrl) }}{{ $faults = append $faults "links.baseUrl: the tracker's public URL is needed with links.enabled" }}{{ end -}}
{{- if and $v.bounces.enabled (not $v.links.enabled) }}{{ $faults = append $faults "bounces.enabled: needs links.enabled, whose key signs return paths" }}{{ end -}}

{{- $tracker := include "clarion.daemon" (dict "root" . "name" "tracker") | fromYaml -}}
{{- if and (get $tracker.settings "CLARION_CONSOLE") (not $v.links.enabled) }}{{ $faults = append $faults "services.tracker.settings.CLARION_CONSOLE: the console needs links.enabled, from whose key that of its sessions is made" }}{{ end -}}
{{- if and $v.firstKey.enabled $v.sandbox.enabled }}{{ $faults = append $faults "firstKey.enabled: with sandbox.enabled there is an admin key before; NOTES.txt says how to make others" }}{{ end -}}

{{- range $tier := list "accept" "send" "track" -}}
{{- $value := index $v.priorityClasses $tier -}}
{{- if and $v.priorityClasses.create (kindIs "string" $value) }}{{ $faults = append $faults (printf "priorityClasses.%s: a number with create: true; names of existing classes need create: false" $tier) }}{{ end -}}
{{- if and (not $v.priorityClasses.create) (not (kindIs "string" $value)) }}{{ $faults = append $faults (printf "priorityClasses.%s: with create: false the name of an existing class, or \"\"" $tier) }}{{ end -}}
{{- end -}}
{{- if $v.priorityClasses.create -}}
{{- if not (and (gt (int $v.priorityClasses.accept) (int $v.priorityClasses.send)) (gt (int $v.priorityClasses.send) (int $v.priorityClasses.track))) }}{{ $faults = append $faults "priorityClasses: accept must be above send, and send above track" }}{{ end -}}
{{- end -}}

{{- $names := list -}}
{{- range $name, $fact := include "clarion.facts" . | fromYaml -}}
{{- $d := include "clarion.daemon" (dict "root" $ "name" $name) | fromYaml -}}
{{- if $d.enabled -}}
{{- $names = append $names $name -}}
{{- if and $v.image.requireDigest (not $d.image.digest) }}{{ $faults = append $faults (printf "services.%s.image.digest: missing, and image.requireDigest is on" $name) }}{{ end -}}
{{- if eq (toString $d.image.tag) "latest" }}{{ $faults = append $faults (printf "services.%s.image.tag: never latest" $name) }}{{ end -}}
{{- if le (int $d.stopGraceSeconds) (mul 2 (int $d.longestProviderTimeoutSeconds)) }}{{ $faults = append $faults (printf "services.%s.stopGraceSeconds: must be more than twice longestProviderTimeoutSeconds (%d), or calls are cut" $name (int $d.longestProviderTimeoutSeconds)) }}{{ end -}}
{{- if $d.autoscaling.enabled -}}
{{- if gt (int $d.autoscaling.minReplicas) (int $d.autoscaling.maxReplicas) }}{{ $faults = append $faults (printf "services.%s.autoscaling: minReplicas is above maxReplicas" $name) }}{{ end -}}
{{- if and (eq $v.autoscaler.kind "keda") (include "clarion.lanes" $name | fromJsonArray) (not $v.autoscaler.keda.prometheus) }}{{ $faults = append $faults "autoscaler.keda.prometheus: the URL that KEDA asks for the oldest age is missing" }}{{ end -}}
{{- end -}}
{{- range $variable, $_ := $d.secretSettings -}}
{{- if hasKey $d.settings $variable }}{{ $faults = append $faults (printf "services.%s: %s stands in settings and in secretSettings" $name $variable) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range list "gateway" "preference" "template" "rate-limiter" "planner" "scheduler" "tracker" "monitor" -}}
{{- if not (has . $names) }}{{ $faults = append $faults (printf "services.%s.enabled: the mesh does not work without it; only dispatchers may be left out" .) }}{{ end -}}
{{- end -}}
{{- if and $v.image.requireDigest (not $v.cli.image.digest) }}{{ $faults = append $faults "cli.image.digest: missing, and image.requireDigest is on" }}{{ end -}}

{{- if $v.public.gatewayApi.enabled -}}
{{- if not $v.public.gatewayApi.parentRefs }}{{ $faults = append $faults "public.gatewayApi.parentRefs: name the Gateway that routes attach to" }}{{ end -}}
{{- if not $v.public.gateway.hostnames }}{{ $faults = append $faults "public.gateway.hostnames: a GRPCRoute needs the gateway's public name" }}{{ end -}}
{{- if not $v.public.gatewayApi.caConfigMap }}{{ $faults = append $faults "public.gatewayApi.caConfigMap: the Gateway must know the mesh's authority" }}{{ end -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.clients) }}{{ $faults = append $faults "networkPolicy.clients: empty, nobody could reach the gateway" }}{{ end -}}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.dns) }}{{ $faults = append $faults "networkPolicy.dns: empty, no name could be resolved" }}{{ end -}}
{{- if and $v.monitoring.rules.enabled (not $v.runbooks.url) }}{{ $faults = append $faults "runbooks.url: alerts link to their runbooks; give the page" }}{{ end -}}

{{- if $faults }}{{ fail (printf "\n\nvalues that cannot work:\n  - %s\n" (uniq $faults | join "\n  - ")) }}{{ end -}}
{{- end }}
