{{/* Names and labels. */}}
{{- define "entrepot.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 26 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 26 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 26 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A location's name as Kubernetes takes names: it may have capitals, dots and underscores. */}}
{{- define "entrepot.locationName" -}}
{{- . | lower | replace "_" "-" | replace "." "-" | trunc 16 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pods of a part: dict "root" "part", and "location" for a storage-proxy. */}}
{{- define "entrepot.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- with .location }}
entrepot/location: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "entrepot.labels" -}}
{{ include "entrepot.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "entrepot.image" -}}
{{- $image := .Values.image -}}
{{- $repository := required "image.repository is missing: name the repository that you have pushed the image to" $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- define "entrepot.configSecret" -}}
{{- required "config.existingSecret is missing: name the Secret with config.yaml, which gateways, workers and the migration need" .Values.config.existingSecret -}}
{{- end -}}

{{/* The storage-proxies, complete: JSON of a mapping of locations to what storageProxy and storageProxies say together. */}}
{{- define "entrepot.storageProxies" -}}
{{- $all := dict -}}
{{- $names := dict -}}
{{- range $location, $own := .Values.storageProxies -}}
{{- $proxy := mergeOverwrite (deepCopy $.Values.storageProxy) (deepCopy (default dict $own)) -}}
{{- $short := include "entrepot.locationName" $location -}}
{{- if hasKey $names $short -}}
{{- fail (printf "storageProxies: %s and %s would both be called %s in Kubernetes; give each a release of its own" (get $names $short) $location $short) -}}
{{- end -}}
{{- $_ := set $names $short $location -}}
{{- $_ := set $proxy "fullname" (printf "%s-storage-%s" (include "entrepot.fullname" $) $short) -}}
{{- $_ := set $all $location $proxy -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* The Secret with a part's certificate: dict "root" "given" "made" "value". */}}
{{- define "entrepot.grpcSecret" -}}
{{- if .root.Values.certManager.enabled -}}
{{- if .given -}}
{{- fail (printf "%s stands beside certManager.enabled: remove the one or the other" .value) -}}
{{- end -}}
{{- printf "%s-grpc" .made -}}
{{- else -}}
{{- required (printf "%s is missing: name the Secret with ca.crt, tls.crt and tls.key (entrepot certs makes them), or let cert-manager make it: certManager.enabled" .value) .given -}}
{{- end -}}
{{- end -}}

{{/* In-cluster names of a headless Service's pods. */}}
{{- define "entrepot.serviceDomain" -}}
{{ .service }}.{{ .root.Release.Namespace }}.svc.{{ .root.Values.clusterDomain }}
{{- end -}}
