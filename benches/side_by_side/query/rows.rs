//! Rows like TPC-H's: as many line items to an order, as many different values in a column; the same at every run.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Date32Builder, Decimal128Builder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::SchemaRef;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Orders in a batch, with about a million line items.
const ORDERS_IN_BATCH: usize = 250_000;

/// 1992-01-01 and the days of order after it.
const FIRST_DAY: i32 = 8035;
const DAYS: i32 = 2406;
/// TPC-H's CURRENTDATE, 1995-06-17: what was shipped before is finished.
const TODAY: i32 = 9298;

const PRIORITIES: [&str; 5] = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
const MODES: [&str; 7] = ["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"];
const WORDS: [&str; 16] = [
    "furiously",
    "carefully",
    "quickly",
    "deposits",
    "requests",
    "accounts",
    "packages",
    "ironic",
    "regular",
    "final",
    "bold",
    "express",
    "sleep",
    "haggle",
    "among",
    "the",
];

/// Makes the rows of both tables, batch after batch.
pub(super) struct Rows {
    orders: SchemaRef,
    lineitem: SchemaRef,
    made: usize,
    wanted: usize,
    chance: SmallRng,
}

impl Rows {
    pub(super) fn new(orders: SchemaRef, lineitem: SchemaRef, wanted: usize) -> Self {
        Self { orders, lineitem, made: 0, wanted, chance: SmallRng::seed_from_u64(42) }
    }

    /// Orders and their line items; nothing once all are made.
    pub(super) fn next_batches(&mut self) -> anyhow::Result<Option<[RecordBatch; 2]>> {
        let until = self.wanted.min(self.made + ORDERS_IN_BATCH);
        if self.made == until {
            return Ok(None);
        }
        let (mut orders, mut items) = (Orders::default(), Items::default());
        for key in self.made..until {
            self.order(i64::try_from(key)? + 1, &mut orders, &mut items);
        }
        self.made = until;
        Ok(Some([orders.finish(&self.orders)?, items.finish(&self.lineitem)?]))
    }

    fn order(&mut self, key: i64, orders: &mut Orders, items: &mut Items) {
        let chance = &mut self.chance;
        let ordered = FIRST_DAY + chance.random_range(0..DAYS);
        let (mut total, mut finished, count) = (0, 0, chance.random_range(1..=7));
        for number in 1..=count {
            let quantity: i128 = chance.random_range(1..=50);
            let price = quantity * chance.random_range(90_000_i128..=210_000);
            let shipped = ordered + chance.random_range(1..=121);
            let received = shipped + chance.random_range(1..=30);
            let returned = match (received <= TODAY, chance.random()) {
                (false, _) => "N",
                (true, true) => "R",
                (true, false) => "A",
            };
            items.key.append_value(key);
            items.number.append_value(number);
            items.supplier.append_value(format!("Supplier#{:09}", chance.random_range(1..=10_000)));
            items.quantity.append_value(quantity * 100);
            items.price.append_value(price);
            items.discount.append_value(chance.random_range(0..=10));
            items.tax.append_value(chance.random_range(0..=8));
            items.returned.append_value(returned);
            items.status.append_value(if shipped > TODAY { "O" } else { "F" });
            items.shipped.append_value(shipped);
            items.mode.append_value(MODES[chance.random_range(0..MODES.len())]);
            items.comment.append_value(comment(chance));
            total += price;
            finished += i64::from(shipped <= TODAY);
        }
        orders.key.append_value(key);
        orders.customer.append_value(format!("Customer#{:09}", chance.random_range(1..=150_000)));
        orders.status.append_value(match finished {
            0 => "O",
            all if all == count => "F",
            _ => "P",
        });
        orders.total.append_value(total);
        orders.day.append_value(ordered);
        orders.priority.append_value(PRIORITIES[chance.random_range(0..PRIORITIES.len())]);
    }
}

fn comment(chance: &mut SmallRng) -> String {
    let words = chance.random_range(2..=6);
    (0..words).map(|_| WORDS[chance.random_range(0..WORDS.len())]).collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Orders {
    key: Int64Builder,
    customer: StringBuilder,
    status: StringBuilder,
    total: Decimal128Builder,
    day: Date32Builder,
    priority: StringBuilder,
}

impl Orders {
    fn finish(mut self, schema: &SchemaRef) -> anyhow::Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.key.finish()),
            Arc::new(self.customer.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.total.finish()),
            Arc::new(self.day.finish()),
            Arc::new(self.priority.finish()),
        ];
        batch(schema, columns).context("the rows of orders do not fit their contract")
    }
}

#[derive(Default)]
struct Items {
    key: Int64Builder,
    number: Int64Builder,
    supplier: StringBuilder,
    quantity: Decimal128Builder,
    price: Decimal128Builder,
    discount: Decimal128Builder,
    tax: Decimal128Builder,
    returned: StringBuilder,
    status: StringBuilder,
    shipped: Date32Builder,
    mode: StringBuilder,
    comment: StringBuilder,
}

impl Items {
    fn finish(mut self, schema: &SchemaRef) -> anyhow::Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.key.finish()),
            Arc::new(self.number.finish()),
            Arc::new(self.supplier.finish()),
            Arc::new(self.quantity.finish()),
            Arc::new(self.price.finish()),
            Arc::new(self.discount.finish()),
            Arc::new(self.tax.finish()),
            Arc::new(self.returned.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.shipped.finish()),
            Arc::new(self.mode.finish()),
            Arc::new(self.comment.finish()),
        ];
        batch(schema, columns).context("the rows of lineitem do not fit their contract")
    }
}

/// In the contract's order; decimals were built without their scale.
fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> anyhow::Result<RecordBatch> {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Decimal128Type};
    let columns = columns.into_iter().zip(schema.fields()).map(|(column, field)| match field.data_type() {
        DataType::Decimal128(precision, scale) => {
            let decimals = column.as_primitive::<Decimal128Type>().clone();
            Ok(Arc::new(decimals.with_precision_and_scale(*precision, *scale)?) as ArrayRef)
        }
        _ => Ok(column),
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<anyhow::Result<_>>()?)?)
}
