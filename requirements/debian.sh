#!/usr/bin/env bash
# Installs the system tools a lab of network namespaces needs, and only those that are missing, each named.
set -eu

missing=""
need() { # COMMAND PACKAGE WHAT-FOR
    if PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null; then return; fi
    missing="$missing $2"
    echo "Installing Debian package $2 ($3)"
}

need ip iproute2 "makes the lab's namespaces, bridges and routes"
need iptables iptables "drops packets on the lab's wires"
need nft nftables "shows and sets packet filters"
need iperf3 iperf3 "measures throughput between workloads"
need tcpdump tcpdump "captures what is on the underlay"
need ethtool ethtool "sets the offloads of the lab's wires"
need ping iputils-ping "pings between workloads"
need busybox busybox-static "is all there is in the containers of tests/docker"
need sysctl procps "reads and sets kernel parameters of a namespace"
need mkfs.ext4 e2fsprogs "makes the disk that becomes read-only"

if [ -z "$missing" ]; then exit 0; fi
if ! command -v apt-get >/dev/null; then
    echo "meshnet: this machine has no apt-get, and these tools are missing:$missing (Debian's names)." >&2
    echo "  fix: install them with your distribution's package manager and run this again." >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of package names
{ apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; }; } || {
    echo "meshnet: apt-get could not install$missing." >&2
    echo "  why: it says so above; usually there is no way to the mirrors." >&2
    echo "  fix: apt-get update && apt-get install$missing" >&2
    exit 1
}
