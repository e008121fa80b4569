-- Never run: the bench commits the rows itself.
SELECT _lw_row, payload['l_orderkey'] AS l_orderkey, CAST(1 AS BIGINT) AS l_linenumber,
  CAST(NULL AS VARCHAR) AS l_supplier, CAST(NULL AS DECIMAL(15, 2)) AS l_quantity,
  CAST(NULL AS DECIMAL(15, 2)) AS l_extendedprice, CAST(NULL AS DECIMAL(15, 2)) AS l_discount,
  CAST(NULL AS DECIMAL(15, 2)) AS l_tax, CAST(NULL AS VARCHAR) AS l_returnflag, CAST(NULL AS VARCHAR) AS l_linestatus,
  CAST(NULL AS DATE) AS l_shipdate, CAST(NULL AS VARCHAR) AS l_shipmode, CAST(NULL AS VARCHAR) AS l_comment
FROM event
