-- Never run: the bench commits the rows itself.
SELECT _lw_row, payload['o_orderkey'] AS o_orderkey, CAST(NULL AS VARCHAR) AS o_customer,
  CAST(NULL AS VARCHAR) AS o_orderstatus, CAST(NULL AS DECIMAL(15, 2)) AS o_totalprice, CAST(NULL AS DATE) AS o_orderdate,
  CAST(NULL AS VARCHAR) AS o_orderpriority
FROM event
