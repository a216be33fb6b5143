{{- define "dovecote.labels" -}}
app.kubernetes.io/name: dovecote
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* (dict "ctx" . "role" "gateway"): what a Service or a policy selects. */}}
{{- define "dovecote.selector" -}}
app.kubernetes.io/name: dovecote
app.kubernetes.io/instance: {{ .ctx.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{/* (dict "ctx" . "image" .Values.image.runner) */}}
{{- define "dovecote.image" -}}
{{- $tag := .image.tag | default .ctx.Chart.AppVersion -}}
{{- printf "%s%s%s" .ctx.Values.image.registry .image.repository (ternary (printf "@%s" .image.digest) (printf ":%s" $tag) (ne .image.digest "")) -}}
{{- end }}

{{- define "dovecote.pod-security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "dovecote.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* The tokens that one of our processes shows another: one file per audience. (dict "audiences" (list …)) */}}
{{- define "dovecote.tokens-volume" -}}
name: tokens
projected:
  sources:
    {{- range .audiences }}
    - serviceAccountToken: { audience: {{ . }}, path: {{ . }}, expirationSeconds: 3600 }
    {{- end }}
{{- end }}

{{- define "dovecote.pod-common" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
enableServiceLinks: false
securityContext: {{ include "dovecote.pod-security" . | nindent 2 }}
{{- end }}

{{- define "dovecote.health" -}}
startupProbe: { httpGet: { path: /healthz, port: health }, periodSeconds: 1, failureThreshold: 60 }
livenessProbe: { httpGet: { path: /healthz, port: health }, periodSeconds: 10, failureThreshold: 3 }
readinessProbe: { httpGet: { path: /readyz, port: health }, periodSeconds: 2, failureThreshold: 2 }
{{- end }}

{{- define "dovecote.secrets-rule" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
  {{- with .Values.secrets.names }}
  resourceNames: {{ toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* (dict "ctx" . "role" "gateway" "rules" "…yaml…"): ServiceAccount, Role and binding of one role. */}}
{{- define "dovecote.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .ctx.Release.Name }}-{{ .role }}
  labels: {{ include "dovecote.labels" .ctx | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .ctx.Release.Name }}-{{ .role }}
  labels: {{ include "dovecote.labels" .ctx | nindent 4 }}
rules:
{{ .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .ctx.Release.Name }}-{{ .role }}
  labels: {{ include "dovecote.labels" .ctx | nindent 4 }}
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ .ctx.Release.Name }}-{{ .role }} }
subjects: [{ kind: ServiceAccount, name: {{ .ctx.Release.Name }}-{{ .role }} }]
{{- end }}

{{/* Where the cluster's DNS answers, as the controller's --dns wants it. */}}
{{- define "dovecote.dns-peers" -}}
{{- with .Values.networkPolicy.dns -}}
- namespaceLabels: {{ toJson .namespaceLabels }}
  podLabels: {{ toJson .podLabels }}
{{- range .cidrs }}
- cidr: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where platforms reach the gateway; empty when only their operators know. */}}
{{- define "dovecote.public-url" -}}
{{- with .Values.gateway -}}
{{- if .publicUrl -}}
{{ .publicUrl }}
{{- else if .ingress.enabled -}}
{{ ternary "https" "http" (gt (len .ingress.tls) 0) }}://{{ .ingress.host }}
{{- end -}}
{{- end -}}
{{- end }}
