-- Diagnoses.
WITH coding AS (
  SELECT _lw_row, coding['system'] AS system, coding['code'] AS code
  FROM (
    SELECT _lw_row, unnest(payload['code']['coding']) AS coding FROM event
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
  CASE WHEN e.payload['resourceType'] = 'Condition' THEN e.payload['id'] END AS condition_id,
  fhir_reference(e.payload['subject']['reference']) AS patient_id,
  fhir_reference(e.payload['encounter']['reference']) AS encounter_id,
  -- The staff's id: other kinds of people who may stand here are no practitioners, the patient least of all.
  coalesce(
    CASE
      WHEN e.payload['recorder']['reference'] LIKE 'urn:uuid:%'
        OR e.payload['recorder']['reference'] LIKE '%Practitioner/%'
        OR e.payload['recorder']['reference'] LIKE 'Practitioner?%'
      THEN nullif(
        fhir_reference(e.payload['recorder']['reference']),
        fhir_reference(e.payload['subject']['reference']))
    END,
    CASE
      WHEN e.payload['asserter']['reference'] LIKE 'urn:uuid:%'
        OR e.payload['asserter']['reference'] LIKE '%Practitioner/%'
        OR e.payload['asserter']['reference'] LIKE 'Practitioner?%'
      THEN nullif(
        fhir_reference(e.payload['asserter']['reference']),
        fhir_reference(e.payload['subject']['reference']))
    END) AS practitioner_id,
  e.payload['code']['coding'][1]['code'] AS code,
  e.code_system,
  -- The display of an unknown system may be anything, a name too.
  CASE WHEN k.system IS NOT NULL THEN e.payload['code']['coding'][1]['display'] END AS code_text,
  e.payload['clinicalStatus']['coding'][1]['code'] AS clinical_status,
  e.payload['verificationStatus']['coding'][1]['code'] AS verification_status,
  coalesce(fhir_instant(e.payload['onsetDateTime']), fhir_instant(e.payload['onsetPeriod']['start'])) AS onset_at,
  nullif(
    concat_ws(E'\n',
      e.payload['note'][1]['text'],
      e.payload['note'][2]['text'],
      e.payload['note'][3]['text']),
    '') AS note,
  -- Without a code nobody can tell that it is ordinary.
  CASE
    WHEN s._lw_row IS NOT NULL OR (cardinality(e.payload['code']['coding']) > 0) IS NOT TRUE
    THEN 'special' ELSE 'ordinary'
  END AS sensitivity
FROM special s
RIGHT JOIN (
  known_systems k
  RIGHT JOIN (SELECT *, payload['code']['coding'][1]['system'] AS code_system FROM event) e
    ON k.system = e.code_system
) ON s._lw_row = e._lw_row
