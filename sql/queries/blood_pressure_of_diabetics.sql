-- Blood pressure of those with diabetes, by week: the components of the panel, one row each (LOINC 8480-6 and 8462-4).
SELECT date_trunc('week', o.effective_at) AS week,
  round(avg(o.value) FILTER (WHERE o.code = '8480-6'), 1) AS systolic,
  round(avg(o.value) FILTER (WHERE o.code = '8462-4'), 1) AS diastolic,
  count(DISTINCT o.patient_id) AS patients
FROM observations o
WHERE o.code IN ('8480-6', '8462-4')
  AND o.patient_id IN (
    SELECT patient_id FROM conditions WHERE code = '44054006' OR code LIKE 'E11%')
GROUP BY 1
ORDER BY 1 DESC
