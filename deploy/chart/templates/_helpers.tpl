{{- /* Which parts there are, their ports and who dials whom is read from map.yaml, the file that Compose is made from too. */ -}}

{{- define "luxor.map" -}}
{{ .Files.Get "map.yaml" }}
{{- end -}}

{{- define "luxor.services" -}}
services: [ingestion, risk, revenue, clearance, statistics]
{{- end -}}

{{- /* A part's name in the cluster: <release>-<part>. Call with (list $ "clearance"). */ -}}
{{- define "luxor.name" -}}
{{- $root := index . 0 -}}
{{- if gt (len $root.Release.Name) 30 }}{{ fail "The release's name has more than 30 characters; names made from it would be too long. Choose a shorter one." }}{{ end -}}
{{- printf "%s-%s" $root.Release.Name (index . 1) -}}
{{- end -}}

{{- /* What selects the pods of a part; never changes in the life of a release. */ -}}
{{- define "luxor.selector" -}}
app.kubernetes.io/name: luxor
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- /* The same in one line. */ -}}
{{- define "luxor.selected" -}}
{{ include "luxor.selector" . | fromYaml | toJson }}
{{- end -}}

{{- define "luxor.labels" -}}
{{ include "luxor.selector" . }}
{{ include "luxor.common" (index . 0) }}
{{- end -}}

{{- define "luxor.common" -}}
app.kubernetes.io/part-of: luxor
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "luxor.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* A value as text. Helm has every number as a float, and would write 8388608 as 8.388608e+06. */ -}}
{{- define "luxor.text" -}}
{{- if and (kindIs "float64" .) (eq (. | int64 | float64) .) }}{{ . | int64 }}{{ else }}{{ . | toString }}{{ end -}}
{{- end -}}

{{- /* The name under which a service is dialled from inside, one address for each replica. */ -}}
{{- define "luxor.host" -}}
{{ include "luxor.name" . }}.{{ (index . 0).Release.Namespace }}.svc
{{- end -}}

{{- define "luxor.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.podSecurity.user | int64 }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "luxor.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* What the pods of a service and of its migration share. */ -}}
{{- define "luxor.pod" -}}
{{- $root := index . 0 -}}
serviceAccountName: {{ include "luxor.name" . }}
automountServiceAccountToken: false
# A Service's variables (LUXOR_RISK_PORT=tcp://…) would be taken for settings.
enableServiceLinks: false
securityContext: {{- include "luxor.podSecurity" $root | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets: {{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- /* The environment of a service, of its schema step and of its migration: they read the same settings. */ -}}
{{- define "luxor.env" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $own := index $root.Values.services $service -}}
{{- $upper := upper $service -}}
{{- $env := dict
  "LUXOR_HOST" $root.Values.bind
  "LUXOR_DEPLOYMENT" $root.Values.deployment
  "LUXOR_DATA_DIR" "/tmp"
  "LUXOR_TLS_DIR" "/etc/luxor/tls"
  (printf "LUXOR_%s_DATABASE_URL_FILE" $upper) "/etc/luxor/database/url"
  "LUXOR_MIGRATE" "false"
  "LUXOR_DRAIN_SECONDS" $root.Values.drain.seconds
  "LUXOR_DRAIN_PAUSE_SECONDS" $root.Values.drain.pauseSeconds
  "LUXOR_TRACE_RATIO" $root.Values.traces.ratio
  "LUXOR_SLOW_MILLIS" $root.Values.traces.slowMillis
  "LUXOR_LOG_LEVEL" $root.Values.logLevel
-}}
{{- if $own.kept }}{{ $_ := set $env (printf "LUXOR_%s_DATA_DIR" $upper) "/var/lib/luxor" }}{{ end -}}
{{- if eq (include "luxor.databaseCa" $root) "true" }}{{ $_ := set $env "LUXOR_DATABASE_CA" "/etc/luxor/database/ca.crt" }}{{ end -}}
{{- with $root.Values.traces.endpoint }}
{{- $_ := set $env "OTEL_EXPORTER_OTLP_ENDPOINT" . -}}
{{- $_ := set $env "OTEL_EXPORTER_OTLP_INSECURE" (hasPrefix "http://" . | toString) -}}
{{- end -}}
{{- $map := include "luxor.map" $root | fromYaml -}}
{{- range $map.connections }}
{{- if and (has $service .from) (eq .port "grpc") }}
{{- $port := (index $map.parts .to).ports.grpc -}}
{{- $_ := set $env (printf "LUXOR_%s_TARGET" (upper .to)) (printf "dns:///%s:%v" (include "luxor.host" (list $root .to)) $port) -}}
{{- end }}
{{- end }}
{{- $env = merge (deepCopy ($own.settings | default dict)) (deepCopy ($root.Values.settings | default dict)) $env -}}
{{- range $name := keys $env | sortAlpha }}
- {name: {{ $name }}, value: {{ include "luxor.text" (index $env $name) | quote }}}
{{- end }}
{{- end -}}

{{- define "luxor.databaseCa" -}}
{{- if or (eq .Values.stores.by "cnpg") .Values.stores.url.ca -}}true{{- else -}}false{{- end -}}
{{- end -}}

{{- define "luxor.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: database, mountPath: /etc/luxor/database, readOnly: true}
{{- end -}}

{{- /* /tmp, and the database's address and CA from the operator's Secrets or from one that was made beforehand. */ -}}
{{- define "luxor.volumes" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
- name: tmp
  emptyDir: {sizeLimit: {{ $root.Values.tmpSize }}}
- name: database
  projected:
    defaultMode: 0440
    sources:
{{- if eq $root.Values.stores.by "cnpg" }}
{{- $cluster := include "luxor.name" (list $root (printf "%s-store" $service)) }}
      - secret: {name: {{ $cluster }}-app, items: [{key: uri, path: url}]}
      - secret: {name: {{ $cluster }}-ca, items: [{key: ca.crt, path: ca.crt}]}
{{- else }}
{{- $secret := (index $root.Values.services $service).store.secret | default (include "luxor.name" (list $root (printf "%s-database" $service))) }}
      - secret:
          name: {{ $secret }}
          items:
            - {key: url, path: url}
{{- if $root.Values.stores.url.ca }}
            - {key: ca.crt, path: ca.crt}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Peers of a part for a NetworkPolicy, as a list; empty where values name nobody. Call with (list $ "clearance" $map). */ -}}
{{- define "luxor.peers" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- $kind := "outside" -}}
{{- if ne $part "outside" }}{{ $kind = (index (index . 2).parts $part).kind }}{{ end -}}
{{- $policies := $root.Values.networkPolicies -}}
{{- if or (eq $kind "service") (eq $kind "caller") }}
- podSelector: {matchLabels: {{ include "luxor.selected" (list $root $part) }}}
{{- else if and (eq $kind "store") (eq $root.Values.stores.by "cnpg") }}
- podSelector: {matchLabels: {cnpg.io/cluster: {{ include "luxor.name" (list $root $part) }}}}
{{- else if eq $kind "store" }}
{{- with (index $root.Values.services (trimSuffix "-store" $part)).store.peers }}{{ toYaml . | nindent 0 }}{{ end }}
{{- else if eq $part "outside" }}
{{- with $policies.outside }}{{ toYaml . | nindent 0 }}{{ end }}
{{- else if eq $part "collector" }}
{{- with $policies.collector }}{{ toYaml . | nindent 0 }}{{ end }}
{{- else if eq $part "prometheus" }}
{{- with $policies.prometheus }}{{ toYaml . | nindent 0 }}{{ end }}
{{- end }}
{{- end -}}
