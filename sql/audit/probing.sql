-- title: Many statements of one shape with different literals in a short time
-- severity: warning
-- Whoever asks for one value after the other may be looking for what is not shown.
SELECT
  principal || ' ' || CAST(date_bin(INTERVAL '10 minutes', at) AS VARCHAR) AS key,
  principal,
  max(at) AS at,
  CAST(max(different) AS VARCHAR) || ' statements that differ in their literals alone' AS detail
FROM (
  SELECT principal, date_bin(INTERVAL '10 minutes', at) AS at, statement, count(DISTINCT digest) AS different
  FROM audit.events
  WHERE kind = 'finished' AND statement IS NOT NULL AND at > now() - INTERVAL '1 day'
  GROUP BY principal, date_bin(INTERVAL '10 minutes', at), statement
)
WHERE different >= 100
GROUP BY principal, date_bin(INTERVAL '10 minutes', at)
