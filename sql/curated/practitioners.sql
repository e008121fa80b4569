-- Who works in the clinics. A specialty is a public thing, so the text of a qualification will do where it has no code.
WITH identifier AS (
  SELECT _lw_row, item['value'] AS value, item['system'] AS system, item['type']['coding'][1]['code'] AS kind, place
  FROM (
    SELECT _lw_row, unnest(payload['identifier']) AS item,
      unnest(range(1, CAST(cardinality(payload['identifier']) AS BIGINT) + 1)) AS place
    FROM event
  )
),
licensed AS (
  SELECT _lw_row, first_value(value ORDER BY place) AS license_number
  FROM identifier
  WHERE kind IN ('MD', 'LN', 'NPI') OR system = 'http://hl7.org/fhir/sid/us-npi'
  GROUP BY _lw_row
)
SELECT
  e._lw_row,
  CASE WHEN e.payload['resourceType'] = 'Practitioner' THEN e.payload['id'] END AS practitioner_id,
  e.payload['name'][1]['family'] AS family_name,
  array_to_string(e.payload['name'][1]['given'], ' ') AS given_names,
  coalesce(
    e.payload['qualification'][1]['code']['coding'][1]['display'],
    e.payload['qualification'][1]['code']['text']) AS specialty,
  coalesce(l.license_number, e.payload['qualification'][1]['identifier'][1]['value']) AS license_number
FROM event e
LEFT JOIN licensed l ON l._lw_row = e._lw_row
