-- Who the patients are. Lists (identifiers, telecom) are searched by kind, in the order of the source.
WITH telecom AS (
  SELECT _lw_row, unnest(payload['telecom']) AS item,
    unnest(range(1, CAST(cardinality(payload['telecom']) AS BIGINT) + 1)) AS place
  FROM event
),
reached AS (
  SELECT _lw_row,
    first_value(item['value'] ORDER BY place) FILTER (WHERE item['system'] = 'phone') AS phone,
    first_value(item['value'] ORDER BY place) FILTER (WHERE item['system'] = 'email') AS email
  FROM telecom
  GROUP BY _lw_row
),
identifier AS (
  SELECT _lw_row, item['value'] AS value, item['system'] AS system, item['type']['coding'][1]['code'] AS kind, place
  FROM (
    SELECT _lw_row, unnest(payload['identifier']) AS item,
      unnest(range(1, CAST(cardinality(payload['identifier']) AS BIGINT) + 1)) AS place
    FROM event
  )
),
-- Codes of HL7 table 0203.
identified AS (
  SELECT _lw_row,
    first_value(value ORDER BY place) FILTER (
      WHERE kind IN ('SS', 'NI') OR kind LIKE 'NN%' OR system = 'http://hl7.org/fhir/sid/us-ssn') AS national_id,
    first_value(value ORDER BY place) FILTER (WHERE kind IN ('MB', 'SN', 'HC', 'MA', 'MC')) AS insurance_number
  FROM identifier
  GROUP BY _lw_row
),
-- A name at birth may come first: the official one goes before.
person AS (
  SELECT _lw_row, payload,
    CASE
      WHEN payload['name'][2]['use'] = 'official' AND payload['name'][1]['use'] IS DISTINCT FROM 'official'
      THEN payload['name'][2] ELSE payload['name'][1]
    END AS name
  FROM event
)
SELECT
  p._lw_row,
  CASE WHEN p.payload['resourceType'] = 'Patient' THEN p.payload['id'] END AS patient_id,
  p.name['family'] AS family_name,
  array_to_string(p.name['given'], ' ') AS given_names,
  r.phone,
  r.email,
  i.national_id,
  i.insurance_number,
  array_to_string(p.payload['address'][1]['line'], ', ') AS address_line,
  fhir_date(p.payload['birthDate']) AS birth_date,
  p.payload['gender'] AS gender,
  p.payload['address'][1]['city'] AS city,
  p.payload['address'][1]['state'] AS region,
  p.payload['address'][1]['postalCode'] AS postal_code,
  fhir_instant(p.payload['deceasedDateTime']) AS deceased_at
FROM person p
LEFT JOIN reached r ON r._lw_row = p._lw_row
LEFT JOIN identified i ON i._lw_row = p._lw_row
