-- Results and measurements: row 0 for the value itself, then one for each component (blood pressure has two).
-- By far the most rows, so all is taken out of the payload before any join, and nothing nested goes through one.
WITH component AS (
  SELECT _lw_row, unnest(payload['component']) AS part,
    unnest(range(1, CAST(cardinality(payload['component']) AS BIGINT) + 1)) AS place
  FROM event
),
coding AS (
  SELECT _lw_row, coding['system'] AS system, coding['code'] AS code
  FROM (
    SELECT _lw_row, unnest(payload['code']['coding']) AS coding FROM event
    UNION ALL
    SELECT _lw_row, unnest(payload['valueCodeableConcept']['coding']) AS coding FROM event
    UNION ALL
    SELECT _lw_row, unnest(part['code']['coding']) AS coding FROM component
    UNION ALL
    SELECT _lw_row, unnest(part['valueCodeableConcept']['coding']) AS coding FROM component
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
),
observation AS (
  SELECT _lw_row, payload['component'] AS components,
    CASE WHEN payload['resourceType'] = 'Observation' THEN payload['id'] END AS observation_id,
    fhir_reference(payload['subject']['reference']) AS patient_id,
    fhir_reference(payload['encounter']['reference']) AS encounter_id,
    payload['performer'][1]['reference'] AS performer,
    payload['status'] AS status,
    payload['category'][1]['coding'][1]['code'] AS category,
    coalesce(
      fhir_instant(payload['effectiveDateTime']),
      fhir_instant(payload['effectiveInstant']),
      fhir_instant(payload['effectivePeriod']['start'])) AS effective_at,
    payload['note'] AS notes,
    (cardinality(payload['code']['coding']) > 0) IS NOT TRUE AS uncoded,
    payload['code']['coding'][1]['code'] AS code,
    payload['code']['coding'][1]['system'] AS code_system,
    payload['code']['coding'][1]['display'] AS display,
    coalesce(payload['valueQuantity']['value'], CAST(payload['valueInteger'] AS DOUBLE)) AS value,
    payload['valueQuantity']['comparator'] AS value_comparator,
    coalesce(payload['valueQuantity']['unit'], payload['valueQuantity']['code']) AS unit,
    payload['valueCodeableConcept']['coding'][1]['code'] AS value_code,
    coalesce(payload['valueString'], payload['valueCodeableConcept']['text']) AS value_text,
    payload['referenceRange'][1]['low']['value'] AS reference_low,
    payload['referenceRange'][1]['high']['value'] AS reference_high,
    payload['interpretation'][1]['coding'][1]['code'] AS interpretation
  FROM event
),
-- A panel whose values are all in its components has no row of its own; a result that simply has no value has one.
value AS (
  SELECT _lw_row, CAST(0 AS BIGINT) AS component, observation_id, patient_id, encounter_id, performer, status, category,
    effective_at, notes, uncoded, code, code_system, display, value, value_comparator, unit, value_code, value_text,
    reference_low, reference_high, interpretation
  FROM observation
  WHERE (cardinality(components) > 0) IS NOT TRUE
    OR value IS NOT NULL OR value_code IS NOT NULL OR value_text IS NOT NULL
  UNION ALL
  SELECT _lw_row, component, observation_id, patient_id, encounter_id, performer, status, category,
    effective_at, notes, uncoded,
    part['code']['coding'][1]['code'],
    part['code']['coding'][1]['system'],
    part['code']['coding'][1]['display'] AS display,
    coalesce(part['valueQuantity']['value'], CAST(part['valueInteger'] AS DOUBLE)) AS value,
    part['valueQuantity']['comparator'] AS value_comparator,
    coalesce(part['valueQuantity']['unit'], part['valueQuantity']['code']) AS unit,
    part['valueCodeableConcept']['coding'][1]['code'] AS value_code,
    coalesce(part['valueString'], part['valueCodeableConcept']['text']) AS value_text,
    part['referenceRange'][1]['low']['value'] AS reference_low,
    part['referenceRange'][1]['high']['value'] AS reference_high,
    part['interpretation'][1]['coding'][1]['code'] AS interpretation
  FROM (
    SELECT *, unnest(components) AS part,
      unnest(range(1, CAST(cardinality(components) AS BIGINT) + 1)) AS component
    FROM observation
  )
)
SELECT
  v._lw_row,
  v.observation_id,
  v.component,
  v.patient_id,
  v.encounter_id,
  -- The staff's id: other kinds of people who may stand here are no practitioners, the patient least of all.
  CASE
    WHEN v.performer LIKE 'urn:uuid:%' OR v.performer LIKE '%Practitioner/%' OR v.performer LIKE 'Practitioner?%'
    THEN nullif(fhir_reference(v.performer), v.patient_id)
  END AS practitioner_id,
  v.status,
  v.category,
  v.code,
  v.code_system,
  -- The display of an unknown system may be anything, a name too.
  CASE WHEN k.system IS NOT NULL THEN v.display END AS code_text,
  v.value,
  v.value_comparator,
  v.unit,
  v.value_code,
  v.value_text,
  v.reference_low,
  v.reference_high,
  v.interpretation,
  v.effective_at,
  CASE
    WHEN v.component <= 1
    THEN nullif(concat_ws(E'\n', v.notes[1]['text'], v.notes[2]['text'], v.notes[3]['text']), '')
  END AS note,
  -- All rows of an observation are as sensitive as the most sensitive.
  -- Without a code nobody can tell that it is ordinary.
  CASE WHEN s._lw_row IS NOT NULL OR v.uncoded THEN 'special' ELSE 'ordinary' END AS sensitivity
FROM special s
RIGHT JOIN (known_systems k RIGHT JOIN value v ON k.system = v.code_system) ON s._lw_row = v._lw_row
