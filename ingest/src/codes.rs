//! FHIR Codings held against reference data: `fhir_listed` and `fhir_known_system`.
//!
//! A *Coding* (FHIR R4, 2.24.0.4) is a struct with the members `system` and `code`. Two kinds of reference tables are
//! meant for them:
//!
//! - *systems*: `system` is how a code system may be written, `canonical` the one name that code lists use, and `matching`
//!   is `category` where a list may hold a code's three-character category in place of the code (as in ICD-10), else
//!   `exact`.
//! - *code lists*: `system` (canonical) and `code`.
//!
//! `fhir_listed(list, systems, value, …)` looks at every Coding in the values, at any depth: TRUE when one is listed;
//! else NULL when nobody can tell of one, for it has no code or its system is not among the systems; else FALSE, also
//! without any Coding. `fhir_known_system(systems, system)` tells whether a system is among them, and is never NULL.
//!
//! A topic's SELECTs ask `fhir_listed` the same of the same events, one after the other: the last answer is kept.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringViewArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{HashMap, HashSet, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use parking_lot::Mutex;

/// Characters of a code's category.
const CATEGORY: usize = 3;
/// Owner of elements that stand in no row, as those behind a list that is NULL.
const NOBODY: u32 = u32::MAX;

/// Both functions over these reference tables, ready to be registered.
pub(crate) fn functions(reference: &BTreeMap<String, RecordBatch>) -> [Arc<ScalarUDF>; 2] {
    let reference = Arc::new(Reference::read(reference));
    [Question::Listed, Question::KnownSystem].map(|question| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        let (reference, last) = (Arc::clone(&reference), Mutex::default());
        Arc::new(ScalarUDF::from(CodeFunction { question, reference, signature, last }))
    })
}

#[derive(Debug, Default)]
struct Reference {
    systems: HashMap<String, Systems>,
    lists: HashMap<String, CodeList>,
}

type Systems = HashMap<Box<str>, System>;
/// Canonical system to codes.
type CodeList = HashMap<Box<str>, HashSet<Box<str>>>;

#[derive(Debug)]
struct System {
    canonical: Box<str>,
    by_category: bool,
}

impl Reference {
    /// Tables of another shape are neither systems nor a list.
    fn read(tables: &BTreeMap<String, RecordBatch>) -> Self {
        let mut reference = Self::default();
        for (name, rows) in tables {
            let column = |name: &str| rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            if let (Some(systems), Some(canonical), Some(matching)) =
                (column("system"), column("canonical"), column("matching"))
            {
                let rows = systems.iter().zip(canonical).zip(matching);
                let systems = rows.filter_map(|((system, canonical), matching)| {
                    let by_category = matching == Some("category");
                    Some((system?.into(), System { canonical: canonical?.into(), by_category }))
                });
                reference.systems.insert(name.clone(), systems.collect());
            } else if let (Some(systems), Some(codes)) = (column("system"), column("code")) {
                let mut list = CodeList::new();
                for (system, code) in systems.iter().zip(codes) {
                    if let (Some(system), Some(code)) = (system, code) {
                        list.entry(system.into()).or_default().insert(code.into());
                    }
                }
                reference.lists.insert(name.clone(), list);
            }
        }
        reference
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Question {
    Listed,
    KnownSystem,
}

#[derive(Debug)]
struct CodeFunction {
    question: Question,
    reference: Arc<Reference>,
    signature: Signature,
    last: Mutex<Option<Answer>>,
}

/// What was last asked of `fhir_listed`, and what it said.
#[derive(Debug)]
struct Answer {
    names: [ScalarValue; 2],
    /// Columns that may be gone by now: an answer must not keep the payloads that they look into. As long as it stands,
    /// no other column can have the place of one of them.
    values: Vec<Weak<dyn Array>>,
    told: ArrayRef,
}

impl Answer {
    fn is_to(&self, names: &[ScalarValue; 2], values: &[ArrayRef]) -> bool {
        let same =
            |(asked, value): (&Weak<dyn Array>, &ArrayRef)| std::ptr::addr_eq(asked.as_ptr(), Arc::as_ptr(value));
        self.names == *names && self.values.len() == values.len() && self.values.iter().zip(values).all(same)
    }
}

// Within one topic's plans there is one set of reference data.
impl PartialEq for CodeFunction {
    fn eq(&self, other: &Self) -> bool {
        self.question == other.question && Arc::ptr_eq(&self.reference, &other.reference)
    }
}

impl Eq for CodeFunction {}

impl Hash for CodeFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.question.hash(state);
    }
}

impl CodeFunction {
    fn systems(&self, name: Option<&ScalarValue>) -> Result<&Systems> {
        match text(name).and_then(|name| self.reference.systems.get(name)) {
            Some(systems) => Ok(systems),
            None => plan_err!(
                "{} wants the name of a reference table with the columns system, canonical and matching",
                self.name()
            ),
        }
    }

    fn list(&self, name: Option<&ScalarValue>) -> Result<&CodeList> {
        match text(name).and_then(|name| self.reference.lists.get(name)) {
            Some(list) => Ok(list),
            None => plan_err!("{} wants the name of a reference table with the columns system and code", self.name()),
        }
    }

    fn listed(&self, arguments: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [list, systems, values @ ..] = arguments.args.as_slice() else {
            return plan_err!("{} wants a list, its systems and a value", self.name());
        };
        let rules = Rules { systems: self.systems(scalar(systems))?, list: self.list(scalar(list))? };
        let names = [list, systems].map(|name| scalar(name).cloned().unwrap_or(ScalarValue::Null));
        let rows = arguments.number_rows;
        let values = values.iter().map(|value| value.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        if let Some(last) = self.last.lock().as_ref().filter(|last| last.is_to(&names, &values)) {
            return Ok(ColumnarValue::Array(Arc::clone(&last.told)));
        }
        let owners: Vec<u32> = (0..rows).map(|row| row as u32).collect();
        let mut told = Told { rules, rows: vec![Found::Nothing; rows] };
        for value in &values {
            told.take(value, &owners, false)?;
        }
        let told: BooleanArray = told
            .rows
            .into_iter()
            .map(|found| match found {
                Found::Listed => Some(true),
                Found::Unknown => None,
                Found::Nothing => Some(false),
            })
            .collect();
        let told: ArrayRef = Arc::new(told);
        let values = values.iter().map(Arc::downgrade).collect();
        *self.last.lock() = Some(Answer { names, values, told: Arc::clone(&told) });
        Ok(ColumnarValue::Array(told))
    }

    fn known_system(&self, arguments: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [systems, system] = arguments.args.as_slice() else {
            return plan_err!("{} wants the systems and a system", self.name());
        };
        let known = self.systems(scalar(systems))?;
        let systems = cast(&system.to_array(arguments.number_rows)?, &DataType::Utf8View)?;
        let told = systems.as_string_view().iter().map(|system| Some(system.is_some_and(|s| known.contains_key(s))));
        Ok(ColumnarValue::Array(Arc::new(told.collect::<BooleanArray>())))
    }
}

fn scalar(argument: &ColumnarValue) -> Option<&ScalarValue> {
    match argument {
        ColumnarValue::Scalar(scalar) => Some(scalar),
        ColumnarValue::Array(_) => None,
    }
}

fn text(scalar: Option<&ScalarValue>) -> Option<&str> {
    scalar?.try_as_str().flatten()
}

impl ScalarUDFImpl for CodeFunction {
    fn name(&self) -> &str {
        match self.question {
            Question::Listed => "fhir_listed",
            Question::KnownSystem => "fhir_known_system",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let names = arguments.scalar_arguments;
        let name = |place: usize| names.get(place).copied().flatten();
        let count = match self.question {
            Question::Listed => {
                self.list(name(0))?;
                self.systems(name(1))?;
                3..usize::MAX
            }
            Question::KnownSystem => {
                self.systems(name(0))?;
                2..3
            }
        };
        if !count.contains(&names.len()) {
            return plan_err!("{} takes another number of arguments", self.name());
        }
        Ok(Arc::new(Field::new(self.name(), DataType::Boolean, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match self.question {
            Question::Listed => self.listed(&arguments),
            Question::KnownSystem => self.known_system(&arguments),
        }
    }
}

/// What is known of one row; the later outweighs the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    Unknown,
    Listed,
}

struct Rules<'a> {
    systems: &'a Systems,
    list: &'a CodeList,
}

/// A system, as a list sees it.
#[derive(Clone, Copy)]
struct Known<'a> {
    by_category: bool,
    codes: Option<&'a HashSet<Box<str>>>,
}

impl<'a> Rules<'a> {
    fn known(&self, system: &str) -> Option<Known<'a>> {
        let system = self.systems.get(system)?;
        Some(Known { by_category: system.by_category, codes: self.list.get(&system.canonical) })
    }
}

impl Known<'_> {
    fn judge(self, code: &str) -> Found {
        let Some(codes) = self.codes else { return Found::Nothing };
        let category = || code.char_indices().nth(CATEGORY).map_or(code, |(end, _)| &code[..end]);
        match codes.contains(code) || (self.by_category && codes.contains(category())) {
            true => Found::Listed,
            false => Found::Nothing,
        }
    }
}

struct Told<'a> {
    rules: Rules<'a>,
    rows: Vec<Found>,
}

impl Told<'_> {
    /// Takes every Coding in a column. `owners` says in which row an element stands, `in_list` whether the elements are
    /// those of lists: there a NULL stands for a Coding that nobody wrote down, elsewhere for none.
    fn take(&mut self, column: &ArrayRef, owners: &[u32], in_list: bool) -> Result<()> {
        match column.data_type() {
            DataType::Struct(_) => self.take_struct(column.as_struct(), owners, in_list),
            DataType::List(_) => {
                let lists = column.as_list::<i32>();
                let mut elements = vec![NOBODY; lists.values().len()];
                for (place, ends) in lists.value_offsets().windows(2).enumerate() {
                    if lists.is_valid(place) {
                        elements[ends[0] as usize..ends[1] as usize].fill(owners[place]);
                    }
                }
                self.take(lists.values(), &elements, true)
            }
            _ => Ok(()),
        }
    }

    fn take_struct(&mut self, structs: &StructArray, owners: &[u32], in_list: bool) -> Result<()> {
        if let (Some(system), Some(code)) = (structs.column_by_name("system"), structs.column_by_name("code")) {
            let (Some(systems), Some(codes)) = (system.as_string_view_opt(), code.as_string_view_opt()) else {
                return exec_err!("a Coding's system and code are texts as views");
            };
            self.judge(structs, systems, codes, owners, in_list);
            return Ok(());
        }
        let below: Vec<u32>;
        let owners = match structs.null_count() {
            0 => owners,
            _ => {
                let owner = |(place, owner): (usize, &u32)| if structs.is_valid(place) { *owner } else { NOBODY };
                below = owners.iter().enumerate().map(owner).collect();
                &below
            }
        };
        structs.columns().iter().try_for_each(|column| self.take(column, owners, false))
    }

    fn judge(
        &mut self,
        codings: &StructArray,
        systems: &StringViewArray,
        codes: &StringViewArray,
        owners: &[u32],
        in_list: bool,
    ) {
        // Mostly one Coding is of the same system as the one before.
        let mut last = None;
        for (place, owner) in owners.iter().enumerate() {
            let Some(row) = self.rows.get_mut(*owner as usize) else { continue };
            if *row == Found::Listed {
                continue;
            }
            let found = match codings.is_valid(place) {
                true if systems.is_valid(place) && codes.is_valid(place) => {
                    let system = systems.value(place);
                    let known = match last {
                        Some((name, known)) if name == system => known,
                        _ => self.rules.known(system),
                    };
                    last = Some((system, known));
                    known.map_or(Found::Unknown, |known| known.judge(codes.value(place)))
                }
                true => Found::Unknown,
                false if in_list => Found::Unknown,
                false => Found::Nothing,
            };
            *row = found.max(*row);
        }
    }
}

#[cfg(test)]
mod tests;
