SELECT
  _lw_row,
  payload['id'] AS note_id,
  CAST(NULL AS VARCHAR) AS owner_id,
  CAST(NULL AS VARCHAR) AS group_id,
  CAST(NULL AS BOOLEAN) AS secret,
  CAST(NULL AS VARCHAR) AS title,
  CAST(NULL AS DATE) AS born,
  arrow_cast(NULL, 'Timestamp(Microsecond, Some("UTC"))') AS written_at,
  arrow_cast(NULL, 'List(Utf8)') AS words,
  CASE WHEN false THEN [named_struct('item', 'a', 'amount', CAST(1 AS DECIMAL(10,2)))] END AS lines,
  CASE WHEN false THEN named_struct('place', 'a', 'since', DATE '2020-01-01') END AS detail,
  CAST(NULL AS DECIMAL(10,2)) AS total,
  CAST(NULL AS DOUBLE) AS score
FROM event
