-- The commonest diagnoses by age band. Pseudonyms of one purpose join: who a patient is stays hidden.
SELECT p.birth_date AS born_in_band_from, c.code, c.code_text, count(DISTINCT c.patient_id) AS patients
FROM conditions c
JOIN patients p ON p.patient_id = c.patient_id
WHERE c.verification_status = 'confirmed'
GROUP BY 1, 2, 3
-- A group of few is a person.
HAVING count(DISTINCT c.patient_id) >= 5
ORDER BY 4 DESC, 1
