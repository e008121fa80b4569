-- Diagnoses.
SELECT
  _lw_row,
  CASE WHEN payload['resourceType'] = 'Condition' THEN payload['id'] END AS condition_id,
  fhir_reference(payload['subject']['reference']) AS patient_id,
  fhir_reference(payload['encounter']['reference']) AS encounter_id,
  -- The staff's id: other kinds of people who may stand here are no practitioners, the patient least of all.
  coalesce(
    CASE
      WHEN payload['recorder']['reference'] LIKE 'urn:uuid:%'
        OR payload['recorder']['reference'] LIKE '%Practitioner/%'
        OR payload['recorder']['reference'] LIKE 'Practitioner?%'
      THEN nullif(
        fhir_reference(payload['recorder']['reference']),
        fhir_reference(payload['subject']['reference']))
    END,
    CASE
      WHEN payload['asserter']['reference'] LIKE 'urn:uuid:%'
        OR payload['asserter']['reference'] LIKE '%Practitioner/%'
        OR payload['asserter']['reference'] LIKE 'Practitioner?%'
      THEN nullif(
        fhir_reference(payload['asserter']['reference']),
        fhir_reference(payload['subject']['reference']))
    END) AS practitioner_id,
  payload['code']['coding'][1]['code'] AS code,
  payload['code']['coding'][1]['system'] AS code_system,
  -- The display of an unknown system may be anything, a name too.
  CASE
    WHEN fhir_known_system('known_systems', payload['code']['coding'][1]['system'])
    THEN payload['code']['coding'][1]['display']
  END AS code_text,
  payload['clinicalStatus']['coding'][1]['code'] AS clinical_status,
  payload['verificationStatus']['coding'][1]['code'] AS verification_status,
  coalesce(fhir_instant(payload['onsetDateTime']), fhir_instant(payload['onsetPeriod']['start'])) AS onset_at,
  nullif(
    concat_ws(E'\n',
      payload['note'][1]['text'],
      payload['note'][2]['text'],
      payload['note'][3]['text']),
    '') AS note,
  -- Without a code nobody can tell that it is ordinary.
  CASE
    WHEN fhir_listed('special_codes', 'known_systems', payload['code']) IS FALSE
      AND cardinality(payload['code']['coding']) > 0
    THEN 'ordinary' ELSE 'special'
  END AS sensitivity
FROM event
