"""Whether `serve` was killed in the middle of the load: at each kill, events were in Kafka that the tables had not.

An event that was sent before a kill and landed after it is one. At the first kill, topics of both kinds must have landed in
part: those of the bundles and those of derived records.
"""

import argparse
import datetime
from pathlib import Path

from . import verdict
from .derive import KEYS
from .lake import Lake, raw_name, read_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="run.json of `python -m parts config`")
    parser.add_argument("killed", type=int, nargs="+", help="when it was killed, in milliseconds since 1970")
    options = parser.parse_args()
    run = read_run(options.run)
    lake, differences = Lake(run), []
    times = {
        topic: lake.read(raw_name(topic), ["timestamp", "ingested_at"]).to_pylist() for topic in run["parts"]["kafka"]["topics"]
    }
    moments = [datetime.datetime.fromtimestamp(at / 1000, datetime.UTC) for at in options.killed]
    for number, at in enumerate(moments, 1):
        remained = sum(row["timestamp"] < at < row["ingested_at"] for rows in times.values() for row in rows)
        landed = sum(row["ingested_at"] < at for rows in times.values() for row in rows)
        print(f"kill {number}: {landed} events had landed, {remained} had been sent and remained")
        if not landed or not remained:
            differences.append(f"kill {number} was not in the middle of the load")
    for kind, topics in (("derived records", set(KEYS)), ("the bundles", set(times) - set(KEYS))):
        if not any(row["ingested_at"] < moments[0] for topic in topics for row in times[topic]):
            differences.append(f"at the first kill nothing of {kind} had landed")
    verdict.give(differences)


if __name__ == "__main__":
    main()
