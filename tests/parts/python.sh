#!/usr/bin/env bash
# Runs the tests' Python (see setup.sh) with the modules of tests/ in reach: python.sh -m parts up --dir DIR
# python.sh --spark FILE runs the Python that has Spark.
set -euo pipefail
# shellcheck source=tests/parts/places.sh
source "$(dirname "${BASH_SOURCE[0]}")/places.sh"
if [ "${1:-}" = --spark ]; then
    shift
    if [ ! -e "$spark_folder/complete" ] || [ ! -d "$spark_jars_folder" ]; then
        echo "Spark is missing: run tests/parts/setup.sh bench" >&2
        exit 3
    fi
    python_folder="$spark_folder"
fi
if [ ! -e "$python_folder/complete" ]; then
    echo "the Python environment of the tests is missing: run tests/parts/setup.sh test" >&2
    exit 3
fi
export PYTHONPATH="$parts_folder/..${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
exec "$python_folder/bin/python" "$@"
