//! What is asked.

use crate::pair::Target;

/// A statement, who asks it governed, and what bare DataFusion is asked instead.
pub(super) struct Question {
    pub(super) what: &'static str,
    pub(super) role: &'static str,
    pub(super) governed: &'static str,
    pub(super) bare: &'static str,
    pub(super) target: Target,
    /// Whether the barrier is transparent.
    pub(super) transparent: bool,
    /// Whether both sides answer the same text; answers of many rows are only counted.
    pub(super) compared: bool,
}

const SCAN: &str = "SELECT l_orderkey, l_linenumber, l_supplier, l_quantity, l_extendedprice, l_returnflag, l_shipdate, l_comment \
     FROM lineitem";

const SCAN_BY_HAND: &str = "SELECT l_orderkey, l_linenumber, l_supplier, l_quantity, l_extendedprice, l_returnflag, l_shipdate, l_comment \
     FROM lineitem WHERE l_orderkey IN (SELECT o_orderkey FROM orders WHERE o_orderpriority = '1-URGENT')";

const PRICING: &str = "SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice), \
     sum(l_extendedprice * (1 - l_discount)), sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)), \
     avg(l_quantity), avg(l_extendedprice), avg(l_discount), count(*) \
     FROM lineitem WHERE l_shipdate <= DATE '1998-09-02' \
     GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus";

const SHIPPING: &str = "SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate \
     FROM orders JOIN lineitem ON l_orderkey = o_orderkey \
     WHERE o_orderdate < DATE '1995-03-15' AND l_shipdate > DATE '1995-03-15' \
     GROUP BY l_orderkey, o_orderdate ORDER BY revenue DESC, o_orderdate, l_orderkey LIMIT 10";

/// The role `desk` asks with this priority.
pub(super) const PRIORITY: &str = "1-URGENT";

pub(super) fn questions() -> [Question; 5] {
    let full = Target::AtMost(1.10);
    let question = |what, role, governed, bare, target, transparent, compared| Question {
        what,
        role,
        governed,
        bare,
        target,
        transparent,
        compared,
    };
    [
        question("scan, full access", "owner", SCAN, SCAN, full, true, false),
        question("scan, two masks", "counter", SCAN, SCAN, Target::None, false, false),
        question("scan, a scope that looks into another table", "desk", SCAN, SCAN_BY_HAND, Target::None, false, false),
        question("aggregation like TPC-H Q1, full access", "owner", PRICING, PRICING, full, true, true),
        question("aggregation like TPC-H Q3, full access", "owner", SHIPPING, SHIPPING, full, true, true),
    ]
}
