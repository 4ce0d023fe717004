{{- define "shop.password" -}}
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: database, key: password}}
{{- end -}}

{{- define "shop.database" -}}
- name: DATABASE
  value: host=database user=postgres dbname=postgres connect_timeout=10
{{ include "shop.password" . }}
{{- end -}}
