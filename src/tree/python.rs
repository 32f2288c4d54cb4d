//! Literals of a Python module: the values of its top-level names, read from the syntax tree.
//!
//! Kolla stores tables (base distros, users, sources, options) as Python values. No Python is run:
//! a value that is known only by running the module is [`Literal::Unknown`], and so is one that is
//! changed under an `if` or another compound statement, or by a call. Functions and classes are
//! ignored.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use ruff_python_ast::statement_visitor::{StatementVisitor, walk_stmt};
use ruff_python_ast::token::TokenKind;
use ruff_python_ast::{Expr, ExprCall, ModModule, Number, Operator, Stmt, UnaryOp};
use ruff_python_parser::{Parsed, parse_module};
use ruff_text_size::{Ranged, TextRange};

use super::depth::too_deep;

/// Python value, as far as it is known without running anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Literal {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// Integer.
    Int(i64),
    /// Floating-point number.
    Float(f64),
    /// String; adjacent strings, and strings joined by `+`, are one.
    Text(String),
    /// List, tuple or set.
    List(Vec<Literal>),
    /// Dictionary, in source order.
    #[serde(skip)]
    Dict(Vec<(Literal, Literal)>),
    /// Call of a function, as long as its first name is not assigned in the module.
    #[serde(skip)]
    Call {
        /// Last name of the function: `StrOpt` for `cfg.StrOpt(...)`.
        name: String,
        /// Positional arguments.
        positional: Vec<Literal>,
        /// Keyword arguments.
        keywords: Vec<(String, Literal)>,
    },
    /// Any other value.
    #[serde(skip)]
    Unknown,
}

impl Literal {
    /// Returns the text of a string; `None` for another value.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the elements of a list, tuple or set; `None` for another value.
    #[must_use]
    pub fn list(&self) -> Option<&[Literal]> {
        match self {
            Self::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// Returns the strings of a list; `None` if it is no list or has other elements.
    #[must_use]
    pub fn texts(&self) -> Option<Vec<String>> {
        self.list()?.iter().map(|element| element.text().map(str::to_owned)).collect()
    }

    /// Returns keys and values of a dictionary; `None` if it is no dictionary or has a key that is
    /// no string.
    #[must_use]
    pub fn entries(&self) -> Option<Vec<(&str, &Literal)>> {
        let Self::Dict(items) = self else { return None };
        items.iter().map(|(key, value)| Some((key.text()?, value))).collect()
    }

    /// Returns the value of `key` in a dictionary; of duplicate keys the last one counts.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&Literal> {
        let Self::Dict(items) = self else { return None };
        items.iter().rev().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }
}

/// Error for a text that is no Python module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// Sentence that says what is wrong.
    pub message: String,
    /// Byte offset of the error in the text.
    pub offset: usize,
}

/// String, and the comment beside it.
pub type Remark = (String, String);

/// Names that a module assigns at its top level.
#[derive(Debug, Default)]
pub struct Module {
    /// Last assignment of each name.
    names: BTreeMap<String, Assigned>,
    /// Text of the module, for its comments.
    text: String,
    /// Ranges of the comments in bytes, in order.
    comments: Vec<Range<usize>>,
}

/// Assignment of a name.
#[derive(Debug)]
struct Assigned {
    /// Byte offset of the statement.
    offset: usize,
    /// Assigned value.
    value: Literal,
    /// Expression of the value; `None` if the statement is not a plain assignment.
    source: Option<Expr>,
}

/// Parses a module and evaluates its literals.
///
/// # Errors
/// When the text is not Python, or is nested too deep.
pub fn parse(text: &str) -> Result<Module, ParseError> {
    if let Some(offset) = too_deep(text) {
        return Err(ParseError { message: "it is nested too deeply".to_owned(), offset });
    }
    let parsed = parse_module(text).map_err(|error| ParseError {
        message: error.error.to_string(),
        offset: error.location.start().to_usize(),
    })?;
    let mut module =
        Module { names: BTreeMap::new(), text: text.to_owned(), comments: comments(&parsed) };
    for statement in parsed.into_syntax().body {
        module.take(statement);
    }
    Ok(module)
}

/// Returns the ranges of the comments of a module, in bytes.
fn comments(parsed: &Parsed<ModModule>) -> Vec<Range<usize>> {
    let comments = parsed.tokens().iter().filter(|token| token.kind() == TokenKind::Comment);
    comments.map(|token| bytes(token.range())).collect()
}

/// Converts a range of the parser to one of Rust.
fn bytes(range: TextRange) -> Range<usize> {
    range.start().to_usize()..range.end().to_usize()
}

impl Module {
    /// Returns the value of `name`, if the module assigns it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Literal> {
        self.names.get(name).map(|assigned| &assigned.value)
    }

    /// Returns the byte offset of the statement that assigns `name`.
    #[must_use]
    pub fn offset(&self, name: &str) -> Option<usize> {
        self.names.get(name).map(|assigned| assigned.offset)
    }

    /// Returns the strings of a dictionary of lists or sets of strings, each with the comment at
    /// the end of its line (without `#`), or an empty text. `None` if `name` has no such value.
    #[must_use]
    pub fn remarks(&self, name: &str) -> Option<Vec<(String, Vec<Remark>)>> {
        let Expr::Dict(table) = self.names.get(name)?.source.as_ref()? else { return None };
        let entry = |item: &ruff_python_ast::DictItem| {
            let key = self.evaluate(item.key.as_ref()?).text()?.to_owned();
            let remark = |element: &Expr| {
                let text = self.evaluate(element).text()?.to_owned();
                Some((text, self.comment_after(element.end().to_usize()).to_owned()))
            };
            Some((key, elements(&item.value)?.iter().map(remark).collect::<Option<_>>()?))
        };
        table.items.iter().map(entry).collect()
    }

    /// Returns the comment at the end of the line that contains the byte at `offset`; may be empty.
    fn comment_after(&self, offset: usize) -> &str {
        let next = self.comments.partition_point(|comment| comment.start < offset);
        match self.comments.get(next) {
            Some(comment) if !self.text[offset..comment.start].contains('\n') => {
                self.text[comment.clone()].trim_start_matches('#').trim()
            }
            _ => "",
        }
    }

    /// Records the assignments of a statement.
    fn take(&mut self, statement: Stmt) {
        let offset = statement.start().to_usize();
        match statement {
            Stmt::Assign(assign) => {
                let value = self.evaluate(&assign.value);
                for target in &assign.targets {
                    self.set(offset, target, value.clone(), Some((*assign.value).clone()));
                }
            }
            Stmt::AnnAssign(assign) => {
                if let Some(source) = assign.value {
                    let value = self.evaluate(&source);
                    self.set(offset, &assign.target, value, Some(*source));
                }
            }
            Stmt::AugAssign(assign) if assign.op == Operator::Add => {
                let value = add((self.evaluate(&assign.target), self.evaluate(&assign.value)));
                self.set(offset, &assign.target, value, None);
            }
            other => {
                let mut changed = Changed::default();
                changed.visit_stmt(&other);
                for name in &changed.0 {
                    self.forget(offset, name);
                }
            }
        }
    }

    /// Records the assignment of a value to a target. If the target is not a plain name, the names
    /// that it changes become unknown.
    fn set(&mut self, offset: usize, target: &Expr, value: Literal, source: Option<Expr>) {
        if let Expr::Name(name) = target {
            self.names.insert(name.id.to_string(), Assigned { offset, value, source });
        } else {
            for name in roots(target) {
                self.forget(offset, name);
            }
        }
    }

    /// Sets the value of `name` to unknown, if it was assigned.
    fn forget(&mut self, offset: usize, name: &str) {
        if let Some(assigned) = self.names.get_mut(name) {
            *assigned = Assigned { offset, value: Literal::Unknown, source: None };
        }
    }

    /// Evaluates an expression, given the names assigned so far.
    fn evaluate(&self, expression: &Expr) -> Literal {
        match expression {
            Expr::NoneLiteral(_) => Literal::None,
            Expr::BooleanLiteral(literal) => Literal::Bool(literal.value),
            Expr::NumberLiteral(literal) => number(&literal.value),
            Expr::StringLiteral(literal) => Literal::Text(literal.value.to_str().to_owned()),
            Expr::List(_) | Expr::Tuple(_) | Expr::Set(_) => self.list(expression),
            Expr::Dict(dict) => {
                let items = dict.items.iter().map(|item| {
                    Some((self.evaluate(item.key.as_ref()?), self.evaluate(&item.value)))
                });
                items.collect::<Option<_>>().map_or(Literal::Unknown, Literal::Dict)
            }
            Expr::Name(name) => self.get(&name.id).cloned().unwrap_or(Literal::Unknown),
            Expr::BinOp(sum) if sum.op == Operator::Add => {
                add((self.evaluate(&sum.left), self.evaluate(&sum.right)))
            }
            Expr::UnaryOp(sign) if sign.op == UnaryOp::USub => {
                negate(&self.evaluate(&sign.operand))
            }
            Expr::Call(call) => self.call(call).unwrap_or(Literal::Unknown),
            _ => Literal::Unknown,
        }
    }

    /// Evaluates a list, tuple or set.
    fn list(&self, expression: &Expr) -> Literal {
        let elements = elements(expression).unwrap_or_default();
        Literal::List(elements.iter().map(|element| self.evaluate(element)).collect())
    }

    /// Evaluates a call. `None` if the callee begins with a name of the module, or if there are
    /// `**` arguments.
    fn call(&self, call: &ExprCall) -> Option<Literal> {
        let (root, name) = callee(&call.func)?;
        if self.names.contains_key(root) {
            return None;
        }
        let keyword = |keyword: &ruff_python_ast::Keyword| {
            Some((keyword.arg.as_ref()?.to_string(), self.evaluate(&keyword.value)))
        };
        Some(Literal::Call {
            name: name.to_owned(),
            positional: call.arguments.args.iter().map(|value| self.evaluate(value)).collect(),
            keywords: call.arguments.keywords.iter().map(keyword).collect::<Option<_>>()?,
        })
    }
}

/// Names that a statement may change, for statements other than top-level assignments.
#[derive(Default)]
struct Changed(Vec<String>);

impl StatementVisitor<'_> for Changed {
    fn visit_stmt(&mut self, statement: &Stmt) {
        let targets = match statement {
            Stmt::FunctionDef(_) | Stmt::ClassDef(_) => return,
            Stmt::Assign(assign) => assign.targets.iter().flat_map(roots).collect(),
            Stmt::AnnAssign(assign) => roots(&assign.target),
            Stmt::AugAssign(assign) => roots(&assign.target),
            Stmt::Delete(delete) => delete.targets.iter().flat_map(roots).collect(),
            Stmt::Expr(expression) => match &*expression.value {
                Expr::Call(call) => roots(&call.func),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        self.0.extend(targets.into_iter().map(str::to_owned));
        walk_stmt(self, statement);
    }
}

/// Returns the first names of a target such as `a`, `a.b`, `a['b']` or `a, b`.
fn roots(target: &Expr) -> Vec<&str> {
    match target {
        Expr::Name(name) => vec![&name.id],
        Expr::Attribute(attribute) => roots(&attribute.value),
        Expr::Subscript(subscript) => roots(&subscript.value),
        Expr::Starred(starred) => roots(&starred.value),
        Expr::Tuple(_) | Expr::List(_) => {
            elements(target).unwrap_or_default().iter().flat_map(roots).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the first and the last name of a callee such as `a.b.c`.
fn callee(function: &Expr) -> Option<(&str, &str)> {
    match function {
        Expr::Name(name) => Some((&name.id, &name.id)),
        Expr::Attribute(attribute) => Some((callee(&attribute.value)?.0, &attribute.attr)),
        _ => None,
    }
}

/// Returns the elements of a list, tuple, set or empty dictionary (`{}` may be meant as an empty
/// set).
fn elements(expression: &Expr) -> Option<&[Expr]> {
    match expression {
        Expr::List(list) => Some(&list.elts),
        Expr::Tuple(tuple) => Some(&tuple.elts),
        Expr::Set(set) => Some(&set.elts),
        Expr::Dict(dict) if dict.items.is_empty() => Some(&[]),
        _ => None,
    }
}

/// Converts a number; a complex number or an integer beyond 64 bits is unknown.
fn number(number: &Number) -> Literal {
    match number {
        Number::Int(int) => int.as_i64().map_or(Literal::Unknown, Literal::Int),
        Number::Float(float) => Literal::Float(*float),
        Number::Complex { .. } => Literal::Unknown,
    }
}

/// Returns the negative of a number.
fn negate(value: &Literal) -> Literal {
    match value {
        Literal::Int(int) => int.checked_neg().map_or(Literal::Unknown, Literal::Int),
        Literal::Float(float) => Literal::Float(-float),
        _ => Literal::Unknown,
    }
}

/// Returns the concatenation of two strings or two lists.
fn add(sides: (Literal, Literal)) -> Literal {
    match sides {
        (Literal::Text(left), Literal::Text(right)) => Literal::Text(left + &right),
        (Literal::List(mut left), Literal::List(right)) => {
            left.extend(right);
            Literal::List(left)
        }
        _ => Literal::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    #[track_caller]
    fn value(source: &str) -> Literal {
        parse(source).unwrap().get("X").cloned().unwrap()
    }

    #[test]
    fn plain_values_are_read() {
        assert_eq!(value("X = None"), Literal::None);
        assert_eq!(value("X = True"), Literal::Bool(true));
        assert_eq!(value("X = 0x10"), Literal::Int(16));
        assert_eq!(value("X = -42400"), Literal::Int(-42400));
        assert_eq!(value("X = 1.5"), Literal::Float(1.5));
        assert_eq!(value("X = r'\\d'"), text("\\d"));
        assert_eq!(value("X: str = 'a'"), text("a"));
        assert_eq!(value("Y = X = 'a'"), text("a"));
        assert_eq!(value("X = ['a', 1]"), Literal::List(vec![text("a"), Literal::Int(1)]));
        assert_eq!(value("X = ('a',)"), Literal::List(vec![text("a")]));
        assert_eq!(value("X = {'a'}"), Literal::List(vec![text("a")]));
        assert_eq!(value("X = {}"), Literal::Dict(vec![]));
        assert_eq!(value("X = {'a': 1}"), Literal::Dict(vec![(text("a"), Literal::Int(1))]));
    }

    #[test]
    fn strings_in_parts_are_one() {
        assert_eq!(
            value("X = ('$base/x/'\n     'x-master.tar.gz')"),
            text("$base/x/x-master.tar.gz")
        );
        assert_eq!(value("X = 'a' \\\n    'b'"), text("ab"));
        assert_eq!(value("A = 'a'\nX = A + 'b' + \"c\""), text("abc"));
        assert_eq!(value("X = 'a'\nX += 'b'"), text("ab"));
        assert_eq!(value("X = ['a'] + ['b']"), Literal::List(vec![text("a"), text("b")]));
    }

    #[test]
    fn names_mean_what_they_were_set_to_above() {
        assert_eq!(value("A = 'a'\nX = [A]\nA = 'b'"), Literal::List(vec![text("a")]));
        assert_eq!(value("X = A\nA = 'a'"), Literal::Unknown);
        assert_eq!(value("X = 'a'\nX = 'b'"), text("b"));
        assert_eq!(value("if c:\n    A = 'a'\nX = A"), Literal::Unknown);
        assert!(matches!(value("cfg.a()\nX = cfg.StrOpt()"), Literal::Call { .. }));
        assert_eq!(value("X = 'a'\ndef f():\n    X = 'b'"), text("a"));
        assert_eq!(parse("from a import X\ndef f():\n    X = 1").unwrap().get("X"), None);
    }

    #[test]
    fn a_call_is_kept_with_its_arguments() {
        let source = "B = ['r']\nX = cfg.StrOpt('base-tag', short='b', choices=B, host=h)";
        let expected = Literal::Call {
            name: "StrOpt".to_owned(),
            positional: vec![text("base-tag")],
            keywords: vec![
                ("short".to_owned(), text("b")),
                ("choices".to_owned(), Literal::List(vec![text("r")])),
                ("host".to_owned(), Literal::Unknown),
            ],
        };
        assert_eq!(value(source), expected);
    }

    #[test]
    fn computed_values_are_unknown() {
        for source in [
            "X = '{}'.format(1)",
            "A = 'a'\nX = A.upper()",
            "X = os.uname()[4]",
            "X = f'{a}'",
            "X = 'a' % b",
            "X = 'a' + b",
            "X = {**a}",
            "X = f(**a)",
            "X = [a for a in b]",
            "X = 99999999999999999999",
            "X = 'a'\nif c:\n    X = 'b'",
            "X = 'a'\ntry:\n    X: str = 'b'\nfinally:\n    pass",
            "X = {}\nX['a'] = 1",
            "X = {}\nfor a in b:\n    X.update(a)",
            "X = ['a']\nX.append('b')",
            "X = 'a'\nX, Y = 'b', 'c'",
            "X = {}\nX |= {}",
        ] {
            assert_eq!(value(source), Literal::Unknown, "{source}");
        }
    }

    #[test]
    fn comments_stand_beside_their_strings() {
        let source = "X = {\n  'a': {'x',  # needs '#y' (64bit)\n  'é#',\n  # not on its line\n  \
                      'z'},  ## end\n  'b': {},\n  'c': [],\n}\nY = {'a': 1}";
        let module = parse(source).unwrap();
        let remark = |text: &str, comment: &str| (text.to_owned(), comment.to_owned());
        let x = vec![remark("x", "needs '#y' (64bit)"), remark("é#", ""), remark("z", "end")];
        let expected =
            vec![("a".to_owned(), x), ("b".to_owned(), vec![]), ("c".to_owned(), vec![])];
        assert_eq!(module.remarks("X"), Some(expected));
        assert_eq!(module.remarks("Y"), None);
        assert_eq!(parse("Y = {}\nY |= {'a': {'x'}}").unwrap().remarks("Y"), None);
        assert_eq!(module.offset("Y"), source.find("Y ="));
    }

    #[test]
    fn a_syntax_error_says_where() {
        let error = parse("X = 1\nY = = 2\n").unwrap_err();
        assert_eq!(error.offset, 10);
        assert!(!error.message.is_empty());
    }

    #[test]
    fn dictionaries_are_asked_by_name() {
        let dict = value("X = {'a': 1, 'b': 2, 'a': 3}");
        assert_eq!(dict.field("a"), Some(&Literal::Int(3)));
        assert_eq!(dict.field("z"), None);
        assert_eq!(dict.entries().unwrap()[1], ("b", &Literal::Int(2)));
        assert_eq!(value("X = {1: 2}").entries(), None);
        assert_eq!(value("X = ['a', 1]").texts(), None);
    }
}
