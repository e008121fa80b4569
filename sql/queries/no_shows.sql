-- Of what was booked: how much was kept, called off, or missed, by clinic and week.
SELECT c.name AS clinic, date_trunc('week', a.starts_at) AS week, count(*) AS booked,
  count(*) FILTER (WHERE a.status = 'fulfilled') AS kept,
  count(*) FILTER (WHERE a.status = 'cancelled') AS called_off,
  count(*) FILTER (WHERE a.status = 'noshow') AS missed
FROM appointments a
JOIN clinics c ON c.clinic_id = a.clinic_id
WHERE a.status <> 'entered-in-error'
GROUP BY 1, 2
ORDER BY 2 DESC, 1
