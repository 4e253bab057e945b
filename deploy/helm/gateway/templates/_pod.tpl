{{/* The pods, the same in a Deployment and in a StatefulSet. */}}
{{- define "gateway.pod" -}}
{{- $config := include "gateway.config" . | fromYaml -}}
metadata:
  labels:
    {{- include "gateway.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: gateway
    checksum/config: {{ include "gateway.configChecksum" . }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "gateway.serviceAccount" . }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "gateway.gracePeriod" . }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.topologySpread }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ toYaml . | nindent 6 | trim }}
      labelSelector:
        matchLabels: {{- include "gateway.selector" $ | nindent 10 }}
      matchLabelKeys: [{{ ternary "controller-revision-hash" "pod-template-hash" $.Values.journal.enabled }}]
    {{- end }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: gateway
      image: {{ include "gateway.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/gateway/config/gateway.yaml]
      {{- with .Values.extraEnv }}
      env: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: http, containerPort: {{ $config.server.port }}, protocol: TCP}
        - {name: metrics, containerPort: {{ $config.server.metrics_port }}, protocol: TCP}
      # Alive is who answers at all; whether alerts can be taken, with Redis and Kubernetes as they are, is readiness.
      startupProbe:
        httpGet: {{- include "gateway.probe" (list $config "/healthz") | nindent 10 }}
        periodSeconds: 1
        failureThreshold: 60
        timeoutSeconds: 3
      livenessProbe:
        httpGet: {{- include "gateway.probe" (list $config "/healthz") | nindent 10 }}
        periodSeconds: 10
        failureThreshold: 3
        timeoutSeconds: 5
      readinessProbe:
        httpGet: {{- include "gateway.probe" (list $config "/readyz") | nindent 10 }}
        periodSeconds: 3
        failureThreshold: 2
        timeoutSeconds: 3
      {{- with .Values.preStopSeconds }}
      # New connections still come until every node knows of the end; they are served as before.
      lifecycle:
        preStop:
          sleep: {seconds: {{ . }}}
      {{- end }}
      {{- with .Values.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        # Whole folders, so that a change arrives: what is mounted with `subPath` stays as it was.
        - {name: config, mountPath: /etc/gateway/config, readOnly: true}
        {{- range include "gateway.secrets" . | fromYamlArray }}
        - {name: {{ .volume }}, mountPath: /etc/gateway/{{ .volume }}, readOnly: true}
        {{- end }}
        - {name: state, mountPath: /var/lib/gateway}
        - {name: tmp, mountPath: /tmp}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "gateway.fullname" . }}}
    {{- range include "gateway.secrets" . | fromYamlArray }}
    - name: {{ .volume }}
      secret:
        secretName: {{ .secret }}
        defaultMode: 0440
        items: {{- toYaml .items | nindent 10 }}
    {{- end }}
    {{- if not .Values.journal.enabled }}
    - name: state
      emptyDir: {sizeLimit: 64Mi}
    {{- end }}
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "gateway.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "gateway.probe" -}}
path: {{ index . 1 }}
port: http
scheme: {{ ternary "HTTPS" "HTTP" (ne (dig "server" "tls" "cert_file" "" (index . 0)) "") }}
{{- end -}}

{{/* The mounted secrets: a folder of /etc/gateway, the Secret, and which of its keys is which file. */}}
{{- define "gateway.secrets" -}}
{{- with include "gateway.tokensSecret" . }}
- {volume: tokens, secret: {{ . }}, items: [{key: {{ $.Values.auth.tokens.key }}, path: tokens}]}
{{- end }}
{{- with include "gateway.usersSecret" . }}
- {volume: users, secret: {{ . }}, items: [{key: {{ $.Values.auth.users.key }}, path: users}]}
{{- end }}
{{- with .Values.auth.jwtKey.existingSecret }}
- {volume: jwt, secret: {{ . }}, items: [{key: {{ $.Values.auth.jwtKey.key }}, path: token.key}]}
{{- end }}
{{- with .Values.tls.existingSecret }}
- {volume: tls, secret: {{ . }}, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}
{{- end }}
{{- with .Values.tls.clientCA.existingSecret }}
- {volume: client-ca, secret: {{ . }}, items: [{key: {{ $.Values.tls.clientCA.key }}, path: ca.crt}]}
{{- end }}
{{- with .Values.redis.credentials }}
{{- if .existingSecret }}
- volume: redis
  secret: {{ .existingSecret }}
  items:
    {{- with .usernameKey }}
    - {key: {{ . }}, path: username}
    {{- end }}
    {{- with .passwordKey }}
    - {key: {{ . }}, path: password}
    {{- end }}
{{- end }}
{{- end }}
{{- with .Values.redis.ca.existingSecret }}
- {volume: redis-ca, secret: {{ . }}, items: [{key: {{ $.Values.redis.ca.key }}, path: ca.crt}]}
{{- end }}
{{- end -}}
