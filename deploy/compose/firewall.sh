#!/bin/sh
# Closes the way from containers to the host and beyond it, which the networks of published ports leave open. Needs root and iptables.
#
#   firewall.sh [remove]      LUXOR_SUBNET is the first two numbers of the networks (10.231)
#
# Answers are not touched: only connections that a container begins are refused. Rules of iptables are gone after a restart of the
# machine unless the system keeps them (iptables-persistent, or this script in a unit that runs after the engine).
set -eu
from=${LUXOR_SUBNET:-10.231}.0.0/16

rule() { # rule <chain> <matches…>: there once, or not at all
    chain=$1
    shift
    while iptables --wait --delete "$chain" "$@" 2>/dev/null; do :; done
    [ "$action" = remove ] || iptables --wait --insert "$chain" "$@"
}

action=${1:-add}
case $action in
add | remove) ;;
*)
    echo "firewall.sh knows 'remove', and nothing else: $action" >&2
    exit 2
    ;;
esac
command -v iptables >/dev/null || { echo "iptables is not installed. Refuse new connections from $from to the host and to other networks by your own firewall." >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || { echo "Only root may set rules: sudo make compose-firewall" >&2; exit 1; }
iptables --wait --list DOCKER-USER --numeric >/dev/null 2>&1 || { echo "iptables has no chain DOCKER-USER, so the engine does not use it. Refuse new connections from $from to the host and to other networks by your own firewall." >&2; exit 1; }

# To the host's own addresses, whichever service listens there.
rule INPUT --source "$from" --match conntrack --ctstate NEW --jump REJECT
# Through the host to anywhere else. Between containers the engine and the networks decide.
rule DOCKER-USER --source "$from" ! --destination "$from" --match conntrack --ctstate NEW --jump REJECT
echo "Connections from $from to this host and beyond it: $([ "$action" = remove ] && echo "as without Luxor" || echo refused)"
