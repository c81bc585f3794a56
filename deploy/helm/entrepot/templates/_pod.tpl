{{/*
What every pod has. Nothing in it may be more than it must: no token for the cluster, no root, no capabilities, nothing
to write to but what is named. OpenShift gives users and groups of its own, and refuses ours.
*/}}
{{- define "entrepot.podSpec" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .given.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
  {{- if not (.root.Capabilities.APIVersions.Has "security.openshift.io/v1") }}
  {{- range $key, $value := .root.Values.securityContext }}
  {{- if not (kindIs "invalid" $value) }}
  {{ $key }}: {{ int64 $value }}
  {{- end }}
  {{- end }}
  {{- end }}
{{- with .given.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .given.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .given.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* How the pods of a part that serves are spread, and how long they may take to end. */}}
{{- define "entrepot.servingPodSpec" -}}
{{ include "entrepot.podSpec" . }}
terminationGracePeriodSeconds: {{ int .root.Values.terminationGracePeriodSeconds }}
{{- $spread := dict "topology.kubernetes.io/zone" .root.Values.topologySpread.zone "kubernetes.io/hostname" .root.Values.topologySpread.node }}
{{- $constraints := list }}
{{- range $key, $what := $spread }}
{{- if ne $what "Off" }}
{{- $constraints = append $constraints (dict "topologyKey" $key "whenUnsatisfiable" $what) }}
{{- end }}
{{- end }}
{{- with $constraints }}
topologySpreadConstraints:
  {{- range . }}
  - maxSkew: 1
    topologyKey: {{ .topologyKey }}
    whenUnsatisfiable: {{ .whenUnsatisfiable }}
    labelSelector:
      matchLabels: {{- include "entrepot.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* What every container has: dict "root" "command" (a list, the image's arguments) "given". */}}
{{- define "entrepot.container" -}}
image: {{ include "entrepot.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ toJson .command }}
securityContext:
  runAsNonRoot: true
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
{{- with .given.resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The environment that all parts that serve have in common. */}}
{{- define "entrepot.grpcEnv" -}}
- {name: ENTREPOT_GRPC_TLS_CA, value: /conf/grpc/ca.crt}
- {name: ENTREPOT_GRPC_TLS_CERT, value: /conf/grpc/tls.crt}
- {name: ENTREPOT_GRPC_TLS_KEY, value: /conf/grpc/tls.key}
{{- if .Values.metrics.enabled }}
- {name: ENTREPOT_METRICS_LISTEN, value: {{ printf "%s:9090" .Values.listenHost | quote }}}
{{- end }}
{{- end -}}

{{/* Where the locations are, for gateways and workers. */}}
{{- define "entrepot.locationsEnv" -}}
{{- with .Values.preference }}
- {name: QUAY_DISTRIBUTED_STORAGE_PREFERENCE, value: {{ join " " . | quote }}}
{{- end }}
{{- if .Values.locations.fromConfig }}
{{- if .Values.locations.elsewhere }}
{{- fail "locations.elsewhere stands beside locations.fromConfig: remove the one or the other" }}
{{- end }}
{{- else }}
{{- $locations := dict }}
{{- range $location, $proxy := include "entrepot.storageProxies" . | fromJson }}
{{- $nodes := list }}
{{- range $index := until (int $proxy.replicas) }}
{{- $nodes = append $nodes (printf "%s-%d.%s:7070" $proxy.fullname $index (include "entrepot.serviceDomain" (dict "root" $ "service" $proxy.fullname))) }}
{{- end }}
{{- $_ := set $locations $location (dict "nodes" $nodes) }}
{{- end }}
{{- range $location, $nodes := .Values.locations.elsewhere }}
{{- if hasKey $locations $location }}
{{- fail (printf "locations.elsewhere names %s, which this release has a storage-proxy for" $location) }}
{{- end }}
{{- $_ := set $locations $location (dict "nodes" $nodes) }}
{{- end }}
{{- if not $locations }}
{{- fail "no location is known: name storage-proxies of this release in storageProxies, others in locations.elsewhere, or set locations.fromConfig" }}
{{- end }}
- {name: ENTREPOT_LOCATIONS, value: {{ toJson $locations | quote }}}
{{- end }}
{{- end -}}

{{- define "entrepot.podName" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end -}}

{{/*
gRPC processes are probed by whether they take connections. Kubernetes' own gRPC probe shows no certificate, and is
refused. Nor should more be asked: a storage-proxy whose store is away says so to gateways by grpc.health.v1, and would
not get better by being killed, or by losing its name in the DNS.
*/}}
{{- define "entrepot.tcpProbes" -}}
startupProbe:
  tcpSocket: {port: grpc}
  periodSeconds: 2
  # A worker listens once the database is migrated, however long that takes.
  failureThreshold: 300
livenessProbe:
  tcpSocket: {port: grpc}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  tcpSocket: {port: grpc}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

{{- define "entrepot.grpcVolume" -}}
- name: grpc
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end -}}
