//! CBOR values, and checking them against the part of CDDL (RFC 8610) that
//! `docs/reference/pose.cddl` uses: maps with bare keys, `? key` and `* tstr => type`, lists of
//! fixed, counted and open length, choices, groups in brackets, texts, whole
//! numbers, ranges and the prelude's names. What it does not know it refuses loudly, so
//! a schema that grows past it fails the tests.

use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;

use minicbor::Decoder;
use minicbor::data::Type;

/// The CBOR values that our messages hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Uint(u64),
    Negative(i64),
    Text(String),
    F32(f32),
    F64(f64),
    Bool(bool),
    Null,
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The one value that `bytes` hold.
    pub fn of(bytes: &[u8]) -> Self {
        let mut cbor = Decoder::new(bytes);
        let value = Self::read(&mut cbor);
        assert_eq!(cbor.position(), bytes.len(), "bytes follow the value");
        value
    }

    fn read(cbor: &mut Decoder<'_>) -> Self {
        match cbor.datatype().unwrap() {
            Type::String => Self::Text(cbor.str().unwrap().to_owned()),
            Type::F32 => Self::F32(cbor.f32().unwrap()),
            Type::F64 => Self::F64(cbor.f64().unwrap()),
            Type::Bool => Self::Bool(cbor.bool().unwrap()),
            Type::Null => {
                cbor.null().unwrap();
                Self::Null
            }
            Type::Array => {
                let length = cbor.array().unwrap().unwrap();
                Self::List((0..length).map(|_| Self::read(cbor)).collect())
            }
            Type::Map => {
                let length = cbor.map().unwrap().unwrap();
                let pair = |_| (cbor.str().unwrap().to_owned(), Self::read(cbor));
                Self::Map((0..length).map(pair).collect())
            }
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => Self::Negative(cbor.i64().unwrap()),
            _ => Self::Uint(cbor.u64().unwrap()),
        }
    }

    /// Keys and values of a map.
    pub fn pairs(&mut self) -> &mut Vec<(String, Value)> {
        match self {
            Self::Map(pairs) => pairs,
            other => panic!("{other:?} is no map"),
        }
    }

    /// The value of a key.
    pub fn at(&mut self, key: &str) -> &mut Value {
        let found = self.pairs().iter_mut().find(|(name, _)| name == key);
        &mut found.unwrap_or_else(|| panic!("no key {key}")).1
    }

    /// Entries of a list.
    pub fn entries(&mut self) -> &mut Vec<Value> {
        match self {
            Self::List(entries) => entries,
            other => panic!("{other:?} is no list"),
        }
    }
}

#[derive(Clone, Debug)]
enum Rule {
    Name(String),
    Text(String),
    Range(u64, u64),
    Choice(Vec<Rule>),
    /// Entries with how often each stands there.
    List(Vec<(usize, usize, Rule)>),
    /// Keys, whether they may be left out, their types; and the type of all other keys.
    Map(Vec<(String, bool, Rule)>, Option<Box<Rule>>),
}

/// A schema that has been read.
pub struct Schema(HashMap<String, Rule>);

impl Schema {
    /// Reads a schema; panics where it is not in the part of CDDL known here.
    pub fn read(cddl: &str) -> Self {
        let mut tokens = tokens(cddl).into_iter().peekable();
        let mut rules = HashMap::new();
        while let Some(name) = tokens.next() {
            expect(&mut tokens, "=");
            let rule = choice(&mut tokens);
            assert!(
                rules.insert(name.clone(), rule).is_none(),
                "{name} stands there twice"
            );
        }
        Self(rules)
    }

    /// Checks bytes against a rule.
    pub fn check(&self, rule: &str, bytes: &[u8]) -> Result<(), String> {
        self.fits(&self.0[rule], &Value::of(bytes))
            .map_err(|reason| format!("{rule}{reason}"))
    }

    fn fits(&self, rule: &Rule, value: &Value) -> Result<(), String> {
        let fits = match rule {
            Rule::Choice(rules) => {
                if let Some(reason) = rules
                    .iter()
                    .map(|rule| self.fits(rule, value))
                    .reduce(Result::or)
                {
                    return reason;
                }
                false
            }
            Rule::Text(text) => matches!(value, Value::Text(got) if got == text),
            Rule::Range(least, most) => {
                matches!(value, Value::Uint(got) if got >= least && got <= most)
            }
            Rule::List(entries) => return self.list_fits(entries, value),
            Rule::Map(keys, others) => return self.map_fits(keys, others.as_deref(), value),
            Rule::Name(name) => match name.as_str() {
                "any" => true,
                "uint" => matches!(value, Value::Uint(_)),
                "int" => matches!(value, Value::Uint(_) | Value::Negative(_)),
                "tstr" => matches!(value, Value::Text(_)),
                "float" => matches!(value, Value::F32(_) | Value::F64(_)),
                "bool" => matches!(value, Value::Bool(_)),
                "null" => matches!(value, Value::Null),
                name => {
                    let rule = self.0.get(name).unwrap_or_else(|| panic!("no rule {name}"));
                    return self.fits(rule, value);
                }
            },
        };
        if fits {
            Ok(())
        } else {
            Err(format!(": {value:?} is no {rule:?}"))
        }
    }

    fn list_fits(&self, rules: &[(usize, usize, Rule)], value: &Value) -> Result<(), String> {
        let Value::List(entries) = value else {
            return Err(format!(": {value:?} is no list"));
        };
        let mut left = entries.as_slice();
        for (least, most, rule) in rules {
            let mut found = 0;
            while found < *most && !left.is_empty() {
                match self.fits(rule, &left[0]) {
                    Ok(()) => {}
                    Err(_) if found >= *least => break,
                    Err(reason) => return Err(format!("[{found}]{reason}")),
                }
                (found, left) = (found + 1, &left[1..]);
            }
            if found < *least {
                return Err(format!(": {found} entries, at least {least}"));
            }
        }
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!(": {} entries too many", left.len()))
        }
    }

    fn map_fits(
        &self,
        keys: &[(String, bool, Rule)],
        others: Option<&Rule>,
        value: &Value,
    ) -> Result<(), String> {
        let Value::Map(pairs) = value else {
            return Err(format!(": {value:?} is no map"));
        };
        for (key, optional, _) in keys {
            if !optional && !pairs.iter().any(|(got, _)| got == key) {
                return Err(format!(".{key}: missing"));
            }
        }
        for (index, (key, value)) in pairs.iter().enumerate() {
            if pairs[..index].iter().any(|(before, _)| before == key) {
                return Err(format!(".{key}: stands there twice"));
            }
            let rule = keys.iter().find(|(name, ..)| name == key);
            let Some(rule) = rule.map(|(.., rule)| rule).or(others) else {
                return Err(format!(".{key}: not in the schema"));
            };
            self.fits(rule, value)
                .map_err(|reason| format!(".{key}{reason}"))?;
        }
        Ok(())
    }
}

type Tokens = Peekable<std::vec::IntoIter<String>>;

fn tokens(cddl: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = cddl.chars().peekable();
    let word = |left: &mut Peekable<Chars<'_>>, first: char| {
        let mut word = String::from(first);
        while let Some(next) = left.next_if(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)) {
            word.push(next);
        }
        word
    };
    while let Some(next) = left.next() {
        match next {
            ';' => while left.next_if(|c| *c != '\n').is_some() {},
            '"' => {
                let mut text = String::from('"');
                text.extend(std::iter::from_fn(|| left.next_if(|c| *c != '"')));
                left.next().expect("the text ends");
                found.push(text);
            }
            '.' if left.next_if_eq(&'.').is_some() => found.push("..".into()),
            '=' if left.next_if_eq(&'>').is_some() => found.push("=>".into()),
            '=' | '/' | '{' | '}' | '[' | ']' | '(' | ')' | ',' | ':' | '*' | '?' => {
                found.push(next.into());
            }
            _ if next.is_whitespace() => {}
            _ if next.is_ascii_alphanumeric() => found.push(word(&mut left, next)),
            other => panic!("{other:?} is not in the part of CDDL known here"),
        }
    }
    found
}

fn expect(tokens: &mut Tokens, want: &str) {
    let got = tokens.next();
    assert_eq!(got.as_deref(), Some(want));
}

fn next_is(tokens: &mut Tokens, want: &str) -> bool {
    tokens.next_if(|token| token == want).is_some()
}

fn choice(tokens: &mut Tokens) -> Rule {
    let mut rules = vec![single(tokens)];
    while next_is(tokens, "/") {
        rules.push(single(tokens));
    }
    if rules.len() == 1 {
        return rules.remove(0);
    }
    Rule::Choice(rules)
}

fn single(tokens: &mut Tokens) -> Rule {
    let token = tokens.next().expect("a type");
    match token.as_str() {
        "(" => {
            let rule = choice(tokens);
            expect(tokens, ")");
            rule
        }
        "[" => list(tokens),
        "{" => map(tokens),
        _ if token.starts_with('"') => Rule::Text(token[1..].into()),
        _ => match token.parse() {
            Ok(least) if next_is(tokens, "..") => {
                let most = tokens.next().and_then(|most| most.parse().ok());
                Rule::Range(least, most.expect("a range ends with a number"))
            }
            Ok(number) => Rule::Range(number, number),
            Err(_) => Rule::Name(token),
        },
    }
}

fn list(tokens: &mut Tokens) -> Rule {
    let mut entries = Vec::new();
    while !next_is(tokens, "]") {
        let count = tokens.next_if(|token| token.parse::<usize>().is_ok());
        let least = count.map(|count| count.parse().unwrap());
        if next_is(tokens, "*") {
            let most = tokens.next_if(|token| token.parse::<usize>().is_ok());
            let most = most.map_or(usize::MAX, |most| most.parse().unwrap());
            entries.push((least.unwrap_or(0), most, choice(tokens)));
        } else {
            assert!(least.is_none(), "a bare number in a list is not known here");
            entries.push((1, 1, choice(tokens)));
        }
        next_is(tokens, ",");
    }
    Rule::List(entries)
}

fn map(tokens: &mut Tokens) -> Rule {
    let (mut keys, mut others) = (Vec::new(), None);
    while !next_is(tokens, "}") {
        if next_is(tokens, "*") {
            expect(tokens, "tstr");
            expect(tokens, "=>");
            others = Some(Box::new(choice(tokens)));
        } else {
            let optional = next_is(tokens, "?");
            let key = tokens.next().expect("a key");
            expect(tokens, ":");
            keys.push((key, optional, choice(tokens)));
        }
        next_is(tokens, ",");
    }
    Rule::Map(keys, others)
}
