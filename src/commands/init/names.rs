//! Names: of columns, of tables, and what a column's name lets one guess of what it holds.

/// A name as tables have it: lower-case letters, digits and `_`, beginning with a letter.
pub(super) fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut before: Option<char> = None;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let begins_word = letter.is_ascii_uppercase()
            && (before.is_some_and(|before| before.is_ascii_lowercase() || before.is_ascii_digit())
                || before.is_some_and(|before| before.is_ascii_uppercase())
                    && letters.peek().is_some_and(char::is_ascii_lowercase));
        if begins_word {
            snake.push('_');
        }
        snake.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' });
        before = Some(letter);
    }
    let words: Vec<&str> = snake.split('_').filter(|word| !word.is_empty()).collect();
    let joined = words.join("_");
    match joined.chars().next() {
        None => "field".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("field_{joined}"),
        Some(_) => joined,
    }
}

/// What one message of a topic is: the last word of the topic's name.
pub(super) fn thing(topic: &str) -> String {
    snake(topic.rsplit('.').next().unwrap_or(topic))
}

/// Many of them: the name of the table.
pub(super) fn plural(thing: &str) -> String {
    if thing.ends_with('s') {
        return thing.to_owned();
    }
    match thing.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{thing}s"),
    }
}

/// Whether a field's name is that of a message's own id.
pub(super) fn is_id(field: &str, thing: &str) -> bool {
    let name = snake(field);
    ["id", "uuid", "key"].contains(&name.as_str()) || name == format!("{thing}_id")
}

/// A tag by its first fitting row: whole name, ending or word.
const GUESSES: [(&str, &[&str]); 9] = [
    ("contact.email", &["email", "e_mail", "mail"]),
    ("contact.phone", &["phone", "telephone", "tel", "mobile", "fax"]),
    (
        "identifier.direct",
        &[
            "passport", "iban", "card", "ssn", "tax", "license", "licence", "street", "address", "ip", "login",
            "username",
        ],
    ),
    (
        "identifier.quasi",
        &["birth", "birthday", "born", "gender", "sex", "zip", "postal", "postcode", "city", "region", "age"],
    ),
    ("name", &["firstname", "lastname", "surname", "fullname"]),
    ("text.free", &["note", "notes", "comment", "comments", "message", "description", "remark", "text"]),
    ("finance", &["amount", "price", "total", "cost", "currency", "discount", "salary", "paid", "balance", "fee"]),
    ("time", &["time", "date"]),
    ("operational", &["status", "state", "quantity", "count", "channel", "kind", "type", "version"]),
];

/// Whose names are a person's.
const PERSONS: [&str; 16] = [
    "first", "last", "family", "given", "full", "middle", "maiden", "sur", "customer", "client", "user", "person",
    "contact", "patient", "employee", "owner",
];

/// The tag that a column probably needs, by its name; `None` where the name tells nothing.
pub(super) fn guess(column: &str, is_key: bool, is_time: bool, is_address: bool) -> Option<&'static str> {
    let words: Vec<&str> = column.split('_').collect();
    let last = words.last().copied().unwrap_or_default();
    if is_key {
        return Some("key.event");
    }
    if is_address {
        return Some("contact.email");
    }
    if ["id", "uuid", "key"].contains(&last) && words.len() > 1 {
        let of_person = words.iter().any(|word| PERSONS[8..].contains(word));
        return Some(if of_person { "key.subject" } else { "key.event" });
    }
    if column == "name" || (["name", "names"].contains(&last) && words.iter().any(|word| PERSONS.contains(word))) {
        return Some("name");
    }
    let by_name = GUESSES.iter().find(|(_, hints)| words.iter().any(|word| hints.contains(word))).map(|(tag, _)| *tag);
    // A date of birth is more than a time.
    by_name.filter(|tag| !is_time || *tag == "identifier.quasi").or(is_time.then_some("time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_called_as_tables_have_it() {
        for (field, column) in [
            ("orderId", "order_id"),
            ("HTTPStatus", "http_status"),
            ("line2Text", "line2_text"),
            ("e-mail", "e_mail"),
            ("_lw_row", "lw_row"),
            ("2nd", "field_2nd"),
            ("цена", "field"),
            ("already_snake", "already_snake"),
        ] {
            assert_eq!(snake(field), column, "{field}");
        }
        assert_eq!(
            (thing("shop.order"), plural("order"), plural("category"), plural("day")),
            ("order".into(), "orders".into(), "categories".into(), "days".into())
        );
        assert!(is_id("orderId", "order") && is_id("id", "order") && !is_id("customer_id", "order"));
    }

    #[test]
    fn a_guess_is_made_where_the_name_tells_and_nowhere_else() {
        for (column, expected) in [
            ("customer_id", Some("key.subject")),
            ("store_id", Some("key.event")),
            ("full_name", Some("name")),
            ("item_name", None),
            ("work_email", Some("contact.email")),
            ("birth_year", Some("identifier.quasi")),
            ("amount", Some("finance")),
            ("weight", None),
            ("stage", None),
        ] {
            assert_eq!(guess(column, false, false, false), expected, "{column}");
        }
        assert_eq!(guess("order_id", true, false, false), Some("key.event"));
        assert_eq!(guess("paid_at", false, true, false), Some("time"));
        assert_eq!(guess("birth_date", false, true, false), Some("identifier.quasi"));
        assert_eq!(guess("x", false, false, true), Some("contact.email"));
    }
}
