"""What other people's clients find, compared with what an independent reading of the same input expects.

Nothing here reads the contracts, the SELECTs or the policies of `sql/` (the lists of codes in `sql/reference` apart, which
are data): a mistake there must not hide itself. Every program takes `--run run.json`, which `python -m parts config` writes.
"""
