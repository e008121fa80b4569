-- What patients allow. Anything that does not plainly permit denies.
SELECT
  _lw_row,
  CASE
    WHEN payload['resourceType'] = 'Consent' THEN fhir_reference(payload['patient']['reference'])
  END AS patient_id,
  CASE
    WHEN payload['provision']['purpose'][1]['code'] = 'HRESCH' THEN 'research'
    ELSE payload['scope']['coding'][1]['code']
  END AS purpose,
  coalesce(payload['status'] = 'active' AND payload['provision']['type'] = 'permit', FALSE) AS granted,
  fhir_instant(payload['provision']['period']['end']) AS expires_at,
  fhir_instant(payload['dateTime']) AS recorded_at
FROM event
