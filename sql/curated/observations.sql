-- Results and measurements: row 0 for the value itself, then one for each component (blood pressure has two).
WITH component AS (
  SELECT _lw_row, unnest(payload['component']) AS part,
    unnest(range(1, CAST(cardinality(payload['component']) AS BIGINT) + 1)) AS place
  FROM event
),
coding AS (
  SELECT _lw_row, unnest(payload['code']['coding']) AS coding FROM event
  UNION ALL
  SELECT _lw_row, unnest(payload['valueCodeableConcept']['coding']) AS coding FROM event
  UNION ALL
  SELECT _lw_row, unnest(part['code']['coding']) AS coding FROM component
  UNION ALL
  SELECT _lw_row, unnest(part['valueCodeableConcept']['coding']) AS coding FROM component
),
-- Listed, or nobody can tell: no code, or a system that the list does not know.
-- Of ICD-10 the list holds categories as well: F32 stands for F32.0, F32.1 …
special AS (
  SELECT DISTINCT c._lw_row
  FROM coding c
  LEFT JOIN known_systems k ON k.system = c.coding['system']
  LEFT JOIN special_codes exact ON exact.system = k.canonical AND exact.code = c.coding['code']
  LEFT JOIN special_codes category
    ON category.system = k.canonical AND category.code = left(c.coding['code'], 3) AND k.matching = 'category'
  WHERE k.system IS NULL OR c.coding['code'] IS NULL OR exact.code IS NOT NULL OR category.code IS NOT NULL
),
-- A panel whose values are all in its components has no row of its own; a result that simply has no value has one.
value AS (
  SELECT _lw_row, CAST(0 AS BIGINT) AS component, payload['code'] AS code, payload['valueQuantity'] AS quantity,
    payload['valueInteger'] AS number, payload['valueCodeableConcept'] AS concept, payload['valueString'] AS words,
    payload['referenceRange'][1] AS range, payload['interpretation'][1]['coding'][1]['code'] AS interpretation,
    payload['code']['coding'][1]['system'] AS code_system
  FROM event
  WHERE coalesce(cardinality(payload['component']), 0) = 0
    OR payload['valueQuantity']['value'] IS NOT NULL
    OR payload['valueInteger'] IS NOT NULL
    OR payload['valueCodeableConcept']['coding'][1]['code'] IS NOT NULL
    OR payload['valueCodeableConcept']['text'] IS NOT NULL
    OR payload['valueString'] IS NOT NULL
  UNION ALL
  SELECT _lw_row, place, part['code'], part['valueQuantity'], part['valueInteger'], part['valueCodeableConcept'],
    part['valueString'], part['referenceRange'][1], part['interpretation'][1]['coding'][1]['code'],
    part['code']['coding'][1]['system']
  FROM component
)
SELECT
  e._lw_row,
  CASE WHEN e.payload['resourceType'] = 'Observation' THEN e.payload['id'] END AS observation_id,
  v.component,
  fhir_reference(e.payload['subject']['reference']) AS patient_id,
  fhir_reference(e.payload['encounter']['reference']) AS encounter_id,
  -- The staff's id: other kinds of people who may stand here are no practitioners, the patient least of all.
  CASE
    WHEN e.payload['performer'][1]['reference'] LIKE 'urn:uuid:%'
      OR e.payload['performer'][1]['reference'] LIKE '%Practitioner/%'
      OR e.payload['performer'][1]['reference'] LIKE 'Practitioner?%'
    THEN nullif(
      fhir_reference(e.payload['performer'][1]['reference']),
      fhir_reference(e.payload['subject']['reference']))
  END AS practitioner_id,
  e.payload['status'] AS status,
  e.payload['category'][1]['coding'][1]['code'] AS category,
  v.code['coding'][1]['code'] AS code,
  v.code_system,
  -- The display of an unknown system may be anything, a name too.
  CASE WHEN k.system IS NOT NULL THEN v.code['coding'][1]['display'] END AS code_text,
  coalesce(v.quantity['value'], CAST(v.number AS DOUBLE)) AS value,
  v.quantity['comparator'] AS value_comparator,
  coalesce(v.quantity['unit'], v.quantity['code']) AS unit,
  v.concept['coding'][1]['code'] AS value_code,
  coalesce(v.words, v.concept['text']) AS value_text,
  v.range['low']['value'] AS reference_low,
  v.range['high']['value'] AS reference_high,
  v.interpretation,
  coalesce(
    fhir_instant(e.payload['effectiveDateTime']),
    fhir_instant(e.payload['effectiveInstant']),
    fhir_instant(e.payload['effectivePeriod']['start'])) AS effective_at,
  CASE WHEN v.component <= 1 THEN nullif(
    concat_ws(E'\n',
      e.payload['note'][1]['text'],
      e.payload['note'][2]['text'],
      e.payload['note'][3]['text']),
    '') END AS note,
  -- All rows of an observation are as sensitive as the most sensitive.
  -- Without a code nobody can tell that it is ordinary.
  CASE
    WHEN s._lw_row IS NOT NULL OR coalesce(cardinality(e.payload['code']['coding']), 0) = 0
    THEN 'special' ELSE 'ordinary'
  END AS sensitivity
FROM event e
JOIN value v ON v._lw_row = e._lw_row
LEFT JOIN known_systems k ON k.system = v.code_system
LEFT JOIN special s ON s._lw_row = e._lw_row
