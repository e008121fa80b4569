-- title: A grant was used at night
-- severity: critical
-- Between 22 and 6 o'clock, UTC.
SELECT
  grant_id || ' ' || principal || ' ' || CAST(date_trunc('day', at) AS VARCHAR) AS key,
  principal,
  min(at) AS at,
  CAST(count(*) AS VARCHAR) || ' statements under the grant ' || grant_id AS detail
FROM audit.events
WHERE kind = 'finished'
  AND grant_id IS NOT NULL
  AND (date_part('hour', at) >= 22 OR date_part('hour', at) < 6)
  AND at > now() - INTERVAL '2 days'
GROUP BY grant_id, principal, date_trunc('day', at)
