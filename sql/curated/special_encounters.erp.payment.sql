-- Encounters that this event makes special: by the same rule as the sensitivity of its own row.
WITH service AS (
  SELECT _lw_row, place, item['code'] AS code, item['text'] AS text
  FROM (
    SELECT _lw_row, unnest(payload['services']) AS item,
      unnest(range(1, CAST(cardinality(payload['services']) AS BIGINT) + 1)) AS place
    FROM event
  )
),
special AS (
  SELECT DISTINCT _lw_row FROM service WHERE code IN (SELECT code FROM special_codes)
)
SELECT e._lw_row, e.payload['encounter_id'] AS encounter_id
FROM special s
RIGHT JOIN event e ON s._lw_row = e._lw_row
WHERE e.payload['encounter_id'] IS NOT NULL
  AND s._lw_row IS NOT NULL
