//! The texts of the policy skeleton: nothing in it opens a cell.

use std::collections::BTreeSet;

use super::contract::Column;

/// `policies/purposes.yaml`, where there is none.
pub(super) fn purposes(role: &str) -> String {
    format!(
        "# Each role serves one purpose. A request has one purpose and activates the roles of that purpose alone (and
# `nobody`, which everybody has), so that a person of two roles never sees their sum.
roles:
  nobody: public
  {role}: {PURPOSE}

# Pairs that nobody may hold together: whoever has both gets neither.
incompatible: []
"
    )
}

/// The purpose of the role in a new folder.
pub(super) const PURPOSE: &str = "reading";

/// `policies/lakehouse.cedarschema`, where there is no schema.
pub(super) const SCHEMA: &str = "\
// The vocabulary of the policies in this folder. Names of tables, columns, tags and scopes are not listed here: they come
// from the contracts.

// Who asks. What tokens say of a person becomes an attribute here and can be used in row scopes by attr('…'), such as
//   entity User in [Role] = { store?: String, regions?: Set<String> };
entity User in [Role];

// Only the roles of the request's purpose are parents of the User, and always \"nobody\".
entity Role;

entity Schema;

// \"curated.orders\", \"raw.shop_order\". Raw tables stand also in the groups \"raw.*\" and \"raw.*__dead_letter\".
entity Table in [Schema, Table];

// \"curated.orders.amount\".
entity Column in [Table, Tag];

// What a column holds; \"unclassified\" when nobody has said.
entity Tag;

// Rows: is the scope `context.rows` of this table open to the principal?
action read, export, erase appliesTo {
  principal: [User],
  resource: [Table],
  context: Asked,
};

// Cells: how does this column look in the rows of the scope `context.rows`?
action see_clear, see_generalised, see_pseudonym appliesTo {
  principal: [User],
  resource: [Column],
  context: Asked,
};

type Asked = {
  // Name of a row scope of the table's contract, or \"all\".
  rows: String,
  // The one purpose of the request.
  purpose: String,
};
";

/// `policies/masks.yaml`, where there is none.
pub(super) const MASKS: &str = "\
# How a value looks at each level, by the tags of its column. A level that has no entry for a tag hides the column; `clear`
# and `hidden` need none. An entry is taken once a column has the tag. Such as:
#
#   generalised:
#     time: {default: week}                # the Monday of the week
#     identifier.quasi:
#       birth_date: {band_years: 5, top_age: 90}
#       postal_code: {prefix: 3}
#       default: null
#   pseudonym:
#     key.subject: hmac                    # under a key of the purpose: two purposes cannot be joined
generalised: {}
pseudonym: {}
";

/// `policies/<table>.cedar`.
pub(super) fn policies(table: &str, role: &str, purpose: &str, columns: &[Column<'_>]) -> String {
    let tags: BTreeSet<&str> = columns.iter().filter_map(|column| column.guess).collect();
    let tags: Vec<String> = tags.into_iter().map(|tag| format!("Tag::\"{tag}\"")).collect();
    let tags = if tags.is_empty() { "Tag::\"…\"".to_owned() } else { tags.join(", ") };
    format!(
        "// Who sees what of curated.{table}. What nothing here permits is hidden.

// The rows are there for the role; every cell of them is hidden.
@id(\"{role}.{table}.all.read\")
permit (
  principal in Role::\"{role}\",
  action == Action::\"read\",
  resource == Table::\"curated.{table}\"
)
when {{ context.purpose == \"{purpose}\" && context.rows == \"all\" }};

// Cells, once their columns have tags: leave those tags that the role needs, and take the `// ` away.
// @id(\"{role}.{table}.all.clear\")
// permit (
//   principal in Role::\"{role}\",
//   action == Action::\"see_clear\",
//   resource in Table::\"curated.{table}\"
// )
// when {{
//   context.purpose == \"{purpose}\" && context.rows == \"all\" &&
//   resource in [{tags}]
// }};
"
    )
}
