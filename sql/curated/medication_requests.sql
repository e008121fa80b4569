-- Prescriptions.
WITH coding AS (
  SELECT _lw_row, coding['system'] AS system, coding['code'] AS code
  FROM (
    SELECT _lw_row, unnest(payload['medicationCodeableConcept']['coding']) AS coding FROM event
    UNION ALL
    SELECT _lw_row, unnest(concept['coding']) AS coding
    FROM (SELECT _lw_row, unnest(payload['reasonCode']) AS concept FROM event)
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
  CASE WHEN e.payload['resourceType'] = 'MedicationRequest' THEN e.payload['id'] END AS medication_request_id,
  fhir_reference(e.payload['subject']['reference']) AS patient_id,
  fhir_reference(e.payload['encounter']['reference']) AS encounter_id,
  -- The staff's id: other kinds of people who may stand here are no practitioners, the patient least of all.
  CASE
    WHEN e.payload['requester']['reference'] LIKE 'urn:uuid:%'
      OR e.payload['requester']['reference'] LIKE '%Practitioner/%'
      OR e.payload['requester']['reference'] LIKE 'Practitioner?%'
    THEN nullif(
      fhir_reference(e.payload['requester']['reference']),
      fhir_reference(e.payload['subject']['reference']))
  END AS practitioner_id,
  e.payload['status'] AS status,
  e.payload['medicationCodeableConcept']['coding'][1]['code'] AS code,
  -- The display of an unknown system may be anything, a name too.
  CASE
    WHEN k.system IS NOT NULL THEN e.payload['medicationCodeableConcept']['coding'][1]['display']
  END AS code_text,
  nullif(
    concat_ws(E'\n',
      e.payload['dosageInstruction'][1]['text'],
      e.payload['dosageInstruction'][2]['text'],
      e.payload['dosageInstruction'][3]['text']),
    '') AS dosage_text,
  fhir_instant(e.payload['authoredOn']) AS authored_at,
  -- Without a code nobody can tell that it is ordinary.
  CASE
    WHEN s._lw_row IS NOT NULL
      OR (cardinality(e.payload['medicationCodeableConcept']['coding']) > 0) IS NOT TRUE
    THEN 'special' ELSE 'ordinary'
  END AS sensitivity
FROM special s
RIGHT JOIN (
  known_systems k
  RIGHT JOIN (SELECT *, payload['medicationCodeableConcept']['coding'][1]['system'] AS code_system FROM event) e
    ON k.system = e.code_system
) ON s._lw_row = e._lw_row
