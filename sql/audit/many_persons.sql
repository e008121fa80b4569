-- title: One person took the rows of a large share of all patients in a day
-- severity: warning
-- A fifth of all persons that anybody saw in 30 days, and at least 1,000; or one answer of 10,000 rows and more whose persons
-- were too many to be told one by one.
WITH seen AS (
  SELECT principal, at, rows, unnest(subjects) AS of_table
  FROM audit.events
  WHERE kind = 'finished' AND subjects IS NOT NULL AND at > now() - INTERVAL '30 days'
),
persons AS (
  SELECT principal, date_trunc('day', at) AS day, unnest(of_table['digests']) AS person FROM seen
),
known AS (
  SELECT count(DISTINCT person) AS persons FROM persons
),
taken AS (
  SELECT principal, day, count(DISTINCT person) AS persons FROM persons GROUP BY principal, day
)
SELECT
  principal || ' ' || CAST(day AS VARCHAR) AS key,
  principal,
  day AS at,
  CAST(taken.persons AS VARCHAR) || ' of ' || CAST(known.persons AS VARCHAR) || ' persons' AS detail
FROM taken CROSS JOIN known
WHERE taken.persons >= 1000 AND taken.persons * 5 > known.persons AND day > now() - INTERVAL '2 days'
UNION ALL
SELECT
  principal || ' all ' || CAST(date_trunc('day', at) AS VARCHAR) AS key,
  principal,
  min(at) AS at,
  CAST(max(rows) AS VARCHAR) || ' rows about more persons than are told one by one' AS detail
FROM seen
WHERE of_table['all_in_scope'] AND rows >= 10000 AND at > now() - INTERVAL '2 days'
GROUP BY principal, date_trunc('day', at)
