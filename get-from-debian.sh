#!/bin/sh
# Gets what is missing here from Debian: installs it as root, and otherwise says in one line what to install.
# Asks nothing of the network when all is there.
#
#   get-from-debian.sh PYTHON          this Python, and what it needs to make virtual environments
#   get-from-debian.sh PYTHON LIST     and the programs and libraries in a list such as tests/debian-packages.txt
set -eu
# Programs of administrators are used by tests, and not on everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin
missing='' packages=''

fail() {
    echo "$1" >&2
    exit 1
}

# miss WHAT PACKAGE
miss() {
    missing="$missing${missing:+, }$1" packages="$packages $2"
}

look_for_python() {
    if ! command -v "$1" >/dev/null; then
        [ "$1" = python3 ] && command -v apt-get >/dev/null || fail "Missing here: $1. JobEngine needs Python 3.11 or newer."
        miss "$1" "python3 python3-venv"
        return
    fi
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$1 is Python $version: JobEngine needs 3.11 or newer."
    "$1" -c 'import ensurepip, venv' 2>/dev/null || miss "venv of Python $version" "python$version-venv"
}

has_library() {
    case $(ldconfig -p) in *[[:space:]]"$1 "*) ;; *) false ;; esac
}

look_for_programs() {
    while read -r program package _; do
        case $program in
            '' | '#'*) continue ;;
            *.so.*) has_library "$program" ;;
            *) command -v "$program" >/dev/null ;;
        esac || miss "$program" "$package"
    done <"$1"
}

get() {
    command -v apt-get >/dev/null || fail "Missing here: $missing. Install it, and try again."
    [ "$(id -u)" = 0 ] || fail "Missing here: $missing. As root: apt-get install --no-install-recommends$packages"
    echo "Missing here: $missing. Installing from Debian:$packages"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086  # the name of a package has no spaces
    apt-get install -y -qq --no-install-recommends $packages >/dev/null
}

look_for_python "$1"
[ $# = 1 ] || look_for_programs "$2"
[ -z "$missing" ] || get
