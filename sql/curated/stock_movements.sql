SELECT
  _lw_row,
  payload['movement_id'] AS movement_id,
  payload['clinic_id'] AS clinic_id,
  payload['item_code'] AS item_code,
  payload['item_name'] AS item_name,
  payload['batch'] AS batch,
  payload['quantity'] AS quantity,
  payload['reason'] AS movement_reason,
  fhir_instant(payload['moved_at']) AS moved_at
FROM event
