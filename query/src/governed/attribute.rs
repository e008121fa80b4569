//! `attr('…')`: an attribute of the principal, as a typed literal in the predicate of a scope.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use lakeward_iam::Attribute;

/// The function, for one principal. An attribute that the principal lacks does not plan.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AttributeFunction {
    attributes: BTreeMap<String, ScalarValue>,
    signature: Signature,
}

impl AttributeFunction {
    pub(super) const NAME: &'static str = "attr";

    pub(super) fn new(attributes: &BTreeMap<String, Attribute>) -> Self {
        let attributes = attributes
            .iter()
            .map(|(name, attribute)| {
                let value = match attribute {
                    Attribute::Text(text) => ScalarValue::Utf8(Some(text.clone())),
                    Attribute::List(items) => {
                        let items: Vec<ScalarValue> =
                            items.iter().map(|item| ScalarValue::Utf8(Some(item.clone()))).collect();
                        ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8))
                    }
                };
                (name.clone(), value)
            })
            .collect();
        Self { attributes, signature: Signature::any(1, Volatility::Immutable) }
    }

    fn value(&self, name: Option<&ScalarValue>) -> Result<ScalarValue> {
        let Some(ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name))) = name else {
            return plan_err!("attr takes the name of an attribute");
        };
        match self.attributes.get(name) {
            Some(value) => Ok(value.clone()),
            None => plan_err!("the attribute {name} is not available"),
        }
    }
}

impl ScalarUDFImpl for AttributeFunction {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        internal_err!("the type of an attribute depends on its name")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let value = self.value(arguments.scalar_arguments.first().copied().flatten())?;
        Ok(Arc::new(Field::new(Self::NAME, value.data_type(), true)))
    }

    fn simplify(&self, arguments: Vec<Expr>, _context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let name = arguments.first().and_then(Expr::as_literal);
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(self.value(name)?, None)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.first() {
            Some(ColumnarValue::Scalar(name)) => Ok(ColumnarValue::Scalar(self.value(Some(name))?)),
            _ => plan_err!("attr takes the name of an attribute"),
        }
    }
}
