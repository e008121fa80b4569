#!/usr/bin/env bash
# Sets up what the builds and the tests need, and nothing twice.
#
#   setup.sh build    a C compiler, OpenSSL's headers and the pinned Rust toolchain
#   setup.sh test     also Java, Python, the Kafka broker, the schema registry, the S3 server, the clients and promtool
#   setup.sh bench    also Spark, for `make bench`: half a gigabyte to fetch
#   setup.sh lock     writes requirements*.txt and the *.sha256 anew (after a change of versions)
#
# System packages come through apt where that may be done; all else goes into the user's cache folder, named after the
# digest of its list, so that another checkout finds it. A download is checked against the digests committed here.
# Exit status: 0 all there, 3 something for the tests or for Spark is missing (said in one line each), 1 otherwise.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
repository="$(cd "$here/../.." && pwd)"
# shellcheck source=tests/parts/places.sh
source "$here/places.sh"
dependency_plugin="org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
schema_registry="io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all"
jdbc_driver="org.apache.arrow:flight-sql-jdbc-driver:18.3.0"

say() { printf '%s\n' "setup: $*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

# ---- System packages -------------------------------------------------------------------------------------------------

as_root=()
can_install() {
    has apt-get || return 1
    [ "$(id -u)" -eq 0 ] && return 0
    if has sudo && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
        return 0
    fi
    return 1
}

# The packages named are installed, or one line says what is missing and how to get it.
require_packages() {
    [ "$#" -eq 0 ] && return 0
    if can_install; then
        say "installing through apt: $*"
        local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
        if "${apt[@]}" update >/dev/null && "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null; then
            return 0
        fi
        say "apt could not install them; see its message above"
    fi
    say "MISSING: $*  (Debian, Ubuntu: sudo apt-get install $*)"
    return 1
}

has_header() { pkg-config --exists "$1" 2>/dev/null; }

build_packages() {
    local packages=()
    { has cc && has c++; } || packages+=(build-essential)
    has make || packages+=(make)
    has perl || packages+=(perl)
    has pkg-config || packages+=(pkg-config)
    has_header openssl || packages+=(libssl-dev)
    has_header zlib || packages+=(zlib1g-dev)
    require_packages "${packages[@]}"
}

python_suits() { "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

java_suits() {
    has javac || return 1
    local release
    release="$(java -XshowSettings:properties -version 2>&1 | sed -n 's/.*java.specification.version = //p')"
    [ "${release%%.*}" -ge 17 ] 2>/dev/null
}

test_packages() {
    local packages=()
    has openssl || packages+=(openssl)
    python_suits python3 || packages+=(python3 python3-venv)
    java_suits || packages+=(default-jdk-headless)
    { [ -d "$kafka_folder" ] && [ -d "$jdbc_folder" ] && [ -d "$registry_folder" ]; } || has mvn || packages+=(maven)
    require_packages "${packages[@]}" || return 1
    if ! python_suits python3; then
        say "MISSING: Python 3.11 or later with venv; found $(python3 --version 2>&1)"
        return 1
    fi
    if ! java_suits; then
        say "MISSING: a JDK of release 17 or later (Debian, Ubuntu: sudo apt-get install openjdk-17-jdk-headless)"
        return 1
    fi
}

# ---- Rust ------------------------------------------------------------------------------------------------------------

rust_toolchain() {
    local wanted found
    wanted="$(sed -n 's/^channel = "\(.*\)"/\1/p' "$repository/rust-toolchain.toml")"
    if ! has cargo; then
        say "MISSING: cargo $wanted  (install rustup; it reads rust-toolchain.toml)"
        return 1
    fi
    # With rustup the first call fetches the pinned toolchain.
    found="$(cd "$repository" && cargo --version | cut -d' ' -f2)"
    if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        say "MISSING: cargo $wanted or later; this one is $found  (install rustup; it reads rust-toolchain.toml)"
        return 1
    fi
}

rust_components() {
    local component name missing=()
    for component in rustfmt:fmt clippy:clippy; do
        name="${component%%:*}"
        (cd "$repository" && cargo "${component##*:}" --version >/dev/null 2>&1) || missing+=("$name")
    done
    [ "${#missing[@]}" -eq 0 ] && return 0
    if has rustup && (cd "$repository" && rustup component add "${missing[@]}" >/dev/null 2>&1); then
        return 0
    fi
    say "MISSING: ${missing[*]}  (rustup component add ${missing[*]})"
    return 1
}

# ---- Jars ------------------------------------------------------------------------------------------------------------

# Every file that the list names has its digest, and there is no other.
matches_list() {
    local folder="$1" list="$2"
    (cd "$folder" && sha256sum --quiet --strict --check "$list") >&2 || return 1
    diff <(cut -c67- "$list" | LC_ALL=C sort) <(cd "$folder" && printf '%s\n' *.jar | LC_ALL=C sort) >&2
}

# install_jars FOLDER LIST POM MAVEN-ARGUMENTS...: the folder appears whole or not at all.
install_jars() {
    local folder="$1" list="$2" pom="$3"
    shift 3
    if [ -d "$folder" ]; then
        matches_list "$folder" "$list" >/dev/null 2>&1 && return 0
        say "$(basename "$folder") in the cache is damaged; fetching it again"
        rm -rf "$folder"
    fi
    local partial="$folder.partial"
    rm -rf "$partial"
    mkdir -p "$partial"
    say "fetching $(basename "$list" .sha256) by maven"
    mvn -q -B -Dstyle.color=never -f "$pom" "$@" -DoutputDirectory="$partial" >&2 || return 1
    if ! matches_list "$partial" "$list"; then
        say "what maven fetched is not what $(basename "$list") says; nothing was kept"
        rm -rf "$partial"
        return 1
    fi
    mv "$partial" "$folder"
}

kafka_jars() {
    install_jars "$kafka_folder" "$here/kafka.sha256" "$here/pom.xml" "$dependency_plugin:copy-dependencies" -DincludeScope=runtime
}

jdbc_jar() {
    install_jars "$jdbc_folder" "$here/jdbc.sha256" "$here/pom.xml" "$dependency_plugin:copy" -Dartifact="$jdbc_driver"
}

# The schema registry is a server in an archive; the folder appears whole or not at all.
schema_registry() {
    [ -d "$registry_folder" ] && return 0
    local partial="$registry_folder.partial"
    rm -rf "$partial"
    mkdir -p "$partial/app"
    say "fetching the schema registry by maven"
    mvn -q -B -Dstyle.color=never -f "$here/pom.xml" "$dependency_plugin:copy" -Dartifact="$schema_registry" \
        -DoutputDirectory="$partial" >&2 || return 1
    if ! (cd "$partial" && sha256sum --quiet --strict --check "$here/registry.sha256") >&2; then
        say "what maven fetched is not what registry.sha256 says; nothing was kept"
        rm -rf "$partial"
        return 1
    fi
    tar xzf "$partial"/*.tar.gz -C "$partial/app" || return 1
    rm "$partial"/*.tar.gz
    mv "$partial" "$registry_folder"
}

# ---- Python ----------------------------------------------------------------------------------------------------------

# An environment keeps its own path inside, so it is built in place and a last file says that it is whole.
python_environment() {
    [ -e "$python_folder/complete" ] && "$python_folder/bin/python" -c '' 2>/dev/null && return 0
    say "making the Python environment"
    rm -rf "$python_folder"
    python3 -m venv "$python_folder" || return 1
    "$python_folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary :all: --requirement "$here/requirements.txt" >&2 || return 1
    touch "$python_folder/complete"
}

# Spark comes as an archive that has to be built, so what builds it goes first; Delta and Kafka's connector are jars.
spark() {
    { [ -d "$spark_jars_folder" ] || has mvn; } || require_packages maven || return 1
    install_jars "$spark_jars_folder" "$here/spark.sha256" "$here/spark.pom.xml" "$dependency_plugin:copy-dependencies" \
        -DincludeScope=runtime || return 1
    [ -e "$spark_folder/complete" ] && "$spark_folder/bin/python" -c 'import pyspark' 2>/dev/null && return 0
    say "making the Python environment of Spark (some 450 MB)"
    rm -rf "$spark_folder"
    python3 -m venv "$spark_folder" || return 1
    local pip=("$spark_folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes)
    "${pip[@]}" --only-binary :all: --requirement <(sed -n '/^setuptools==/,/[^\\]$/p' "$here/requirements.spark.txt") >&2 || return 1
    "${pip[@]}" --no-build-isolation --requirement "$here/requirements.spark.txt" >&2 || return 1
    touch "$spark_folder/complete"
}

# Whole lives of five patients: the input nobody here wrote. Their ids differ from one generation to the next.
synthea_bundles() {
    [ -d "$synthea_folder" ] && return 0
    say "generating five patients with Synthea"
    local partial="$synthea_folder.partial"
    rm -rf "$partial"
    "$python_folder/bin/synthea" -p 5 -s 7 -o "$partial" >"$cache/synthea.log" 2>&1 || return 1
    mv "$partial" "$synthea_folder"
}

# ---- Prometheus ------------------------------------------------------------------------------------------------------

# What tests alert rules. Of Debian's package only that is taken: installed, it would start a server.
alert_rules() {
    [ -x "$promtool" ] && return 0
    if ! has apt-get || ! has dpkg-deb; then
        say "MISSING: promtool  (a part of Prometheus; it has to be on the path)"
        return 1
    fi
    local partial="${promtool%/*}.partial"
    rm -rf "$partial"
    mkdir -p "$partial"
    say "fetching promtool through apt"
    fetch() { (cd "$partial" && apt-get -qq download prometheus 2>/dev/null); }
    if ! fetch; then
        { can_install && "${as_root[@]}" apt-get -qq update >/dev/null && fetch; } || {
            say "MISSING: promtool  (apt could not fetch the package prometheus; put promtool on the path)"
            return 1
        }
    fi
    dpkg-deb --fsys-tarfile "$partial"/prometheus_*.deb | tar x -C "$partial" ./usr/bin/promtool || return 1
    mkdir -p "${promtool%/*}"
    mv "$partial/usr/bin/promtool" "$promtool"
    rm -rf "$partial"
}

# ---- Commands --------------------------------------------------------------------------------------------------------

locked() {
    mkdir -p "$cache"
    exec 9>"$cache/setup.lock"
    if ! flock -n 9; then
        say "another set-up is running; waiting for it"
        flock 9
    fi
}

case "${1:-}" in
build)
    locked
    build_packages
    rust_toolchain
    ;;
test)
    locked
    build_packages
    rust_toolchain
    rust_components
    { test_packages && kafka_jars && jdbc_jar && schema_registry && python_environment && synthea_bundles && alert_rules; } || exit 3
    ;;
bench)
    "${BASH_SOURCE[0]}" test
    locked
    spark || exit 3
    ;;
lock)
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --excludes "$here/requirements.exclude" "$here/requirements.in" -o "$here/requirements.txt"
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        "$here/requirements.spark.in" -o "$here/requirements.spark.txt"
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    mvn -q -B -Dstyle.color=never -f "$here/pom.xml" "$dependency_plugin:copy-dependencies" -DincludeScope=runtime -DoutputDirectory="$scratch/kafka"
    mvn -q -B -Dstyle.color=never -f "$here/spark.pom.xml" "$dependency_plugin:copy-dependencies" -DincludeScope=runtime -DoutputDirectory="$scratch/spark"
    mvn -q -B -Dstyle.color=never -f "$here/pom.xml" "$dependency_plugin:copy" -Dartifact="$jdbc_driver" -DoutputDirectory="$scratch/jdbc"
    mvn -q -B -Dstyle.color=never -f "$here/pom.xml" "$dependency_plugin:copy" -Dartifact="$schema_registry" -DoutputDirectory="$scratch/registry"
    (cd "$scratch/registry" && sha256sum -- *.tar.gz) >"$here/registry.sha256"
    for list in kafka jdbc spark; do (cd "$scratch/$list" && sha256sum -- *.jar) >"$here/$list.sha256"; done
    ;;
*)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit 1
    ;;
esac
