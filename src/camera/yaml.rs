//! YAML as a tree of text: enough of it for calibrations.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser};

/// Lists and maps within each other; calibrations have three.
const DEPTH_MAX: usize = 32;

/// Values of a file, those that aliases repeat counted each time: a file of
/// [`crate::base::limits::TEXT_FILE_BYTES_MAX`] could name billions.
const NODES_MAX: usize = 100_000;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Text or a number, without its quotes.
    Scalar(String),
    /// A list.
    List(Vec<Self>),
    /// Keys and values, in order.
    Map(Vec<(String, Self)>),
}

impl Node {
    /// The value of a key; `None` if this is no map or has no such key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        let (_, value) = entries.iter().find(|(name, _)| name == key)?;
        Some(value)
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// A scalar as a finite number.
    pub fn number(&self) -> Option<f64> {
        let number: f64 = self.text()?.trim().parse().ok()?;
        number.is_finite().then_some(number)
    }

    /// The value as one line, for messages.
    pub fn shown(&self) -> String {
        match self {
            Self::Scalar(text) => text.clone(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::shown).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Map(entries) => {
                let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
                format!("{{{}}}", keys.join(", "))
            }
        }
    }
}

/// Reads the first document of a text; what follows it (`ros2 topic echo` goes on and on) is not looked at.
///
/// A byte order mark is passed over, and so is the first line that `OpenCV` writes (`%YAML:1.0`), which is no YAML.
///
/// # Errors
///
/// What is wrong, and in which line.
pub fn first_document(text: &str) -> Result<Node, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("%YAML:") => rest,
        _ => text,
    };
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        nodes: 0,
    };
    loop {
        match reader.event()? {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd | Event::DocumentEnd => return Err("it is empty".to_owned()),
            event => return reader.node(event, DEPTH_MAX),
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn event(&mut self) -> Result<Event<'a>, String> {
        match self.events.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(Event::StreamEnd),
        }
    }

    /// The value that begins with this event.
    fn node(&mut self, first: Event<'a>, depth: usize) -> Result<Node, String> {
        if depth == 0 {
            return Err(format!(
                "lists and maps are nested more than {DEPTH_MAX} deep"
            ));
        }
        self.count(1)?;
        let (node, anchor) = match first {
            Event::Scalar(text, _, anchor, _) => (Node::Scalar(text.into_owned()), anchor),
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.event()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.node(event, depth - 1)?),
                    }
                }
                (Node::List(items), anchor)
            }
            Event::MappingStart(anchor, _) => {
                let mut entries: Vec<(String, Node)> = Vec::new();
                loop {
                    let key = match self.event()? {
                        Event::MappingEnd => break,
                        event => match self.node(event, depth - 1)? {
                            Node::Scalar(key) => key,
                            other => return Err(format!("{} is no key", other.shown())),
                        },
                    };
                    if entries.iter().any(|(name, _)| *name == key) {
                        return Err(format!("{key} is given twice"));
                    }
                    let value = self.event()?;
                    entries.push((key, self.node(value, depth - 1)?));
                }
                (Node::Map(entries), anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor);
                let node = node
                    .ok_or("an alias stands for a value that holds it")?
                    .clone();
                self.count(size(&node))?;
                return Ok(node);
            }
            _ => return Err("it ends too early".to_owned()),
        };
        if anchor > 0 {
            self.count(size(&node))?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(format!("more than {NODES_MAX} values"));
        }
        Ok(())
    }
}

/// How many values a value holds, itself included.
fn size(node: &Node) -> usize {
    1 + match node {
        Node::Scalar(_) => 0,
        Node::List(items) => items.iter().map(size).sum(),
        Node::Map(entries) => entries.iter().map(|(_, value)| 1 + size(value)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn one_tree_comes_of_every_style() {
        let block = "a: 1\n\"b\":\n- 2.5\n-  - x\n   - 'y z'  # why\nc: {}\n";
        let flow = "\u{feff}{a: 1, 'b': [2.5, [x, \"y z\"]], c: {}}";
        let opencv =
            "%YAML:1.0\r\n---\r\na: 1\r\nb: [ 2.5,\r\n     [ x, \"y z\" ] ]\r\nc: !!tag {}\r\n";
        let alias = "%YAML 1.2\n---\na: 1\nb: [2.5, &l [x, y z]]\nc: {}\n---\nother: [\n";
        let want = first_document(block).unwrap();
        assert_eq!(want.get("a").unwrap().number(), Some(1.0));
        assert_eq!(want.get("b").unwrap().shown(), "[2.5, [x, y z]]");
        for text in [flow, opencv, alias] {
            assert_eq!(first_document(text).unwrap(), want, "{text}");
        }
        let twice = first_document("a: &k [1, 2]\nb: *k").unwrap();
        assert_eq!(twice.get("a"), twice.get("b"));
    }

    #[test]
    fn what_no_person_writes_is_refused_and_costs_little() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}, ", level - 1).repeat(9);
            writeln!(laughs, "a{level}: &a{level} [{below}]").unwrap();
        }
        for (text, words) in [
            ("", "empty"),
            ("a: 1\na: 2\n", "twice"),
            ("[a, b]: c\n", "no key"),
            (&laughs, "more than 100000 values"),
            (&"[".repeat(100), "nested"),
            ("a: [1, 2\n", ""),
            ("a: *nothing\n", ""),
        ] {
            let error = first_document(text).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
