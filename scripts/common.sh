# Shared by ./start and ./test: what a bare Debian or Ubuntu machine lacks, and how long it takes.
# Sourced, with `root` set to the checkout.

# Rust as its installer lays it down, in a shell that was open before.
if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH="$HOME/.cargo/bin:$PATH"
fi

target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
export CARGO_TARGET_DIR=$target
manifest=$root/Cargo.toml

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_rust() {
    command -v cargo >/dev/null ||
        fail "cargo is not there: install Rust with rustup, then run this again"
}

# Installs the Debian packages of its arguments that are missing.
need_packages() {
    local missing=() package
    if ! command -v dpkg-query >/dev/null; then
        command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null && return
        fail "this is neither Debian nor Ubuntu: install a C and C++ compiler and make yourself"
    fi
    for package in "$@"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'install ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "install these as root first: ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing Debian packages: ${missing[*]}"
    "${as_root[@]}" apt-get update -q </dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null
}

# Runs cargo with a progress bar on a terminal, and a line now and then elsewhere.
# $1: about how many crates it compiles.
with_progress() {
    local crates=$1
    shift
    if [ -t 2 ]; then
        "$@"
        return
    fi
    "$@" 2>&1 | {
        local line compiled=0 begun=$SECONDS said=$SECONDS
        while IFS= read -r line; do
            case $line in
                *' Compiling '* | *' Checking '* | *' Documenting '*)
                    compiled=$((compiled + 1))
                    if [ $((SECONDS - said)) -ge 30 ]; then
                        said=$SECONDS
                        echo "   $compiled of about $crates crates after $((SECONDS - begun)) s"
                    fi
                    ;;
                *' Downloaded '* | *' Downloading '* | *' Fresh '* | *' Blocking '*) ;;
                *) printf '%s\n' "$line" ;;
            esac
        done
    }
}
