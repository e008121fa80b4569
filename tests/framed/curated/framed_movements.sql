SELECT _lw_row, payload['movement_id'] AS movement_id, payload['quantity'] AS quantity, payload['pieces'] AS pieces,
  payload['moved_at'] AS moved_at
FROM event
