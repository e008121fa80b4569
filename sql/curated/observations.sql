-- Results and measurements: row 0 for the value itself, then one for each component (blood pressure has two).
-- By far the most rows, so everything is taken out of the payload once.
WITH observation AS (
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
    -- All rows of an observation are as sensitive as the most sensitive.
    -- Without a code nobody can tell that it is ordinary.
    CASE
      WHEN fhir_listed('special_codes', 'known_systems',
          payload['code'], payload['valueCodeableConcept'], payload['component']) IS FALSE
        AND cardinality(payload['code']['coding']) > 0
      THEN 'ordinary' ELSE 'special'
    END AS sensitivity,
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
-- Few observations have components: they are taken apart by themselves, for a CTE is made anew wherever it is named.
-- What is said of an observation here must be what is said above, its sensitivity first of all.
panel AS (
  SELECT _lw_row, unnest(payload['component']) AS part,
    unnest(range(1, CAST(cardinality(payload['component']) AS BIGINT) + 1)) AS component,
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
    -- All rows of an observation are as sensitive as the most sensitive.
    -- Without a code nobody can tell that it is ordinary.
    CASE
      WHEN fhir_listed('special_codes', 'known_systems',
          payload['code'], payload['valueCodeableConcept'], payload['component']) IS FALSE
        AND cardinality(payload['code']['coding']) > 0
      THEN 'ordinary' ELSE 'special'
    END AS sensitivity
  FROM (SELECT _lw_row, payload FROM event WHERE cardinality(payload['component']) > 0)
),
-- A panel whose values are all in its components has no row of its own; a result that simply has no value has one.
value AS (
  SELECT _lw_row, CAST(0 AS BIGINT) AS component, observation_id, patient_id, encounter_id, performer, status, category,
    effective_at, notes, sensitivity, code, code_system, display, value, value_comparator, unit, value_code, value_text,
    reference_low, reference_high, interpretation
  FROM observation
  WHERE (cardinality(components) > 0) IS NOT TRUE
    OR value IS NOT NULL OR value_code IS NOT NULL OR value_text IS NOT NULL
  UNION ALL
  SELECT _lw_row, component, observation_id, patient_id, encounter_id, performer, status, category,
    effective_at, notes, sensitivity,
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
  FROM panel
)
SELECT
  _lw_row,
  observation_id,
  component,
  patient_id,
  encounter_id,
  -- The staff's id: other kinds of people who may stand here are no practitioners, the patient least of all.
  CASE
    WHEN performer LIKE 'urn:uuid:%' OR performer LIKE '%Practitioner/%' OR performer LIKE 'Practitioner?%'
    THEN nullif(fhir_reference(performer), patient_id)
  END AS practitioner_id,
  status,
  category,
  code,
  code_system,
  -- The display of an unknown system may be anything, a name too.
  CASE WHEN fhir_known_system('known_systems', code_system) THEN display END AS code_text,
  value,
  value_comparator,
  unit,
  value_code,
  value_text,
  reference_low,
  reference_high,
  interpretation,
  effective_at,
  CASE
    WHEN component <= 1
    THEN nullif(concat_ws(E'\n', notes[1]['text'], notes[2]['text'], notes[3]['text']), '')
  END AS note,
  sensitivity
FROM value
