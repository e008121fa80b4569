-- Prescriptions.
SELECT
  _lw_row,
  CASE WHEN payload['resourceType'] = 'MedicationRequest' THEN payload['id'] END AS medication_request_id,
  fhir_reference(payload['subject']['reference']) AS patient_id,
  fhir_reference(payload['encounter']['reference']) AS encounter_id,
  -- The staff's id: other kinds of people who may stand here are no practitioners, the patient least of all.
  CASE
    WHEN payload['requester']['reference'] LIKE 'urn:uuid:%'
      OR payload['requester']['reference'] LIKE '%Practitioner/%'
      OR payload['requester']['reference'] LIKE 'Practitioner?%'
    THEN nullif(
      fhir_reference(payload['requester']['reference']),
      fhir_reference(payload['subject']['reference']))
  END AS practitioner_id,
  payload['status'] AS status,
  payload['medicationCodeableConcept']['coding'][1]['code'] AS code,
  -- The display of an unknown system may be anything, a name too.
  CASE
    WHEN fhir_known_system('known_systems', payload['medicationCodeableConcept']['coding'][1]['system'])
    THEN payload['medicationCodeableConcept']['coding'][1]['display']
  END AS code_text,
  nullif(
    concat_ws(E'\n',
      payload['dosageInstruction'][1]['text'],
      payload['dosageInstruction'][2]['text'],
      payload['dosageInstruction'][3]['text']),
    '') AS dosage_text,
  fhir_instant(payload['authoredOn']) AS authored_at,
  -- Without a code nobody can tell that it is ordinary.
  CASE
    WHEN fhir_listed('special_codes', 'known_systems',
        payload['medicationCodeableConcept'], payload['reasonCode']) IS FALSE
      AND cardinality(payload['medicationCodeableConcept']['coding']) > 0
    THEN 'ordinary' ELSE 'special'
  END AS sensitivity
FROM event
