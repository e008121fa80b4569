-- Encounters that this event makes special: by the same rule as the sensitivity of its own row.
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
)
SELECT e._lw_row, fhir_reference(e.payload['encounter']['reference']) AS encounter_id
FROM special s
RIGHT JOIN event e ON s._lw_row = e._lw_row
WHERE fhir_reference(e.payload['encounter']['reference']) IS NOT NULL
  AND (s._lw_row IS NOT NULL OR (cardinality(e.payload['code']['coding']) > 0) IS NOT TRUE)
