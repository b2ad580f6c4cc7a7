#!/bin/sh
# Says what would go wrong, before `make compose-up` starts anything.
#
#   before-up.sh PROFILES [SERVICE…]      profiles with commas; services that have containers, whether they run or not
set -eu
profiles=,$1,
shift
here=$(dirname "$0")

fail() {
    echo "$*" >&2
    exit 1
}

has() { case $profiles in *",$1,"*) true ;; *) false ;; esac }

if has stores && has one-store; then
    fail "The profiles are ${profiles#,} but stores and one-store exclude each other: both would answer to the same names. Leave one in COMPOSE_PROFILES (deploy/compose/.env) or PROFILES."
fi
has stores || has one-store || fail "The profiles are '${profiles#,}' without a database. Add stores or one-store to COMPOSE_PROFILES (deploy/compose/.env) or PROFILES."

for service; do
    case $service in
    store)
        ! has stores || fail "This installation has one store for all services, and the profile is stores: five empty stores would answer in its place. Write COMPOSE_PROFILES=one-store into deploy/compose/.env; or, to begin anew with five stores, first remove what is there: make compose-down DATA=drop"
        ;;
    *-store)
        ! has one-store || fail "This installation has a store for each service, and the profile is one-store: one empty store would answer in their place. Write COMPOSE_PROFILES=stores into deploy/compose/.env; or, to begin anew with one store, first remove what is there: make compose-down DATA=drop"
        ;;
    esac
done

# Containers read these as users of their own; a checkout made with a strict umask keeps them out.
closed=$(find "$here" "$here/../prometheus" "$here/../grafana" \( -type f ! -perm -0004 -o -type d ! -perm -0005 \) ! -name '.*' 2>/dev/null | head -n 1)
[ -z "$closed" ] || fail "$closed cannot be read by the users that containers run as (the checkout was made with a strict umask). Open the configuration, which holds no secrets: chmod -R go+rX deploy/compose deploy/prometheus deploy/grafana"
