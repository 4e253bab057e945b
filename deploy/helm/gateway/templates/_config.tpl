{{/* The gateway's configuration, and what follows from it. */}}

{{- define "gateway.tokensSecret" -}}
{{- default (ternary (printf "%s-senders" (include "gateway.fullname" .)) "" (ne .Values.auth.tokens.value "")) .Values.auth.tokens.existingSecret -}}
{{- end -}}

{{- define "gateway.usersSecret" -}}
{{- default (ternary (printf "%s-senders" (include "gateway.fullname" .)) "" (ne .Values.auth.users.value "")) .Values.auth.users.existingSecret -}}
{{- end -}}

{{- define "gateway.redisURL" -}}
{{- $name := printf "%s-redis" (include "gateway.fullname" .) -}}
{{- if eq .Values.redis.bundled.mode "single" -}}
redis://{{ $name }}:6379/0
{{- else if eq .Values.redis.bundled.mode "sentinel" -}}
{{- $hosts := list -}}
{{- range $number := until 3 -}}
{{- $hosts = append $hosts (printf "%s-%d.%s:26379" $name $number $name) -}}
{{- end -}}
redis+sentinel://{{ join "," $hosts }}/mymaster
{{- else -}}
{{- .Values.redis.url -}}
{{- end -}}
{{- end -}}

{{/* What the values say, laid over what the chart knows; YAML. */}}
{{- define "gateway.config" -}}
{{- $own := deepCopy .Values.config -}}
{{- $auth := dict -}}
{{- $modes := list -}}
{{- if include "gateway.tokensSecret" . -}}
{{- $_ := set $auth "tokens_file" "/etc/gateway/tokens/tokens" -}}
{{- $modes = append $modes "bearer" -}}
{{- end -}}
{{- if include "gateway.usersSecret" . -}}
{{- $_ := set $auth "users_file" "/etc/gateway/users/users" -}}
{{- $modes = append $modes "basic" -}}
{{- end -}}
{{- if .Values.auth.jwtKey.existingSecret -}}
{{- $_ := set $auth "jwt" (dict "key_file" "/etc/gateway/jwt/token.key") -}}
{{- $modes = append $modes "jwt" -}}
{{- end -}}
{{- $modes = default $modes (dig "auth" "mode" "" $own) -}}
{{- if kindIs "string" $modes -}}{{- $modes = list $modes -}}{{- end -}}
{{- if has "jwt" $modes -}}
{{- $_ := set $auth "jwt" (merge (dict "revocations_file" "/var/lib/gateway/revoked") (default dict $auth.jwt)) -}}
{{- end -}}
{{- $server := dict "host" "0.0.0.0" "port" 8080 "metrics_port" 9090 -}}
{{- $tls := dict -}}
{{- if .Values.tls.existingSecret -}}
{{- $tls = dict "cert_file" "/etc/gateway/tls/tls.crt" "key_file" "/etc/gateway/tls/tls.key" -}}
{{- end -}}
{{- if .Values.tls.clientCA.existingSecret -}}
{{- $_ := set $tls "client_ca_file" "/etc/gateway/client-ca/ca.crt" -}}
{{- end -}}
{{- if $tls -}}{{- $_ := set $server "tls" $tls -}}{{- end -}}
{{- $redis := dict "url" (include "gateway.redisURL" .) -}}
{{- with .Values.redis.credentials -}}
{{- if and .existingSecret .usernameKey -}}{{- $_ := set $redis "username_file" "/etc/gateway/redis/username" -}}{{- end -}}
{{- if and .existingSecret .passwordKey -}}{{- $_ := set $redis "password_file" "/etc/gateway/redis/password" -}}{{- end -}}
{{- end -}}
{{- if .Values.redis.ca.existingSecret -}}
{{- $_ := set $redis "tls" (dict "ca_file" "/etc/gateway/redis-ca/ca.crt") -}}
{{- end -}}
{{- $made := dict "server" $server "auth" $auth "redis" $redis "kubernetes" (dict "fallback_namespace" .Release.Namespace) -}}
{{- if .Values.journal.enabled -}}
{{- $_ := set $made "journal" (dict "path" "/var/lib/gateway/journal") -}}
{{- end -}}
{{- $whole := mergeOverwrite $made $own -}}
{{- if $modes -}}{{- $_ := set $whole.auth "mode" $modes -}}{{- end -}}
{{- toYaml $whole -}}
{{- end -}}

{{/* Of all that needs a restart: what a running gateway reads again (docs/decisions/022) replaces no pods. */}}
{{- define "gateway.configChecksum" -}}
{{- $config := include "gateway.config" . | fromYaml -}}
{{- $classify := omit (default dict $config.classify) "priority" -}}
{{- omit (set $config "classify" $classify) "policy" | toJson | sha256sum -}}
{{- end -}}

{{/* Whole seconds of a duration as the configuration has it, like 25s or 1m30s, rounded up. */}}
{{- define "gateway.seconds" -}}
{{- $units := dict "us" 0.000001 "ms" 0.001 "s" 1 "m" 60 "h" 3600 "d" 86400 -}}
{{- $total := 0.0 -}}
{{- range regexFindAll "[0-9.]+(us|ms|s|m|h|d)" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $total = addf $total (mulf (trimSuffix $unit . | float64) (get $units $unit)) -}}
{{- end -}}
{{- ceil $total | int -}}
{{- end -}}

{{/* A pod goes on for preStopSeconds, has shutdown_timeout to finish, and some for what the kubelet takes. */}}
{{- define "gateway.gracePeriod" -}}
{{- $config := include "gateway.config" . | fromYaml -}}
{{- add .Values.preStopSeconds (include "gateway.seconds" (dig "server" "shutdown_timeout" "25s" $config)) 5 -}}
{{- end -}}

{{/* Ports of Redis that a URL names, and its usual one, which Sentinels and clusters lead to; JSON. */}}
{{- define "gateway.redisPorts" -}}
{{- $config := include "gateway.config" . | fromYaml -}}
{{- $hosts := regexReplaceAll "^[^:]*://(.*@)?([^/?]*).*$" $config.redis.url "${2}" -}}
{{- $ports := list 6379 -}}
{{- range regexFindAll ":[0-9]+" $hosts -1 -}}
{{- $ports = append $ports (trimPrefix ":" . | int) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/* What cannot work is said before anything is installed. */}}
{{- define "gateway.check" -}}
{{- $config := include "gateway.config" . | fromYaml -}}
{{- if not $config.redis.url -}}
{{- fail "redis.url: name the Redis to use, or set redis.bundled.mode to single to try it out" -}}
{{- end -}}
{{- if and .Values.redis.url (ne .Values.redis.bundled.mode "none") -}}
{{- fail "redis.url and redis.bundled.mode: one Redis or the other; leave one of them out" -}}
{{- end -}}
{{- if and (not (without (default list $config.auth.mode) "none")) (not $config.auth.allow_anonymous) -}}
{{- fail "auth: nobody could post alerts; set auth.tokens.existingSecret, another mode in config.auth, or config.auth.allow_anonymous to true" -}}
{{- end -}}
{{- if and (has "mtls" (default list $config.auth.mode)) (not (dig "server" "tls" "client_ca_file" "" $config)) -}}
{{- fail "tls.clientCA.existingSecret: mode mtls needs it, and tls.existingSecret" -}}
{{- end -}}
{{- if and .Values.tls.clientCA.existingSecret (not .Values.tls.existingSecret) -}}
{{- fail "tls.existingSecret: tls.clientCA needs it; certificates of clients are shown over TLS" -}}
{{- end -}}
{{- if and .Values.journal.enabled .Values.autoscaling.enabled -}}
{{- fail "journal.enabled and autoscaling.enabled: a replica that is scaled away leaves its journal behind; choose one of them" -}}
{{- end -}}
{{- end -}}
