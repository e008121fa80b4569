-- Encounters that this event makes special: by the same rule as the sensitivity of its own row.
-- By far the most events, and few are special: an encounter's name is read of those alone.
SELECT _lw_row, fhir_reference(reference) AS encounter_id
FROM (
  SELECT _lw_row, payload['encounter']['reference'] AS reference,
    fhir_listed('special_codes', 'known_systems',
      payload['code'], payload['valueCodeableConcept'], payload['component']) IS NOT FALSE
    OR (cardinality(payload['code']['coding']) > 0) IS NOT TRUE AS special
  FROM event
)
WHERE special AND fhir_reference(reference) IS NOT NULL
