#!/usr/bin/env bash
# A real Kafka broker, a real schema registry and a real driver of PostgreSQL, for tests, benches and
# development:
#
#   scripts/parts/install.sh [TARGET_DIR]    puts them under TARGET_DIR/parts
#
# Without an argument that is cargo's target directory. What is there already is left as it is.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
. "$root/scripts/common.sh"
here=$root/scripts/parts
parts=$(realpath -m "${1:-$CARGO_TARGET_DIR}")/parts
JAVA_OLDEST=17

java_version() { java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1; }

fetch() {
    command -v mvn >/dev/null || need_packages maven
    command -v mvn >/dev/null || fail "Maven is not there: install it, then run this again"
    say "fetching Kafka and the schema registry: 200 MB, about a minute the first time"
    # With the marks of what has been unpacked, or it would not be unpacked again.
    rm -rf "$parts/kafka" "$parts/registry" "$parts/jdbc" "$parts/maven" "$parts/prepared.txt"
    mvn -B -q -Dstyle.color=never -f "$here/pom.xml" "-Dparts=$parts" package
    cp "$here/pom.xml" "$parts/fetched.xml"
}

prepare() {
    say "archiving the classes of both, so that they start twice as fast: about half a minute"
    python3 "$here/parts.py" prepare "$parts"
    printf '%s\n' "$1" >"$parts/prepared.txt"
}

command -v java >/dev/null || need_packages default-jre-headless
version=$(java_version)
[ "${version:-0}" -ge $JAVA_OLDEST ] ||
    fail "Java is ${version:-unknown} and must be $JAVA_OLDEST or newer: install a package such as openjdk-17-jre-headless"

mkdir -p "$parts"
# Two at once would take each other's files away.
exec 9>"$parts/lock"
flock 9
cmp -s "$here/pom.xml" "$parts/fetched.xml" || fetch
# An archive is good for one Java and one place, and the data folder for one list of settings.
made_of=$(java -version 2>&1; echo "$parts"; cksum <"$root/ops/kafka/broker.properties"; cksum <"$here/parts.py")
[ "$made_of" = "$(cat "$parts/prepared.txt" 2>/dev/null)" ] || prepare "$made_of"
echo "Kafka, the schema registry and the JDBC driver are in $parts"
