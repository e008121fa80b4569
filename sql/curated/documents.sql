-- Letters, reports, scans. The bytes are decoded once, below, for their length and digest are taken from them.
WITH document AS (
  SELECT _lw_row, payload, payload['content'][1]['attachment'] AS attachment,
    decode(data, 'base64') AS bytes,
    -- Three bytes in four characters, padding apart.
    CAST(octet_length(rtrim(data, '=')) AS BIGINT) * 3 / 4 AS size_bytes
  FROM (
    -- base64 in FHIR may be broken into lines.
    SELECT *, regexp_replace(payload['content'][1]['attachment']['data'], '\s', '', 'g') AS data FROM event
  )
)
SELECT
  _lw_row,
  CASE WHEN payload['resourceType'] = 'DocumentReference' THEN payload['id'] END AS document_id,
  fhir_reference(payload['subject']['reference']) AS patient_id,
  fhir_reference(payload['context']['encounter'][1]['reference']) AS encounter_id,
  -- The staff's id: other kinds of people who may stand here are no practitioners, the patient least of all.
  CASE
    WHEN payload['author'][1]['reference'] LIKE 'urn:uuid:%'
      OR payload['author'][1]['reference'] LIKE '%Practitioner/%'
      OR payload['author'][1]['reference'] LIKE 'Practitioner?%'
    THEN nullif(
      fhir_reference(payload['author'][1]['reference']),
      fhir_reference(payload['subject']['reference']))
  END AS practitioner_id,
  fhir_reference(payload['custodian']['reference']) AS clinic_id,
  payload['type']['coding'][1]['code'] AS type_code,
  coalesce(attachment['title'], payload['description']) AS title,
  attachment['contentType'] AS content_type,
  coalesce(size_bytes, attachment['size']) AS size_bytes,
  encode(sha256(bytes), 'hex') AS sha256,
  coalesce(fhir_instant(payload['date']), fhir_instant(attachment['creation'])) AS created_at,
  bytes AS content,
  CASE WHEN bytes IS NULL THEN attachment['url'] END AS content_url,
  -- Without a code nobody can tell that it is ordinary.
  CASE
    WHEN fhir_listed('special_codes', 'known_systems',
        payload['type'], payload['context']['practiceSetting'], payload['context']['event']) IS FALSE
      AND cardinality(payload['type']['coding']) > 0
    THEN 'ordinary' ELSE 'special'
  END AS sensitivity
FROM document
