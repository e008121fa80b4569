-- Takings by clinic, week and method; sums of different currencies are never added.
SELECT c.name AS clinic, date_trunc('week', p.paid_at) AS week, p.method, p.currency,
  count(*) AS payments, sum(p.amount) AS taken
FROM payments p
JOIN clinics c ON c.clinic_id = p.clinic_id
GROUP BY 1, 2, 3, 4
ORDER BY 2 DESC, 6 DESC
