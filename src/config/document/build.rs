//! Builds values and their places from the events of the parser.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_yaml::{Mapping, Number, Value};

use super::frame::{Frame, Node, position};
use super::{MAX_DEPTH, Position, Spot, place, scalar, syntax};
use crate::config::report::{KeyPath, Problem, Report};

/// What the anchors and aliases of a text may copy, in bytes.
const MAX_COPIED: usize = 16 * 1024 * 1024;

/// Parses a text into its value and places.
pub(super) fn build(name: &Arc<str>, text: &str) -> Result<(Value, Spot), Report> {
    let mut builder = Builder {
        name,
        frames: Vec::new(),
        anchors: BTreeMap::new(),
        copied: 0,
        root: None,
        documents: 0,
        report: Report::new(),
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => builder.event(event, span)?,
            Err(error) => {
                let position = syntax::position(&error, text);
                builder.problem(position, KeyPath::root(), syntax::message(&error, text));
                return Err(builder.report);
            }
        }
    }
    let start = Position { line: 1, column: 1 };
    let (value, spot) = match builder.root {
        Some(node) if !node.value.is_null() => (node.value, node.spot),
        _ => (Value::Mapping(Mapping::new()), Spot::new(start)),
    };
    builder.report.into_result((value, spot))
}

struct Builder<'a> {
    name: &'a Arc<str>,
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, Node>,
    copied: usize,
    root: Option<Node>,
    documents: usize,
    report: Report,
}

impl Builder<'_> {
    /// Takes one event; an error ends the parse, other problems are collected.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Report> {
        let at = position(span.start);
        match event {
            Event::DocumentStart(_) => self.start(at),
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(&text, style, tag.as_deref(), at);
                self.remember(anchor, &node)?;
                if self.awaits_key() {
                    self.key(&text, style, &node);
                } else {
                    self.finish(node);
                }
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => self.open(Frame::list(anchor, at), tag.as_deref(), at),
            Event::MappingStart(anchor, tag) => self.open(Frame::map(anchor, at), tag.as_deref(), at),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn start(&mut self, at: Position) -> Result<(), Report> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        let message = "a second document starts here; a file holds one, so remove the line `---` or use two files";
        Err(self.fatal(at, message))
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Node {
        let is_plain = style == ScalarStyle::Plain;
        let is_text = match tag {
            None => !is_plain,
            Some(tag) if tag.is_yaml_core_schema() => tag.suffix == "str",
            Some(tag) => {
                self.unknown_tag(tag, at);
                true
            }
        };
        let value = if is_text { Value::String(text.to_owned()) } else { scalar::plain(text) };
        // An empty value has no place of its own: show its key.
        let key = self.frames.last().and_then(Frame::key_position);
        let at = key.filter(|_| is_plain && text.is_empty()).unwrap_or(at);
        Node::scalar(value, at, text.len())
    }

    fn open(&mut self, frame: Frame, tag: Option<&Tag>, at: Position) -> Result<(), Report> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(self.fatal(at, too_deep()));
        }
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.unknown_tag(tag, at);
        }
        self.frames.push(frame);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Report> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let anchor = frame.anchor();
        let (node, bad_merge) = frame.close();
        if let Some(at) = bad_merge {
            let message = "`<<` takes in a mapping, or a list of mappings; write an alias such as `<<: *name`";
            self.problem(at, self.path().then("<<"), message);
        }
        self.remember(anchor, &node)?;
        if self.awaits_key() {
            self.refuse_key(node.spot.value, "a list or mapping can't be a key; write text");
        } else {
            self.finish(node);
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Report> {
        let Some(node) = self.anchors.get(&anchor) else {
            let message = "this alias stands inside its own anchor; write the value out";
            return Err(self.fatal(at, message));
        };
        let (depth, cost) = (node.depth, node.cost);
        self.count_copy(cost, at)?;
        if self.frames.len() + depth > MAX_DEPTH {
            return Err(self.fatal(at, too_deep()));
        }
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Ok(());
        };
        if !self.awaits_key() {
            self.finish(node);
        } else if let Value::String(text) = &node.value {
            let key = Node::scalar(node.value.clone(), at, text.len());
            self.key(text, ScalarStyle::DoubleQuoted, &key);
        } else {
            self.refuse_key(at, "this alias is not text, so it can't be a key; write text");
        }
        Ok(())
    }

    /// Keeps a node for the aliases of its anchor.
    fn remember(&mut self, anchor: usize, node: &Node) -> Result<(), Report> {
        if anchor > 0 {
            self.count_copy(node.cost, node.spot.value)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    fn count_copy(&mut self, cost: usize, at: Position) -> Result<(), Report> {
        self.copied = self.copied.saturating_add(cost);
        if self.copied <= MAX_COPIED {
            return Ok(());
        }
        let message = "the aliases of this file expand to too much; write fewer of them";
        Err(self.fatal(at, message))
    }

    /// Puts a finished value where it belongs.
    fn finish(&mut self, node: Node) {
        match self.frames.last_mut() {
            Some(frame) => frame.add(node),
            None => self.root = Some(node),
        }
    }

    fn awaits_key(&self) -> bool {
        self.frames.last().is_some_and(Frame::awaits_key)
    }

    /// Takes a scalar as the next key of the open mapping: text, or digits such as those of a status, which are text too.
    fn key(&mut self, text: &str, style: ScalarStyle, node: &Node) {
        let at = node.spot.value;
        let is_count = |number: &Number| number.as_u64().is_some_and(|n| n.to_string() == text);
        let key = match &node.value {
            Value::String(key) => key.as_str(),
            Value::Number(number) if is_count(number) => text,
            _ if text.is_empty() => {
                return self.refuse_key(at, "a key is missing here; write one before the `:`");
            }
            _ => {
                let cure = format!("the key {text} is not text; write it in quotes: {text:?}");
                return self.refuse_key(at, cure);
            }
        };
        let is_merge = style == ScalarStyle::Plain && key == "<<";
        let frame = self.frames.last_mut();
        if let Some(first) = frame.and_then(|frame| frame.key(key, is_merge, at)) {
            let (first, second) = (first.line, at.line);
            let message = format!("written twice, on lines {first} and {second}; keep one of them");
            self.problem(at, self.path().then(key), message);
        }
    }

    fn refuse_key(&mut self, at: Position, message: impl Into<String>) {
        if let Some(frame) = self.frames.last_mut() {
            frame.refuse_key();
        }
        self.problem(at, self.path(), message);
    }

    /// The path of the node that comes next.
    fn path(&self) -> KeyPath {
        self.frames.iter().filter_map(Frame::segment).collect()
    }

    fn unknown_tag(&mut self, tag: &Tag, at: Position) {
        let message = format!("the tag {tag} means nothing here; remove it");
        self.problem(at, self.path(), message);
    }

    fn problem(&mut self, at: Position, path: KeyPath, message: impl Into<String>) {
        let place = place(self.name, at);
        self.report.push(Problem::new(Some(place), path, message));
    }

    fn fatal(&mut self, at: Position, message: impl Into<String>) -> Report {
        self.problem(at, self.path(), message);
        std::mem::take(&mut self.report)
    }
}

fn too_deep() -> String {
    format!("nested deeper than {MAX_DEPTH} levels; flatten it")
}
