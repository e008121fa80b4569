-- Encounters that this event makes special: by the same rule as the sensitivity of its own row.
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
SELECT e._lw_row, fhir_reference(e.payload['encounter']['reference']) AS encounter_id
FROM special s
RIGHT JOIN event e ON s._lw_row = e._lw_row
WHERE fhir_reference(e.payload['encounter']['reference']) IS NOT NULL
  AND (s._lw_row IS NOT NULL OR (cardinality(e.payload['medicationCodeableConcept']['coding']) > 0) IS NOT TRUE)
