-- Encounters that this event makes special: by the same rule as the sensitivity of its own row.
SELECT _lw_row, fhir_reference(payload['encounter']['reference']) AS encounter_id
FROM event
WHERE fhir_reference(payload['encounter']['reference']) IS NOT NULL
  AND (fhir_listed('special_codes', 'known_systems',
    payload['code'], payload['valueCodeableConcept'], payload['component']) IS NOT FALSE
    OR (cardinality(payload['code']['coding']) > 0) IS NOT TRUE)
