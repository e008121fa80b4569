-- Laboratory tests by how many of their results lie outside the reference range.
SELECT code, code_text, unit, count(*) AS results,
  count(*) FILTER (WHERE value < reference_low) AS below,
  count(*) FILTER (WHERE value > reference_high) AS above,
  round(avg(value), 2) AS mean
FROM observations
WHERE category = 'laboratory' AND value IS NOT NULL AND status IN ('final', 'amended', 'corrected')
  -- A bound is no value.
  AND value_comparator IS NULL
GROUP BY 1, 2, 3
ORDER BY 4 DESC
