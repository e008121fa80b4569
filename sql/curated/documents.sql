-- Letters, reports, scans. The bytes are decoded once, below, for their length and digest are taken from them.
WITH coding AS (
  SELECT _lw_row, coding['system'] AS system, coding['code'] AS code
  FROM (
    SELECT _lw_row, unnest(payload['type']['coding']) AS coding FROM event
    UNION ALL
    SELECT _lw_row, unnest(payload['context']['practiceSetting']['coding']) AS coding FROM event
    UNION ALL
    SELECT _lw_row, unnest(concept['coding']) AS coding
    FROM (SELECT _lw_row, unnest(payload['context']['event']) AS concept FROM event)
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
document AS (
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
  e._lw_row,
  CASE WHEN e.payload['resourceType'] = 'DocumentReference' THEN e.payload['id'] END AS document_id,
  fhir_reference(e.payload['subject']['reference']) AS patient_id,
  fhir_reference(e.payload['context']['encounter'][1]['reference']) AS encounter_id,
  -- The staff's id: other kinds of people who may stand here are no practitioners, the patient least of all.
  CASE
    WHEN e.payload['author'][1]['reference'] LIKE 'urn:uuid:%'
      OR e.payload['author'][1]['reference'] LIKE '%Practitioner/%'
      OR e.payload['author'][1]['reference'] LIKE 'Practitioner?%'
    THEN nullif(
      fhir_reference(e.payload['author'][1]['reference']),
      fhir_reference(e.payload['subject']['reference']))
  END AS practitioner_id,
  fhir_reference(e.payload['custodian']['reference']) AS clinic_id,
  e.payload['type']['coding'][1]['code'] AS type_code,
  coalesce(e.attachment['title'], e.payload['description']) AS title,
  e.attachment['contentType'] AS content_type,
  coalesce(e.size_bytes, e.attachment['size']) AS size_bytes,
  encode(sha256(e.bytes), 'hex') AS sha256,
  coalesce(fhir_instant(e.payload['date']), fhir_instant(e.attachment['creation'])) AS created_at,
  e.bytes AS content,
  CASE WHEN e.bytes IS NULL THEN e.attachment['url'] END AS content_url,
  -- Without a code nobody can tell that it is ordinary.
  CASE
    WHEN s._lw_row IS NOT NULL OR (cardinality(e.payload['type']['coding']) > 0) IS NOT TRUE
    THEN 'special' ELSE 'ordinary'
  END AS sensitivity
FROM special s
RIGHT JOIN document e ON s._lw_row = e._lw_row
