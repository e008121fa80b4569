-- title: One person took far more rows in a day than on their own days before
-- severity: warning
-- Ten times the mean of at least five days, and never fewer than 10,000 rows.
WITH days AS (
  SELECT principal, date_trunc('day', at) AS day, sum(rows) AS taken
  FROM audit.events
  WHERE kind = 'finished' AND at > now() - INTERVAL '31 days'
  GROUP BY principal, date_trunc('day', at)
),
history AS (
  SELECT principal AS who, avg(taken) AS usual, count(*) AS days
  FROM days
  WHERE day < date_trunc('day', now())
  GROUP BY principal
)
SELECT
  principal || ' ' || CAST(day AS VARCHAR) AS key,
  principal,
  day AS at,
  CAST(taken AS VARCHAR) || ' rows, ' || CAST(CAST(usual AS BIGINT) AS VARCHAR) || ' a day before' AS detail
FROM days JOIN history ON principal = who
WHERE day = date_trunc('day', now()) AND days >= 5 AND taken >= 10000 AND taken > 10 * usual
