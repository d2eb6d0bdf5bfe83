#!/bin/sh
# Gets what is missing here from Debian: installs it as root, and otherwise says in one line what to install.
# Asks nothing of the network when all is there.
#
#   get-from-debian.sh venv PYTHON     what a Python needs to make virtual environments
#   get-from-debian.sh programs LIST   the programs in a list such as tests/debian-packages.txt
set -eu
# Programs of administrators are used by tests, and not on everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin

fail() {
    echo "$1" >&2
    exit 1
}

# get WHAT PACKAGE...
get() {
    what=$1
    shift
    command -v apt-get >/dev/null || fail "Missing here: $what. Install it, and try again."
    [ "$(id -u)" = 0 ] || fail "Missing here: $what. Install it as root, and try again: apt-get install --no-install-recommends $*"
    echo "Missing here: $what. Installing from Debian: $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

get_venv() {
    command -v "$1" >/dev/null || fail "Missing here: $1. JobEngine needs Python 3.11 or newer."
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$1 is Python $version: JobEngine needs 3.11 or newer."
    "$1" -c 'import ensurepip, venv' 2>/dev/null || get "venv of Python $version" "python$version-venv"
}

get_programs() {
    programs='' packages=''
    while read -r program package _; do
        case $program in '' | '#'*) continue ;; esac
        command -v "$program" >/dev/null || programs="$programs $program" packages="$packages $package"
    done <"$1"
    # shellcheck disable=SC2086  # a name has no spaces
    [ -z "$programs" ] || get "${programs# }" $packages
}

"get_$1" "$2"
