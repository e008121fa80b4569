-- Visits.
SELECT
  _lw_row,
  CASE WHEN payload['resourceType'] = 'Encounter' THEN payload['id'] END AS encounter_id,
  fhir_reference(payload['subject']['reference']) AS patient_id,
  -- The staff's id: other kinds of people who may stand here are no practitioners, the patient least of all.
  CASE
    WHEN payload['participant'][1]['individual']['reference'] LIKE 'urn:uuid:%'
      OR payload['participant'][1]['individual']['reference'] LIKE '%Practitioner/%'
      OR payload['participant'][1]['individual']['reference'] LIKE 'Practitioner?%'
    THEN nullif(
      fhir_reference(payload['participant'][1]['individual']['reference']),
      fhir_reference(payload['subject']['reference']))
  END AS practitioner_id,
  coalesce(
    fhir_reference(payload['serviceProvider']['reference']),
    fhir_reference(payload['location'][1]['location']['reference'])) AS clinic_id,
  fhir_instant(payload['period']['start']) AS started_at,
  fhir_instant(payload['period']['end']) AS ended_at,
  payload['class']['code'] AS class,
  payload['status'] AS status,
  payload['type'][1]['coding'][1]['code'] AS type_code,
  -- The display of an unknown system may be anything, a name too.
  CASE
    WHEN fhir_known_system('known_systems', payload['type'][1]['coding'][1]['system'])
    THEN payload['type'][1]['coding'][1]['display']
  END AS type_text,
  payload['reasonCode'][1]['coding'][1]['code'] AS reason_code,
  coalesce(
    payload['reasonCode'][1]['text'], payload['reasonCode'][1]['coding'][1]['display']) AS reason_text,
  -- A visit without any code is ordinary until one of its rows is special.
  CASE
    WHEN fhir_listed('special_codes', 'known_systems',
        payload['type'], payload['reasonCode'], payload['serviceType']) IS FALSE
    THEN 'ordinary' ELSE 'special'
  END AS sensitivity
FROM event
