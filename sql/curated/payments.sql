-- Payments. Services are of the chain's own list, which names no code system: a code listed for any system is special.
WITH service AS (
  SELECT _lw_row, place, item['code'] AS code, item['text'] AS text
  FROM (
    SELECT _lw_row, unnest(payload['services']) AS item,
      unnest(range(1, CAST(cardinality(payload['services']) AS BIGINT) + 1)) AS place
    FROM event
  )
),
paid AS (
  SELECT _lw_row, string_agg(concat_ws(' ', code, text), '; ' ORDER BY place) AS services
  FROM service
  GROUP BY _lw_row
),
special AS (
  SELECT DISTINCT _lw_row FROM service WHERE code IN (SELECT code FROM special_codes)
)
SELECT
  e._lw_row,
  e.payload['payment_id'] AS payment_id,
  e.payload['patient_id'] AS patient_id,
  e.payload['encounter_id'] AS encounter_id,
  e.payload['clinic_id'] AS clinic_id,
  e.payload['amount'] AS amount,
  e.payload['currency'] AS currency,
  e.payload['method'] AS method,
  fhir_instant(e.payload['paid_at']) AS paid_at,
  p.services,
  CASE WHEN s._lw_row IS NOT NULL THEN 'special' ELSE 'ordinary' END AS sensitivity
FROM event e
LEFT JOIN paid p ON p._lw_row = e._lw_row
LEFT JOIN special s ON s._lw_row = e._lw_row
