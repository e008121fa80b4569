-- What should lie in each store: all movements added up, goods that ran below nothing first.
SELECT c.name AS clinic, s.item_code, max(s.item_name) AS item, sum(s.quantity) AS pieces, max(s.moved_at) AS last_moved
FROM stock_movements s
JOIN clinics c ON c.clinic_id = s.clinic_id
GROUP BY 1, 2
ORDER BY 4
