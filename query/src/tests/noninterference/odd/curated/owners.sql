SELECT
  _lw_row,
  payload['id'] AS owner_id,
  CAST(NULL AS VARCHAR) AS status,
  CAST(NULL AS VARCHAR) AS title,
  CAST(NULL AS DATE) AS born
FROM event
