SELECT _lw_row, payload['n'] AS n, CAST(partition AS BIGINT) AS partition, "offset" AS position
FROM event
