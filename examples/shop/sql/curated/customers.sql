SELECT
  _lw_row,
  payload['customer_id'] AS customer_id,
  payload['full_name'] AS full_name,
  payload['email'] AS email,
  payload['city'] AS city,
  payload['postal_code'] AS postal_code,
  payload['born_on'] AS born_on
FROM event
