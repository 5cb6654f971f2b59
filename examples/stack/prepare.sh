#!/bin/sh
# Makes the data directories of the example stack: a fresh PostgreSQL cluster and an nginx configuration.
set -eu
cd "$(dirname "$0")"
data=${STACK_DATA:-data}
bin=${POSTGRES_BIN:-/usr/lib/postgresql/15/bin}
mkdir -p "$data/redis" "$data/nginx/html"
echo 'the stack answers' > "$data/nginx/html/index.html"
cat > "$data/nginx/nginx.conf" <<CONF
pid nginx.pid;
events {}
http {
    access_log /dev/stdout;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server { listen 127.0.0.1:${HTTP_PORT:-8090}; root html; }
}
CONF
[ -s "$data/postgres/PG_VERSION" ] && exit 0
mkdir -p "$data/postgres"
chmod 700 "$data/postgres"
if [ "$(id -u)" = 0 ]; then
    chown postgres "$data/postgres"
    exec runuser -u postgres -- "$bin/initdb" -D "$data/postgres" -U postgres -A trust --no-sync > "$data/initdb.log"
fi
exec "$bin/initdb" -D "$data/postgres" -U postgres -A trust --no-sync > "$data/initdb.log"
