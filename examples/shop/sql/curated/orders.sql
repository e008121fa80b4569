-- What an order costs is not in the message: it is the sum of its lines.
WITH line AS (
  SELECT _lw_row, item['pieces'] AS pieces, item['price'] AS price
  FROM (SELECT _lw_row, unnest(payload['lines']) AS item FROM event)
),
summed AS (
  SELECT _lw_row, sum(pieces) AS pieces, sum(pieces * price) AS amount FROM line GROUP BY _lw_row
)
SELECT
  e._lw_row,
  e.payload['order_id'] AS order_id,
  e.payload['customer']['id'] AS customer_id,
  e.payload['store'] AS store,
  e.payload['status'] AS status,
  s.pieces,
  s.amount,
  e.payload['placed_at'] AS placed_at,
  e.payload['note'] AS note
FROM event e
LEFT JOIN summed s ON s._lw_row = e._lw_row
