-- title: Many statements of one person were refused or found no table within an hour
-- severity: warning
SELECT
  principal || ' ' || CAST(date_trunc('hour', at) AS VARCHAR) AS key,
  principal,
  max(at) AS at,
  CAST(count(*) AS VARCHAR) || ' statements were denied' AS detail
FROM audit.events
WHERE kind IN ('finished', 'described', 'accesses')
  AND outcome IN ('refused', 'not_found', 'forbidden')
  AND at > now() - INTERVAL '1 day'
GROUP BY principal, date_trunc('hour', at)
HAVING count(*) >= 20
