-- Visits by week and clinic. An analyst's `started_at` is the Monday of its week already; date_trunc keeps the question
-- right for those who see the day.
SELECT date_trunc('week', e.started_at) AS week, c.name AS clinic, count(*) AS visits,
  count(DISTINCT e.patient_id) AS patients
FROM encounters e
LEFT JOIN clinics c ON c.clinic_id = e.clinic_id
WHERE e.status = 'finished'
GROUP BY 1, 2
ORDER BY 1 DESC, 3 DESC
