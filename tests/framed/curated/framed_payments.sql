SELECT _lw_row, payload['payment_id'] AS payment_id, payload['amount'] AS amount, payload['visits'] AS visits,
  payload['paid_at'] AS paid_at, payload['services'][1]['code'] AS service
FROM event
