//! Conversion of operator codes and operators.

use flatbuffers::Vector;

use super::super::{schema, text};
use super::error::{OperatorProblem, OutOfRange, ReadError, quoted};
use super::model::{BuiltinOperator, Operator, OperatorCode, TensorIndex};
use super::options::{self, OperatorOptions};
use super::{Reader, tensor_index};

/// Operand index of an optional operand that is left out.
const LEFT_OUT: i32 = -1;

impl<'a> Reader<'a> {
    /// Reads the operator codes, which operators refer to by index.
    pub(super) fn read_codes(&mut self, root: schema::Model<'a>) {
        for (code, table) in root.operator_codes().iter().flatten().enumerate() {
            let converted = operator_code(code, table).map_err(|error| self.errors.push(error));
            self.codes.push(converted.ok().map(|converted| (converted, table.version())));
        }
    }

    /// Converts an operator; its problems go to the errors, and without a code there is none.
    pub(super) fn operator(
        &mut self,
        subgraph: usize,
        index: usize,
        table: schema::Operator<'a>,
        tensor_count: usize,
    ) -> Option<Operator<'a>> {
        let mut problems = Vec::new();
        let code = self.code(table.opcode_index(), &mut problems);
        let mut lists = TensorLists { tensor_count, problems: &mut problems };
        let inputs = lists.optional("input", table.inputs());
        let outputs = lists.required("output", table.outputs());
        let intermediates = lists.required("intermediate", table.intermediates());
        let options = match &code {
            Some((OperatorCode::Custom(_), _)) => self.custom_options(table, &mut problems),
            _ => options::read(table, &mut problems),
        };
        if !problems.is_empty() {
            let name =
                code.as_ref().map_or_else(|| "unknown".to_owned(), |(code, _)| quoted(&code.to_string()));
            for problem in problems {
                self.errors.push(ReadError::Operator {
                    subgraph,
                    operator: index,
                    name: name.clone(),
                    problem,
                });
            }
        }
        code.map(|(code, version)| Operator { index, code, version, inputs, outputs, options, intermediates })
    }

    fn code(&self, index: u32, problems: &mut Vec<OperatorProblem>) -> Option<(OperatorCode, i32)> {
        match self.codes.get(index as usize) {
            Some(code) => code.clone(),
            None => {
                let problem = OutOfRange { index: index.into(), count: self.codes.len() };
                problems.push(OperatorProblem::Code(problem));
                None
            }
        }
    }

    fn custom_options(
        &self,
        table: schema::Operator<'a>,
        problems: &mut Vec<OperatorProblem>,
    ) -> OperatorOptions<'a> {
        let format = table.custom_options_format();
        if format != schema::CustomOptionsFormat::FLEXBUFFERS {
            problems.push(OperatorProblem::UnknownValue { field: "custom options format", value: format.0 });
        }
        let inline = table.custom_options().map_or(&[][..], |options| options.bytes());
        let bytes = if inline.is_empty() {
            self.behind(table.large_custom_options_offset(), table.large_custom_options_size())
        } else {
            Ok(inline)
        };
        OperatorOptions::Custom(bytes.unwrap_or_else(|problem| {
            problems.push(OperatorProblem::CustomOptions(problem));
            &[]
        }))
    }
}

/// What an operator code stands for.
fn operator_code(code: usize, table: schema::OperatorCode<'_>) -> Result<OperatorCode, ReadError> {
    // Old writers know only the narrow field, new ones put 127 there for codes beyond it.
    let value = table.builtin_code().0.max(i32::from(table.deprecated_builtin_code()));
    let builtin = BuiltinOperator(value);
    if builtin == BuiltinOperator::CUSTOM {
        let name = text::decode(table.custom_code());
        return if name.is_empty() {
            Err(ReadError::UnnamedCustomOperator { code })
        } else {
            Ok(OperatorCode::Custom(name.into()))
        };
    }
    if builtin == BuiltinOperator::PLACEHOLDER_FOR_GREATER_OP_CODES || builtin.variant_name().is_none() {
        return Err(ReadError::UnknownOperator { code, value });
    }
    Ok(OperatorCode::Builtin(builtin))
}

/// Checks the tensor lists of one operator.
struct TensorLists<'p> {
    tensor_count: usize,
    problems: &'p mut Vec<OperatorProblem>,
}

impl TensorLists<'_> {
    fn index(&mut self, list: &'static str, position: usize, index: i32) -> Option<TensorIndex> {
        let found = tensor_index(index.into(), self.tensor_count);
        found.map_err(|problem| self.problems.push(OperatorProblem::Tensor { list, position, problem })).ok()
    }

    fn optional(&mut self, list: &'static str, indices: Option<Vector<'_, i32>>) -> Vec<Option<TensorIndex>> {
        let indices = indices.iter().flatten().enumerate();
        indices
            .map(|(position, index)| if index == LEFT_OUT { None } else { self.index(list, position, index) })
            .collect()
    }

    fn required(&mut self, list: &'static str, indices: Option<Vector<'_, i32>>) -> Vec<TensorIndex> {
        let indices = indices.iter().flatten().enumerate();
        indices.filter_map(|(position, index)| self.index(list, position, index)).collect()
    }
}
