# Debian packages unpacked into a local folder, for amd64 and arm64: sourced by `cross/toolchain` and `tests/vm/vm`.
# apt gets a configuration of its own for this, so the architectures and lists of the system stay as they are.
# shellcheck shell=bash

# Where unpacked packages, kernels and modules are kept; it may be removed at any time.
STORE=${POISED_STORE:-${XDG_CACHE_HOME:-$HOME/.cache}/poised}

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() { say "$*"; exit 1; }

# The package sources of this Debian; those of other vendors stay out.
package_sources() {
    local file
    for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
        if [ -s "$file" ]; then printf '%s\n' "$file"; return; fi
    done
    die "no Debian package sources under /etc/apt"
}

apt_own() { APT_CONFIG=$STORE/apt/apt.conf "$@"; }

# Reads the lists of both architectures once; again with `refresh_lists now`.
refresh_lists() {
    local apt=$STORE/apt
    if [ "${1:-}" != now ] && [ -e "$apt/fresh" ]; then return; fi
    mkdir -p "$apt"/{lists,cache/archives}/partial
    : >"$apt/status"
    cat >"$apt/apt.conf" <<END
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::Etc::SourceList "$(package_sources)";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
END
    apt_own apt-get update -qq -o APT::Update::Error-Mode=any >&2
    : >"$apt/fresh"
}

# unpack FOLDER PACKAGE...: FOLDER appears whole or not at all, so an interrupted run leaves nothing that looks done.
unpack() {
    local folder=$1 work deb
    shift
    [ ! -d "$folder" ] || return 0
    refresh_lists
    mkdir -p "$(dirname "$folder")"
    work=$(mktemp -d "$folder.XXXX")
    say "unpacking $* into $folder"
    (
        set -e
        trap '[ $? -eq 0 ] || rm -rf "$work"' EXIT
        cd "$work"
        # The mirror may have moved on since the lists were read.
        apt_own apt-get download -qq "$@" >&2 || { refresh_lists now; apt_own apt-get download -qq "$@" >&2; }
        mkdir tree
        for deb in ./*.deb; do dpkg-deb -x "$deb" tree; done
    )
    mv "$work/tree" "$folder"
    rm -rf "$work"
}

# depends PACKAGE PATTERN: the names among a package's dependencies that match.
depends() {
    apt_own apt-cache depends "$1" | sed -n 's/^ *Depends: <\{0,1\}\([^:>]*\).*/\1/p' | grep -E "^$2" || true
}
