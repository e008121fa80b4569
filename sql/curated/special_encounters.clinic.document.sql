-- Encounters that this event makes special: by the same rule as the sensitivity of its own row.
SELECT _lw_row, fhir_reference(payload['context']['encounter'][1]['reference']) AS encounter_id
FROM event
WHERE fhir_reference(payload['context']['encounter'][1]['reference']) IS NOT NULL
  AND (fhir_listed('special_codes', 'known_systems',
    payload['type'], payload['context']['practiceSetting'], payload['context']['event']) IS NOT FALSE
    OR (cardinality(payload['type']['coding']) > 0) IS NOT TRUE)
