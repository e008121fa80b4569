-- Encounters that this event makes special: by the same rule as the sensitivity of its own row.
SELECT _lw_row, payload['id'] AS encounter_id
FROM event
WHERE payload['id'] IS NOT NULL
  AND fhir_listed('special_codes', 'known_systems',
    payload['type'], payload['reasonCode'], payload['serviceType']) IS NOT FALSE
