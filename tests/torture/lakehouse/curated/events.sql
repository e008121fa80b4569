SELECT _lw_row, payload['n'] AS n, payload['value'] AS value, upper(payload['text']) AS text, CAST(partition AS BIGINT) AS partition, "offset" AS position
FROM event
