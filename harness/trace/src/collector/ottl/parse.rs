//! Conditions out of words (`pkg/ottl/grammar.go`).

use regex::Regex;

use super::{
    super::{duration::parse_duration, regexp},
    Unsupported,
    lex::{Token, tokens},
};

/// A condition.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Constant(bool),
    Compare(Operand, Operator, Operand),
    IsMatch(Path, Regex),
    IsRootSpan,
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
}

/// A side of a comparison.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    Path(Path),
    /// The one time less the other.
    Between(Path, Path),
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// In nanoseconds.
    Duration(i64),
}

/// Something of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    Attribute(String),
    EventAttribute(String),
    ResourceAttribute(String),
    ScopeName,
    Name,
    EventName,
    Kind,
    KindText,
    StatusCode,
    StatusMessage,
    StartTime,
    EndTime,
    StartNanos,
    EndNanos,
    TraceState,
    TraceStateMember(String),
}

/// How two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The words that are left, and whether bare paths are those of an event.
struct Parser<'a> {
    rest: &'a [Token],
    of_event: bool,
}

// === impl Condition ===

impl Condition {
    /// The condition in `text`, on events or on spans.
    pub(super) fn parse(text: &str, of_event: bool) -> Result<Self, Unsupported> {
        let unsupported = |what| Unsupported { condition: text.to_owned(), what };
        let tokens = tokens(text).map_err(unsupported)?;
        let mut parser = Parser { rest: &tokens, of_event };
        let condition = parser.any_of().map_err(unsupported)?;
        match parser.rest {
            [] => Ok(condition),
            rest => Err(unsupported(format!("{:?} is not understood", rest[0]))),
        }
    }
}

// === impl Parser ===

impl Parser<'_> {
    /// Terms joined by `or`.
    fn any_of(&mut self) -> Result<Condition, String> {
        let mut terms = vec![self.all_of()?];
        while self.word("or") {
            terms.push(self.all_of()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Condition::Or(terms) })
    }

    /// Conditions joined by `and`.
    fn all_of(&mut self) -> Result<Condition, String> {
        let mut terms = vec![self.one()?];
        while self.word("and") {
            terms.push(self.one()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Condition::And(terms) })
    }

    /// One condition, perhaps negated.
    fn one(&mut self) -> Result<Condition, String> {
        if self.word("not") {
            return Ok(Condition::Not(Box::new(self.positive()?)));
        }
        self.positive()
    }

    /// A comparison; else a function or a constant; else a condition in parentheses.
    fn positive(&mut self) -> Result<Condition, String> {
        let before = self.rest;
        let reason = match self.comparison() {
            Ok(condition) => return Ok(condition),
            Err(reason) => reason,
        };
        self.rest = before;
        match self.rest {
            [Token::Word(word), rest @ ..] if word == "true" || word == "false" => {
                let constant = Condition::Constant(word == "true");
                self.rest = rest;
                Ok(constant)
            }
            [Token::Word(word), ..] if word == "IsMatch" => {
                self.rest = &self.rest[1..];
                self.sign("(")?;
                let path = self.path()?;
                self.sign(",")?;
                let [Token::Text(pattern), rest @ ..] = self.rest else {
                    return Err("the expression of IsMatch must be text".to_owned());
                };
                let pattern = regexp::compile(pattern)?;
                self.rest = rest;
                self.sign(")")?;
                Ok(Condition::IsMatch(path, pattern))
            }
            [Token::Word(word), ..] if word == "IsRootSpan" && !self.of_event => {
                self.rest = &self.rest[1..];
                self.sign("(")?;
                self.sign(")")?;
                Ok(Condition::IsRootSpan)
            }
            [Token::Sign("("), rest @ ..] => {
                self.rest = rest;
                let condition = self.any_of()?;
                self.sign(")")?;
                Ok(condition)
            }
            _ => Err(reason),
        }
    }

    /// Two sides and an operator.
    fn comparison(&mut self) -> Result<Condition, String> {
        let left = self.operand()?;
        let operator = match self.rest.first() {
            Some(Token::Sign("==")) => Operator::Equal,
            Some(Token::Sign("!=")) => Operator::NotEqual,
            Some(Token::Sign("<")) => Operator::Less,
            Some(Token::Sign("<=")) => Operator::LessOrEqual,
            Some(Token::Sign(">")) => Operator::Greater,
            Some(Token::Sign(">=")) => Operator::GreaterOrEqual,
            other => return Err(format!("a comparison must follow, not {other:?}")),
        };
        self.rest = &self.rest[1..];
        Ok(Condition::Compare(left, operator, self.operand()?))
    }

    /// One side, perhaps in parentheses.
    fn operand(&mut self) -> Result<Operand, String> {
        if let [Token::Sign("("), rest @ ..] = self.rest {
            self.rest = rest;
            let operand = self.operand()?;
            self.sign(")")?;
            return Ok(operand);
        }
        let (operand, used) = match self.rest {
            [Token::Text(text), ..] => (Operand::Text(text.clone()), 1),
            [Token::Int(number), ..] => (Operand::Int(*number), 1),
            [Token::Float(number), ..] => (Operand::Float(*number), 1),
            [Token::Sign("-"), Token::Int(number), ..] => (Operand::Int(-number), 2),
            [Token::Sign("-"), Token::Float(number), ..] => (Operand::Float(-number), 2),
            [Token::Word(word), Token::Sign("("), Token::Text(text), Token::Sign(")"), ..]
                if word == "Duration" =>
            {
                let duration = parse_duration(text).map_err(|error| error.to_string())?;
                (Operand::Duration(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)), 4)
            }
            [Token::Word(word), ..] => match constant(word) {
                Some(operand) => (operand, 1),
                None => return self.times(),
            },
            other => return Err(format!("{:?} is not understood", other.first())),
        };
        self.rest = &self.rest[used..];
        match self.rest.first() {
            Some(Token::Sign(sign @ ("-" | "+" | "*" | "/"))) => {
                Err(format!("{sign} is known between two times only"))
            }
            _ => Ok(operand),
        }
    }

    /// A path, or the difference of two times.
    fn times(&mut self) -> Result<Operand, String> {
        let path = self.path()?;
        match self.rest {
            [Token::Sign("-"), rest @ ..] => {
                self.rest = rest;
                let other = self.path()?;
                match (&path, &other) {
                    (Path::StartTime | Path::EndTime, Path::StartTime | Path::EndTime)
                    | (Path::StartNanos | Path::EndNanos, Path::StartNanos | Path::EndNanos)
                        if !matches!(self.rest.first(), Some(Token::Sign("-" | "+" | "*" | "/"))) =>
                    {
                        Ok(Operand::Between(path, other))
                    }
                    _ => Err("- is known between two times only".to_owned()),
                }
            }
            [Token::Sign(sign @ ("+" | "*" | "/")), ..] => Err(format!("{sign} is not known")),
            _ => Ok(Operand::Path(path)),
        }
    }

    /// A path, with or without the name of its context.
    fn path(&mut self) -> Result<Path, String> {
        let mut words: Vec<&str> = Vec::new();
        while let [Token::Word(word), rest @ ..] = self.rest {
            words.push(word);
            self.rest = rest;
            match self.rest {
                [Token::Sign("."), rest @ ..] => self.rest = rest,
                _ => break,
            }
        }
        let mut key = None;
        if let [Token::Sign("["), Token::Text(text), Token::Sign("]"), rest @ ..] = self.rest {
            key = Some(text.clone());
            self.rest = rest;
        }
        let bare = if self.of_event { "spanevent" } else { "span" };
        let (context, path) = match words.as_slice() {
            [context @ ("span" | "resource" | "scope" | "instrumentation_scope"), path @ ..] => {
                (*context, path)
            }
            ["spanevent", path @ ..] if self.of_event => ("spanevent", path),
            path => (bare, path),
        };
        let unknown = || format!("the path {} is not known", words.join("."));
        // A second key, or a key where none belongs, leaves a bracket that nothing takes.
        if self.rest.first() == Some(&Token::Sign("[")) {
            return Err(unknown());
        }
        Ok(match (context, path, key) {
            ("span", ["attributes"], Some(key)) => Path::Attribute(key),
            ("spanevent", ["attributes"], Some(key)) => Path::EventAttribute(key),
            ("resource", ["attributes"], Some(key)) => Path::ResourceAttribute(key),
            ("span", ["trace_state"], Some(key)) => Path::TraceStateMember(key),
            ("scope" | "instrumentation_scope", ["name"], None) => Path::ScopeName,
            ("spanevent", ["name"], None) => Path::EventName,
            ("span", path, None) => match path {
                ["name"] => Path::Name,
                ["kind"] => Path::Kind,
                ["kind", "string"] => Path::KindText,
                ["status", "code"] => Path::StatusCode,
                ["status", "message"] => Path::StatusMessage,
                ["start_time"] => Path::StartTime,
                ["end_time"] => Path::EndTime,
                ["start_time_unix_nano"] => Path::StartNanos,
                ["end_time_unix_nano"] => Path::EndNanos,
                ["trace_state"] => Path::TraceState,
                _ => return Err(unknown()),
            },
            _ => return Err(unknown()),
        })
    }

    /// Takes this word if it is the next one.
    fn word(&mut self, word: &str) -> bool {
        match self.rest {
            [Token::Word(next), rest @ ..] if next == word => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes this sign, which must be the next one.
    fn sign(&mut self, sign: &str) -> Result<(), String> {
        match self.rest {
            [Token::Sign(next), rest @ ..] if *next == sign => {
                self.rest = rest;
                Ok(())
            }
            other => Err(format!("{sign:?} must follow, not {:?}", other.first())),
        }
    }
}

/// The constants that are words, and the numbers of OTLP behind the names of enumerations.
fn constant(word: &str) -> Option<Operand> {
    Some(match word {
        "nil" => Operand::Nil,
        "true" => Operand::Bool(true),
        "false" => Operand::Bool(false),
        "SPAN_KIND_UNSPECIFIED" | "STATUS_CODE_UNSET" => Operand::Int(0),
        "SPAN_KIND_INTERNAL" | "STATUS_CODE_OK" => Operand::Int(1),
        "SPAN_KIND_SERVER" | "STATUS_CODE_ERROR" => Operand::Int(2),
        "SPAN_KIND_CLIENT" => Operand::Int(3),
        "SPAN_KIND_PRODUCER" => Operand::Int(4),
        "SPAN_KIND_CONSUMER" => Operand::Int(5),
        _ => return None,
    })
}
