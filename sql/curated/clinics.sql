-- The houses. Encounters and documents name an Organization, appointments a Location: the id is the Organization's.
WITH telecom AS (
  SELECT _lw_row, unnest(payload['telecom']) AS item,
    unnest(range(1, CAST(cardinality(payload['telecom']) AS BIGINT) + 1)) AS place
  FROM event
),
reached AS (
  SELECT _lw_row, first_value(item['value'] ORDER BY place) AS phone
  FROM telecom
  WHERE item['system'] = 'phone'
  GROUP BY _lw_row
),
clock AS (
  SELECT _lw_row, min(extension['valueCode']) AS time_zone
  FROM (SELECT _lw_row, unnest(payload['extension']) AS extension FROM event)
  WHERE extension['url'] = 'http://hl7.org/fhir/StructureDefinition/timezone'
  GROUP BY _lw_row
)
SELECT
  e._lw_row,
  CASE
    WHEN e.payload['resourceType'] = 'Location'
    THEN coalesce(fhir_reference(e.payload['managingOrganization']['reference']), e.payload['id'])
  END AS clinic_id,
  e.payload['name'] AS name,
  e.payload['address']['city'] AS city,
  array_to_string(e.payload['address']['line'], ', ') AS address_line,
  r.phone,
  c.time_zone
FROM event e
LEFT JOIN reached r ON r._lw_row = e._lw_row
LEFT JOIN clock c ON c._lw_row = e._lw_row
-- A room or a ward is no clinic.
WHERE e.payload['partOf']['reference'] IS NULL
