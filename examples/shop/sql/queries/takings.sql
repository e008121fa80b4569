SELECT store, count(*) AS orders, sum(amount) AS takings FROM orders GROUP BY store ORDER BY store
