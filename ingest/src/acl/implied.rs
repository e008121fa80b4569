//! The rights that contracts imply, and what a broker's rights are more or less than that.

use std::collections::BTreeSet;

use lakeward_tables::Lakehouse;

use super::{Operation, Pattern, Resource, Right};

/// Every right that the topics' contracts imply: their producers', their consumers', and Lakeward's own as `lakeward`,
/// which reads all topics in the consumer group `group`.
///
/// A producer may use transactional ids, and a consumer groups, that are called as it is (`User:till`: `till`) or begin
/// with that and a dot (`till.…`).
pub fn implied_rights(lakehouse: &Lakehouse, lakeward: &str, group: &str) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    let mut add = |resource, pattern, name: &str, principal: &str, operations: &[Operation]| {
        rights.extend(operations.iter().map(|operation| Right {
            resource,
            pattern,
            name: name.to_owned(),
            principal: principal.to_owned(),
            host: "*".to_owned(),
            operation: *operation,
        }));
    };
    const READ: [Operation; 2] = [Operation::Read, Operation::Describe];
    const WRITE: [Operation; 2] = [Operation::Write, Operation::Describe];
    for topic in lakehouse.topics.values() {
        for producer in &topic.producers {
            add(Resource::Topic, Pattern::Literal, &topic.topic, producer, &WRITE);
            let name = own_name(producer);
            add(Resource::TransactionalId, Pattern::Literal, name, producer, &WRITE);
            add(Resource::TransactionalId, Pattern::Prefixed, &format!("{name}."), producer, &WRITE);
        }
        for consumer in &topic.consumers {
            add(Resource::Topic, Pattern::Literal, &topic.topic, consumer, &READ);
            let name = own_name(consumer);
            add(Resource::Group, Pattern::Literal, name, consumer, &READ[..1]);
            add(Resource::Group, Pattern::Prefixed, &format!("{name}."), consumer, &READ[..1]);
        }
        add(Resource::Topic, Pattern::Literal, &topic.topic, lakeward, &READ);
    }
    add(Resource::Group, Pattern::Literal, group, lakeward, &READ[..1]);
    rights
}

fn own_name(principal: &str) -> &str {
    principal.split_once(':').map_or(principal, |(_, name)| name)
}

/// What a broker's rights are, held against the implied ones.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Implied, and not on the broker.
    pub missing: Vec<Right>,
    /// On the broker and not implied, though it opens something that the contracts speak of.
    pub wider: Vec<Right>,
}

impl Difference {
    /// Rights about other topics and groups are nobody's business here. Whoever may change the cluster or its rights may do
    /// everything, so such rights are always named.
    pub fn of(implied: &BTreeSet<Right>, found: &[Right]) -> Self {
        let is_there = |wanted: &Right| found.iter().any(|right| covers(right, wanted));
        let is_wider = |right: &&Right| opens(right, implied) && !implied.iter().any(|wanted| covers(wanted, right));
        let mut wider: Vec<Right> = found.iter().filter(is_wider).cloned().collect();
        wider.sort();
        wider.dedup();
        Self { missing: implied.iter().filter(|wanted| !is_there(wanted)).cloned().collect(), wider }
    }
}

/// Whether `right` permits all that `wanted` does.
fn covers(right: &Right, wanted: &Right) -> bool {
    let operations = match right.operation {
        Operation::All => true,
        Operation::Read | Operation::Write if wanted.operation == Operation::Describe => true,
        operation => operation == wanted.operation,
    };
    let names = match (right.pattern, wanted.pattern) {
        (Pattern::Literal, _) if right.name == "*" => true,
        (Pattern::Literal, Pattern::Literal) => right.name == wanted.name && wanted.name != "*",
        (Pattern::Prefixed, Pattern::Literal) => wanted.name.starts_with(&right.name) && wanted.name != "*",
        (Pattern::Prefixed, Pattern::Prefixed) => wanted.name.starts_with(&right.name),
        _ => false,
    };
    right.resource == wanted.resource
        && (right.principal == wanted.principal || right.principal == "User:*")
        && (right.host == "*" || right.host == wanted.host)
        && operations
        && names
}

/// Whether a right opens something that is spoken of, for whomever.
fn opens(right: &Right, implied: &BTreeSet<Right>) -> bool {
    if right.resource == Resource::Cluster {
        // Create, Alter, ClusterAction, AlterConfigs: with each of them one can give oneself the rest.
        return matches!(right.operation, Operation::All | Operation::Other(5 | 7 | 9 | 11));
    }
    implied.iter().any(|spoken_of| right.resource == spoken_of.resource && meet(right, spoken_of))
}

/// Whether both patterns can name one and the same resource.
fn meet(one: &Right, other: &Right) -> bool {
    let begins =
        |prefix: &Right, right: &Right| prefix.pattern != Pattern::Literal && right.name.starts_with(&prefix.name);
    one.name == other.name || one.name == "*" || begins(one, other) || begins(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(resource: Resource, name: &str, principal: &str, operation: Operation) -> Right {
        let (pattern, name) = match name.strip_suffix('…') {
            Some(prefix) => (Pattern::Prefixed, prefix),
            None => (Pattern::Literal, name),
        };
        let (name, principal) = (name.to_owned(), format!("User:{principal}"));
        Right { resource, pattern, name, principal, host: "*".to_owned(), operation }
    }

    fn implied() -> BTreeSet<Right> {
        [
            right(Resource::Topic, "shop.order", "till", Operation::Write),
            right(Resource::Topic, "shop.order", "till", Operation::Describe),
            right(Resource::Topic, "shop.order", "lakeward", Operation::Read),
            right(Resource::Group, "lakeward", "lakeward", Operation::Read),
        ]
        .into()
    }

    #[test]
    fn what_is_implied_is_neither_missing_nor_wider() {
        let found: Vec<Right> = implied().into_iter().collect();
        assert_eq!(Difference::of(&implied(), &found), Difference { missing: vec![], wider: vec![] });
    }

    #[test]
    fn whatever_opens_more_is_named_and_what_is_about_others_is_not() {
        use Operation::{All, Describe, Other, Read, Write};
        use Resource::{Cluster, Group, Topic, TransactionalId};
        for (is_wider, found) in [
            (true, right(Topic, "shop.order", "clerk", Read)),
            (true, right(Topic, "shop.order", "till", Read)),
            (true, right(Topic, "shop.order", "till", All)),
            (true, right(Topic, "shop.order", "till", Other(6))),
            (true, right(Topic, "shop.…", "till", Write)),
            (true, right(Topic, "…", "clerk", Describe)),
            (true, right(Topic, "*", "lakeward", Read)),
            (true, right(Topic, "shop.order", "*", Read)),
            (true, right(Group, "lake…", "lakeward", Read)),
            (true, right(Group, "lakeward", "till", Read)),
            (true, right(Cluster, "kafka-cluster", "till", Other(7))),
            (false, right(Cluster, "kafka-cluster", "till", Other(12))),
            (false, right(Topic, "shop.orders", "clerk", All)),
            (false, right(Topic, "bank.…", "clerk", All)),
            (false, right(TransactionalId, "bank", "clerk", Write)),
            // Less than what is implied: Read includes Describe, one host is fewer than all.
            (false, right(Topic, "shop.order", "lakeward", Describe)),
            (false, Right { host: "10.0.0.7".into(), ..right(Topic, "shop.order", "lakeward", Read) }),
        ] {
            let named = Difference::of(&implied(), std::slice::from_ref(&found)).wider;
            assert_eq!(named, if is_wider { vec![found.clone()] } else { vec![] }, "{found}");
        }
    }

    #[test]
    fn what_a_wider_right_permits_is_not_missing_and_what_a_narrower_one_permits_is() {
        let by_prefix = [right(Resource::Topic, "shop.…", "till", Operation::Write)];
        let missing = |found: &[Right]| Difference::of(&implied(), found).missing.len();
        assert_eq!(missing(&by_prefix), 2, "Write includes Describe");
        let from_one_host = [Right { host: "10.0.0.7".into(), ..by_prefix[0].clone() }];
        assert_eq!(missing(&from_one_host), 4);
        assert_eq!(missing(&[right(Resource::Topic, "*", "*", Operation::All)]), 1);
    }
}
