#!/bin/sh
# Prepare this checkout for `make`: system packages and the virtual environment.
#
#   scripts/setup.sh demo    libgearman, gearmand; .venv with the package
#   scripts/setup.sh dev     .venv with the package and the development tools
#   scripts/setup.sh test    everything: demo, dev, C compiler, gearman, php
#   scripts/setup.sh bench   test; matplotlib, valgrind; .venv-bench with the package
#                            installed as users do, and with another one to compare
#   scripts/setup.sh valgrind   test; valgrind
#
# Installs only what is missing and, when nothing is, calls neither apt nor pip.
#
#   PYTHON=python3.13        the Python to make .venv of (3.10 or newer)
set -eu

cd "$(dirname "$0")/.."
VENV=.venv
POLICY=/usr/sbin/policy-rc.d # asked by Debian before a package starts a service
MADE_POLICY=

say() { printf 'setup: %s\n' "$*"; }
die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# --- what is there -----------------------------------------------------------

is_python() { # PROGRAM: does it run, and is it new enough?
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

is_venv() { # one broken off in the making has no pip
    is_python "$VENV/bin/python" && "$VENV/bin/python" -c 'import pip' 2>/dev/null
}

makes_venvs() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_python() { # print the best Python: one that can also make environments
    if [ -n "${PYTHON:-}" ]; then
        is_python "$PYTHON" || die "PYTHON=$PYTHON is no Python of 3.10 or newer"
        echo "$PYTHON"
        return
    fi
    found=
    for python in python3 /usr/bin/python3 python3.14 python3.13 python3.12 \
        python3.11 python3.10; do
        is_python "$python" || continue
        if makes_venvs "$python"; then
            echo "$python"
            return
        fi
        found=${found:-$python}
    done
    echo "$found"
}

has_libgearman() { # can a program of this machine load it?
    "$1" - <<'PYTHON' 2>/dev/null
import ctypes, os, sys

names = ["libgearman.so.8", "libgearman.so", "libgearman.8.dylib", "libgearman.dylib"]
for folder in "/opt/homebrew/lib", "/usr/local/lib", "/opt/local/lib":
    names.append(folder + "/libgearman.8.dylib")
if os.environ.get("PYGEARMAN_LIBGEARMAN"):
    names = [os.environ["PYGEARMAN_LIBGEARMAN"]]
for name in names:
    try:
        ctypes.CDLL(name)
    except OSError:
        continue
    sys.exit(0)
sys.exit(1)
PYTHON
}

has_gearmand() {
    (PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/sbin" && have gearmand)
}

compiles() { # HEADER; the tests ask the same compiler and pkg-config
    flags=$(pkg-config --cflags gearmand 2>/dev/null) || flags=
    # shellcheck disable=SC2086 # one word, one flag
    echo "#include <$1>" | ${CC:-cc} -x c -fsyntax-only $flags - 2>/dev/null
}

has_php_gearman() { have php && php -m 2>/dev/null | grep -qix gearman; }

need() { MISSING="${MISSING:+$MISSING, }$1"; }

# Fill MISSING with the names of what MODE needs and the machine has not.
look() {
    MISSING=
    PY=$VENV/bin/python
    if ! is_venv; then
        PY=$(find_python)
        [ -n "$PY" ] || need python
        makes_venvs "${PY:-python3}" || need python-venv
    fi
    [ "$MODE" = dev ] && return
    has_libgearman "${PY:-python3}" || need libgearman
    has_gearmand || need gearmand
    [ "$MODE" = demo ] && return
    compiles stdio.h || need cc
    compiles libgearman/gearman.h || need headers
    have gearman || need gearman
    has_php_gearman || need php-gearman
    have stunnel || need stunnel
    have openssl || need openssl
    [ "$MODE" = test ] && return
    have valgrind || need valgrind
}

# --- installing it -----------------------------------------------------------

apt_has() { # can apt install it? (`apt-cache show` also knows mere mentions)
    apt-cache policy "$1" 2>/dev/null | grep 'Candidate:' | grep -qv '(none)'
}

packages() { # MANAGER: print its packages for all that is MISSING
    for thing in $MISSING; do
        case $1:${thing%,} in
        *:python) echo python3 ;;
        apt:python-venv)
            version=$("${PY:-python3}" -c \
                'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || :
            if [ -n "$version" ] && apt_has "python$version-venv"; then
                echo "python$version-venv"
            else
                echo python3-venv
            fi
            ;;
        *:python-venv) echo python3 ;;
        apt:libgearman)
            if apt_has libgearman8t64; then echo libgearman8t64; else echo libgearman8; fi
            ;;
        apt:gearmand) echo gearman-job-server ;;
        apt:gearman) echo gearman-tools ;;
        apt:headers) echo libgearman-dev ;;
        apt:php-gearman) echo php-cli php-gearman ;;
        apt:cc) echo gcc libc6-dev ;;
        dnf:libgearman) echo libgearman ;;
        dnf:gearmand | dnf:gearman) echo gearmand ;;
        dnf:headers) echo libgearman-devel ;;
        dnf:php-gearman) echo php-cli php-pecl-gearman ;;
        brew:libgearman | brew:gearmand | brew:gearman | brew:headers) echo gearman ;;
        brew:php-gearman) echo php ;; # and `pecl install gearman`
        *:valgrind) echo valgrind ;;
        apt:stunnel) echo stunnel4 ;;
        *:stunnel) echo stunnel ;;
        *:openssl) echo openssl ;;
        *:cc) echo gcc ;;
        esac
    done | tr ' ' '\n' | sort -u | paste -s -d ' ' -
}

give_up() { # REASON: name what is missing, and how to install it elsewhere
    die "missing on this machine: $MISSING" "$1" \
        "install it by hand and run make again:" \
        "  Debian, Ubuntu:  apt-get install $(packages apt)" \
        "  Fedora, EPEL:    dnf install $(packages dnf)" \
        "  macOS:           brew install $(packages brew)"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

can_be_root() {
    [ "$(id -u)" -eq 0 ] && return
    have sudo || return
    sudo -n true 2>/dev/null || [ -t 0 ] # without a terminal, nobody to ask
}

# Debian starts a service as soon as its package is there. Nothing here needs the
# system's gearmand: demo and tests start their own, on a free port.
forbid_services() {
    [ -e "$POLICY" ] && return
    MADE_POLICY=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

allow_services() {
    [ -z "$MADE_POLICY" ] || as_root rm -f "$POLICY"
    MADE_POLICY=
}

install_packages() {
    have apt-get || give_up "this script installs with apt-get only, which is not here"
    can_be_root || give_up "installing takes root, or sudo without a password"
    say "missing on this machine: $MISSING"
    as_root apt-get update -qq ||
        say "apt-get update failed; going on with the lists that are here"
    names=$(packages apt)
    say "apt-get install $names (no service is started)"
    trap allow_services EXIT
    trap 'exit 130' HUP INT TERM
    forbid_services
    # shellcheck disable=SC2086 # one word, one package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        --no-install-recommends -o DPkg::Lock::Timeout=120 $names </dev/null ||
        give_up "apt-get could not install it (its own words are above)"
    allow_services
    look
    [ -z "$MISSING" ] || give_up "apt-get installed $names, and still it is not found"
}

# --- the virtual environment -------------------------------------------------

# What an installation depends on: the same key, the same installation.
key() {
    {
        pwd
        "$VENV/bin/python" -V
        cat pyproject.toml
        grep __version__ pygearman_cffi/__init__.py
    } 2>&1 | cksum
}

install_package() { # LEVEL PROJECT: run or dev; pip's name for it
    stamp=$VENV/.installed-$1
    [ "$(cat "$stamp" 2>/dev/null)" = "$(key)" ] && return
    if ! is_venv; then
        say "making $VENV of $PY ($("$PY" -V 2>&1))"
        "$PY" -m venv --clear "$VENV"
    fi
    say "pip install -e '$2'"
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check -e "$2" ||
        die "pip could not install it (its own words are above)"
    rm -f "$VENV"/.installed-*
    key >"$VENV/.installed-run"
    if [ "$1" = bench ]; then key >"$VENV/.installed-dev"; fi
    key >"$stamp"
}

# An environment for one contestant of the benchmarks, not editable: what users have.
install_contestant() { # NAME PROJECT KEY: again when the key is another one
    venv=.venv-bench/$1
    [ "$(cat "$venv/.installed" 2>/dev/null)" = "$3" ] && return
    say "pip install '$2' into $venv"
    is_python "$venv/bin/python" || "$PY" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check "$2" ||
        die "pip could not install it (its own words are above)"
    echo "$3" >"$venv/.installed"
}

sources() { cat pyproject.toml README.md pygearman_cffi/*.py | cksum; }

MODE=${1:-}
case $MODE in
demo) level=run project=. ;;
dev | test | valgrind) level=dev project='.[dev]' ;;
bench) level=bench project='.[dev,bench]' ;;
*) die "usage: scripts/setup.sh demo|dev|test|bench|valgrind" ;;
esac
look
if [ -n "$MISSING" ]; then install_packages; fi
install_package "$level" "$project"
if [ "$MODE" = bench ]; then
    install_contestant pygearman_cffi . "$(key) $(sources)"
    install_contestant pygearman pygearman "$(key)"
fi
