#!/bin/sh
# Starts PostgreSQL for one service or several, in any image that has its programs in PATH or below /usr/lib/postgresql.
#
#   STORE_SERVICES   whose databases it holds: "ingestion" or "ingestion risk revenue clearance statistics"
#   STORE_LISTEN     names of its own addresses that it listens on, separated by commas
#   /luxor/data      the volume of the data; a cluster is made at the first start
#   /run/luxor       tls/tls.crt, tls/tls.key and a file password-<service> for each service, as `luxor prepare` writes them
set -eu
umask 077

DATA=/luxor/data
CLUSTER=$DATA/cluster
SECRETS=/run/luxor
# PostgreSQL needs room to recover and for a first WAL segment. Without it, it would end, be started, and end again.
SPACE_KIB_MIN=65536

say() { # say <level> <reason> <sentence>: a line of the form that the services write
    printf '{"time":"%s","level":"%s","service":"store","trace_id":"","reason":"%s","message":"%s"}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%S.000+00:00)" "$1" "$2" "$3" >&2
}

fail() {
    say error "$1" "$2"
    exit 78
}

find_programs() { # the directory of postgres and initdb: that of PATH, else the newest installed
    for place in $(printf '%s' "$PATH" | tr ':' ' ') $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -rV); do
        if [ -x "$place/postgres" ] && [ -x "$place/initdb" ]; then
            printf '%s' "$place"
            return
        fi
    done
    fail NO_POSTGRESQL "This image has no postgres and initdb in PATH or below /usr/lib/postgresql. Set LUXOR_POSTGRES_IMAGE to one of PostgreSQL 15 or newer."
}

passwords() { # what the passwords are now, without telling them
    for service in $STORE_SERVICES; do cat "$SECRETS/password-$service"; done | sha256sum | cut -d' ' -f1
}

statements() { # SQL that brings users and databases to what they should be; single-user mode takes a statement a line
    for service in $STORE_SERVICES; do
        password=$(tr -d '\n' <"$SECRETS/password-$service" | sed "s/'/''/g")
        if [ "$1" = make ]; then
            printf "create role luxor_%s login password '%s'\n" "$service" "$password"
            printf 'create database luxor_%s owner luxor_%s\n' "$service" "$service"
            printf 'revoke all on database luxor_%s from public\n' "$service"
        else
            printf "alter role luxor_%s password '%s'\n" "$service" "$password"
        fi
    done
}

single() { # single <cluster>: runs the statements of standard input without opening a door
    "$BIN/postgres" --single -D "$1" -c config_file="$1/postgresql.conf" -c max_locks_per_transaction=2048 \
        -c password_encryption=scram-sha-256 -c log_min_error_statement=panic postgres >/dev/null
}

wait_for_space() {
    told=
    while free=$(df -Pk "$DATA" | awk 'NR == 2 { print $4 }'); [ "$free" -lt "$SPACE_KIB_MIN" ]; do
        [ -n "$told" ] || say error DISK_FULL "$DATA has $((free / 1024)) MiB free and PostgreSQL needs $((SPACE_KIB_MIN / 1024)) to start. Make space or enlarge the volume; it starts by itself then."
        told=yes
        sleep 1
    done
}

stamp() { stat -c '%i %Y' "$SECRETS/tls/tls.key" "$SECRETS/tls/tls.crt" 2>/dev/null || true; }

reload_when_renewed() { # reload_when_renewed <pid>: has the server read its certificate again where the files are other ones
    seen=$(stamp)
    while sleep "${STORE_LOOK_SECONDS:-60}"; do
        found=$(stamp)
        [ "$found" != "$seen" ] || continue
        seen=$found
        say info CERTIFICATE_RENEWED "The certificate was made anew; PostgreSQL reads it for new connections."
        kill -HUP "$1" || return 0
    done
}

[ "$(id -u)" -ne 0 ] || fail IS_ROOT "PostgreSQL does not run as root. Leave the user of compose.yaml as it is."
[ -w "$DATA" ] || fail NO_DATA_VOLUME "$DATA cannot be written by user $(id -u). The job \`prepare\` makes the volume; let it run first."
for file in tls/tls.crt tls/tls.key; do
    [ -r "$SECRETS/$file" ] || fail NO_SECRETS "$SECRETS/$file cannot be read. The job \`prepare\` writes it; let it run first."
done

BIN=$(find_programs)
MAJOR=$("$BIN/postgres" --version | sed 's/.*PostgreSQL) \([0-9]*\).*/\1/')
wait_for_space

if [ -s "$CLUSTER/PG_VERSION" ]; then
    THEIRS=$(cat "$CLUSTER/PG_VERSION")
    [ "$THEIRS" = "$MAJOR" ] || fail OTHER_MAJOR_VERSION "The data were made by PostgreSQL $THEIRS and this image has $MAJOR. A major version cannot read another's data: set LUXOR_POSTGRES_IMAGE to one of $THEIRS, or bring the data over with pg_dump and pg_restore."
    if [ "$(cat "$CLUSTER/luxor-passwords" 2>/dev/null)" != "$(passwords)" ]; then
        say info PASSWORDS_CHANGED "Other passwords than at the last start; they are put in force."
        statements change | single "$CLUSTER"
        passwords >"$CLUSTER/luxor-passwords"
    fi
else
    # Beside its place and moved there whole, so that an interruption leaves no half of a cluster.
    say info FIRST_START "Making a cluster of PostgreSQL $MAJOR for: $STORE_SERVICES"
    rm -rf "$CLUSTER.new"
    "$BIN/initdb" --pgdata="$CLUSTER.new" --username=luxor --encoding=UTF8 --locale=C --data-checksums \
        --no-sync --auth-local=trust --auth-host=reject >/dev/null
    statements make | single "$CLUSTER.new"
    passwords >"$CLUSTER.new/luxor-passwords"
    printf "include '/luxor/store.conf'\n" >>"$CLUSTER.new/postgresql.conf"
    sync
    mv "$CLUSTER.new" "$CLUSTER"
fi

# This shell becomes PostgreSQL under the number that it has.
reload_when_renewed $$ &
exec "$BIN/postgres" -D "$CLUSTER" -c listen_addresses="$STORE_LISTEN"
