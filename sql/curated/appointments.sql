-- Who is booked. What an actor is stands before its id or in actor.type; for `urn:uuid:` its place tells.
WITH actor AS (
  SELECT _lw_row, place, fhir_reference(reference) AS id,
    coalesce(
      type,
      CASE
        WHEN reference LIKE 'urn:%' THEN CASE place WHEN 1 THEN 'Patient' WHEN 2 THEN 'Practitioner' ELSE 'Location' END
        WHEN strpos(reference, '?') > 0 THEN split_part(reference, '?', 1)
        ELSE split_part(reference, '/', -2)
      END) AS kind
  FROM (
    SELECT _lw_row, place, participant['actor']['reference'] AS reference, participant['actor']['type'] AS type
    FROM (
      SELECT _lw_row, unnest(payload['participant']) AS participant,
        unnest(range(1, CAST(cardinality(payload['participant']) AS BIGINT) + 1)) AS place
      FROM event
    )
  )
),
met AS (
  SELECT _lw_row,
    first_value(id ORDER BY place) FILTER (WHERE kind = 'Patient') AS patient_id,
    first_value(id ORDER BY place) FILTER (WHERE kind = 'Practitioner') AS practitioner_id,
    first_value(id ORDER BY place) FILTER (WHERE kind IN ('Location', 'Organization')) AS clinic_id
  FROM actor
  GROUP BY _lw_row
)
SELECT
  e._lw_row,
  CASE WHEN e.payload['resourceType'] = 'Appointment' THEN e.payload['id'] END AS appointment_id,
  m.practitioner_id,
  m.clinic_id,
  m.patient_id,
  fhir_instant(e.payload['start']) AS starts_at,
  fhir_instant(e.payload['end']) AS ends_at,
  e.payload['status'] AS status,
  coalesce(
    e.payload['reasonCode'][1]['text'],
    e.payload['reasonCode'][1]['coding'][1]['display'],
    e.payload['description']) AS reason,
  CASE
    WHEN fhir_listed('special_codes', 'known_systems',
        e.payload['reasonCode'], e.payload['serviceType'], e.payload['specialty'], e.payload['appointmentType']) IS FALSE
    THEN 'ordinary' ELSE 'special'
  END AS sensitivity
FROM event e
LEFT JOIN met m ON m._lw_row = e._lw_row
