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
),
coding AS (
  SELECT _lw_row, coding['system'] AS system, coding['code'] AS code
  FROM (
    SELECT _lw_row, unnest(concept['coding']) AS coding
    FROM (SELECT _lw_row, unnest(payload['reasonCode']) AS concept FROM event)
    UNION ALL
    SELECT _lw_row, unnest(concept['coding']) AS coding
    FROM (SELECT _lw_row, unnest(payload['serviceType']) AS concept FROM event)
    UNION ALL
    SELECT _lw_row, unnest(concept['coding']) AS coding
    FROM (SELECT _lw_row, unnest(payload['specialty']) AS concept FROM event)
    UNION ALL
    SELECT _lw_row, unnest(payload['appointmentType']['coding']) AS coding FROM event
  )
),
-- Listed, or nobody can tell: no code, or a system that the list does not know. Of ICD-10 the list holds categories as
-- well: F32 stands for F32.0, F32.1 … The small side of a join stands left, for the hash table is made of the left.
special AS (
  SELECT DISTINCT c._lw_row
  FROM special_codes category
  RIGHT JOIN (
    special_codes exact
    RIGHT JOIN (known_systems k RIGHT JOIN coding c ON k.system = c.system)
      ON exact.system = k.canonical AND exact.code = c.code
  ) ON category.system = k.canonical AND category.code = left(c.code, 3) AND k.matching = 'category'
  WHERE k.system IS NULL OR c.code IS NULL OR exact.code IS NOT NULL OR category.code IS NOT NULL
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
  CASE WHEN s._lw_row IS NOT NULL THEN 'special' ELSE 'ordinary' END AS sensitivity
FROM event e
LEFT JOIN met m ON m._lw_row = e._lw_row
LEFT JOIN special s ON s._lw_row = e._lw_row
