"""`python -m torture.sharp`: that the oracle's comparison tells each kind of difference, and tells none where there is none.

Also that the two ways in which a record is written down, one by one for the producer and by columns for the oracle, agree.
"""

import argparse

import polars as pl
from clients import verdict

from . import load, oracle

ROWS = 3_000


def told(found: pl.DataFrame, wanted: pl.DataFrame) -> tuple[int, int, int]:
    findings = oracle.Findings()
    oracle.compare("table", wanted, found, oracle.PLACE, findings)
    return findings.lost, findings.doubled, findings.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", help="is given to every check, and not needed here")
    parser.parse_args()
    differences = []
    numbers = pl.DataFrame({"number": range(ROWS)}, schema={"number": pl.Int64})
    for name, columns, one in (("event", load.events(), load.event), ("account", load.accounts(), load.account), ("entry", load.entries(), load.entry)):
        payloads = numbers.with_columns(columns)["payload"].to_list()
        apart = [number for number, payload in enumerate(payloads) if one(number) != (None if payload is None else payload.encode())]
        if apart:
            differences.append(f"{name}: the payloads of {len(apart)} numbers differ, the first is {apart[0]}")
    keys = numbers.with_columns(load.accounts())["account_id"].to_list()
    if any(load.account_key(number) != key.encode() for number, key in enumerate(keys)):
        differences.append("account: the keys differ")

    wanted = numbers.with_columns(pl.lit(0).alias("partition"), pl.col("number").alias("offset"), pl.col("number").alias("cell"))
    foreign = wanted.head(1).with_columns(pl.lit(9).cast(pl.Int32).alias("partition"))
    changed = wanted.with_columns(pl.when(pl.col("offset") == 7).then(None).otherwise(pl.col("cell")).alias("cell"))
    cases = {
        "the same in another order": (wanted.reverse(), (0, 0, 0)),
        "two lost": (wanted.slice(2), (2, 0, 0)),
        "three doubled": (pl.concat([wanted, wanted.slice(5, 3)]), (0, 3, 0)),
        "one that nobody sent": (pl.concat([wanted, foreign.cast(wanted.schema)]), (0, 0, 1)),
        "a cell": (changed, (0, 0, 1)),
    }
    for case, (found, expected) in cases.items():
        if told(found, wanted) != expected:
            differences.append(f"{case}: told {told(found, wanted)} and not {expected}")
    print(f"{len(cases)} cases, {3 * ROWS} payloads")
    verdict.give(differences)


if __name__ == "__main__":
    main()
