SELECT _lw_row, key AS account_id, payload['version'] AS version, CAST(partition AS BIGINT) AS partition, "offset" AS position
FROM event
