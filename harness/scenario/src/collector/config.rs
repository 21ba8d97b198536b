//! A configuration file with places.

use std::{ops::Range, sync::Arc};

use serde::de::DeserializeOwned;

use super::{Component, Id, Pipeline, Reference, Section, tree};
use crate::{
    diagnostics::Diagnostics,
    file::MAX_BYTES,
    node::Node,
    path::{Path, Step},
    read::{Mistake, Reader},
    yaml,
};

/// The configuration of a Collector, as it is written. `${env:NAME}` and the like are left as they are.
#[derive(Debug, Clone)]
pub struct Config {
    pub(super) name: String,
    pub(super) text: Arc<str>,
    pub(super) root: Node,
    components: Vec<Component>,
    pipelines: Vec<Pipeline>,
    extensions: Vec<Reference>,
}

/// Reads the text of a configuration; `name` is shown in messages.
///
/// It fails for what no Collector could make sense of: text that is not YAML, repeated keys, ids that are
/// none, and pipelines that are not made of lists. All mistakes are told at once.
///
/// ```
/// use spangate_scenario::collector::{self, Section};
///
/// let text = "
/// receivers:
///   otlp: {protocols: {grpc: {endpoint: 127.0.0.1:4317}}}
/// exporters:
///   debug:
/// service:
///   pipelines:
///     traces: {receivers: [otlp], exporters: [debug]}
/// ";
/// let config = collector::parse("collector.yaml", text)?;
/// let otlp = config.component(Section::Receivers, "otlp").expect("it is there");
/// assert_eq!(otlp.text(&["protocols", "grpc", "endpoint"]), Some("127.0.0.1:4317"));
/// # Ok::<(), spangate_scenario::Diagnostics>(())
/// ```
pub fn parse(name: &str, text: &str) -> Result<Config, Diagnostics> {
    let fail = |mistakes| Err(Diagnostics::new(name, text, mistakes));
    let whole = |message: &str, help: &str| {
        let (message, help) = (message.to_owned(), Some(help.to_owned()));
        Mistake { path: Path::root(), span: 0..0, message, help }
    };
    if text.len() > MAX_BYTES {
        let help = "a Collector's configuration is a few hundred lines";
        return fail(vec![whole("the configuration is longer than 1 MiB", help)]);
    }
    let mut root = match yaml::parse(text) {
        Ok(Some(root)) => root,
        Ok(None) => {
            let help = "a configuration has `receivers`, `exporters` and `service.pipelines`";
            return fail(vec![whole("the file is empty", help)]);
        }
        Err(error) => {
            let (span, message, help) = (error.span, error.message, error.help);
            return fail(vec![Mistake { path: Path::root(), span, message, help }]);
        }
    };
    let mut mistakes = Vec::new();
    tree::repeated(&root, &Path::root(), &mut mistakes);
    tree::merge(&mut root);
    let mut builder = Builder { mistakes };
    if root.entries().is_none() {
        builder.expected("a mapping", &root, &Path::root(), None);
    }
    let components = Section::ALL.into_iter().flat_map(|section| builder.section(&root, section)).collect();
    let pipelines = builder.pipelines(&root);
    let at = Path::root().key("service.extensions");
    let extensions = match root.at(&["service", "extensions"]) {
        Some((key, list)) => builder.references(list, &at, &key),
        None => Vec::new(),
    };
    if !builder.mistakes.is_empty() {
        return fail(builder.mistakes);
    }
    Ok(Config { name: name.to_owned(), text: Arc::from(text), root, components, pipelines, extensions })
}

/// Takes the parts of a file, and notes what cannot be one.
struct Builder {
    mistakes: Vec<Mistake>,
}

// === impl Config ===

impl Config {
    /// The name that messages show.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every component that is defined, section by section, in the order of the text.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// The components of a section.
    pub fn section(&self, section: Section) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(move |component| component.section == section)
    }

    /// A component by its id, such as `otlp/backend`.
    pub fn component(&self, section: Section, id: &str) -> Option<&Component> {
        let id = Id::parse(id).ok()?;
        self.section(section).find(|component| component.id == id)
    }

    /// The processors of a type, such as `tail_sampling`.
    pub fn processors_of_type<'c>(&'c self, kind: &'c str) -> impl Iterator<Item = &'c Component> {
        self.of_type(Section::Processors, kind)
    }

    /// The components of a type in a section.
    pub fn of_type<'c>(&'c self, section: Section, kind: &'c str) -> impl Iterator<Item = &'c Component> {
        self.section(section).filter(move |component| component.id.kind() == kind)
    }

    /// The pipelines, in the order of the text.
    pub fn pipelines(&self) -> &[Pipeline] {
        &self.pipelines
    }

    /// The extensions that the service starts.
    pub fn service_extensions(&self) -> &[Reference] {
        &self.extensions
    }

    /// The text of a scalar anywhere, by the keys from the outside in:
    /// `["service", "telemetry", "metrics", "level"]`.
    pub fn value(&self, keys: &[&str]) -> Option<&str> {
        self.root.value_at(keys)?.text()
    }

    /// Bytes of a key anywhere, by the keys from the outside in.
    pub fn key_span(&self, keys: &[&str]) -> Option<Range<usize>> {
        Some(self.root.at(keys)?.0)
    }

    /// Reads the body of a component. `None` if there is no such component.
    ///
    /// Keys that `T` does not name are passed over unless it denies them (`deny_unknown_fields`), and an
    /// empty value is the default of an option, a list or a mapping: `otlp:` alone is a mapping without
    /// entries. Everything that cannot be read is told with its place.
    pub fn get<T: DeserializeOwned>(&self, section: Section, id: &str) -> Option<Result<T, Diagnostics>> {
        let component = self.component(section, id)?;
        // The key as it is written: `otlp / x` is the component `otlp/x`.
        let written = &self.text[component.span.clone()];
        let key = self.root.value_at(&[section.key()])?.entries()?.iter();
        let key = key.map(|entry| &entry.key).find(|key| Id::parse(key).is_ok_and(|id| id == component.id));
        let key = key.map_or_else(|| written.to_owned(), Clone::clone);
        let path = Path::root().then(Step::Key(section.key().to_owned())).then(Step::Key(key));
        let reader = Reader::foreign();
        let value = reader.read(&self.root, &path);
        let mistakes = reader.into_mistakes();
        Some(match value {
            Some(value) if mistakes.is_empty() => Ok(value),
            _ => Err(Diagnostics::new(&self.name, &self.text, mistakes)),
        })
    }
}

// === impl Builder ===

impl Builder {
    fn section(&mut self, root: &Node, section: Section) -> Vec<Component> {
        let path = Path::root().key(section.key());
        let Some((key, node)) = root.at(&[section.key()]) else { return Vec::new() };
        let mut components: Vec<Component> = Vec::new();
        for (id, span, body) in self.entries(node, &path, &key) {
            // Two keys may be the same id: `otlp/x` and `otlp / x`.
            if components.iter().any(|before| before.id == id) {
                if self.mistakes.iter().any(|before| before.span == span) {
                    continue;
                }
                let message = format!("the {} `{id}` is defined more than once", section.singular());
                let path = path.clone().then(Step::Key(id.to_string()));
                self.mistakes.push(Mistake { path, span, message, help: None });
                continue;
            }
            components.push(Component { section, id, span, body: body.clone() });
        }
        components
    }

    fn pipelines(&mut self, root: &Node) -> Vec<Pipeline> {
        let path = Path::root().key("service.pipelines");
        let Some((key, node)) = root.at(&["service", "pipelines"]) else { return Vec::new() };
        let mut pipelines = Vec::new();
        for (id, span, body) in self.entries(node, &path, &key) {
            let path = path.clone().then(Step::Key(id.to_string()));
            if body.entries().is_none() && !body.is_null() {
                self.expected("a mapping", body, &path, Some(&span));
            }
            let mut list = |key: &str| match body.at(&[key]) {
                Some((span, list)) => self.references(list, &path.clone().key(key), &span),
                None => Vec::new(),
            };
            let (receivers, processors, exporters) =
                (list("receivers"), list("processors"), list("exporters"));
            pipelines.push(Pipeline { id, span, receivers, processors, exporters });
        }
        pipelines
    }

    /// The entries of a mapping from ids to bodies.
    fn entries<'n>(
        &mut self,
        node: &'n Node,
        path: &Path,
        key: &Range<usize>,
    ) -> Vec<(Id, Range<usize>, &'n Node)> {
        let Some(entries) = node.entries() else {
            if !node.is_null() {
                self.expected("a mapping", node, path, Some(key));
            }
            return Vec::new();
        };
        let mut found = Vec::new();
        for entry in entries {
            match Id::parse(&entry.key) {
                Ok(id) => found.push((id, entry.key_span.clone(), &entry.value)),
                Err(message) => {
                    let path = path.clone().then(Step::Key(entry.key.clone()));
                    self.id(message, path, entry.key_span.clone());
                }
            }
        }
        found
    }

    fn references(&mut self, node: &Node, path: &Path, key: &Range<usize>) -> Vec<Reference> {
        let Some(items) = node.items() else {
            if !node.is_null() {
                self.expected("a list", node, path, Some(key));
            }
            return Vec::new();
        };
        let mut references = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = path.index(index);
            match item.text().map(Id::parse) {
                Some(Ok(id)) => references.push(Reference { id, span: item.span.clone() }),
                Some(Err(message)) => self.id(message, path, item.span.clone()),
                None => self.expected("the id of a component", item, &path, None),
            }
        }
        references
    }

    fn id(&mut self, message: String, path: Path, span: Range<usize>) {
        let help = Some("an id is `type` or `type/name`; a type has letters, digits and `_`".to_owned());
        self.mistakes.push(Mistake { path, span, message, help });
    }

    fn expected(&mut self, what: &str, node: &Node, path: &Path, key: Option<&Range<usize>>) {
        let message = format!("expected {what}, got {}", node.describe());
        self.mistakes.push(Mistake { path: path.clone(), span: node.head(key), message, help: None });
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const TEXT: &str = "\
receivers:
  otlp: &otlp
    protocols: {grpc: , http: {endpoint: '${env:HOST}:4318'}}
  otlp/second: *otlp
processors:
  batch:
  tail_sampling:
    decision_wait: 10s
    num_traces: 100
    policies: [{name: a, type: always_sample}]
exporters: {debug: }
extensions: {zpages: }
service:
  extensions: [zpages]
  pipelines:
    traces: {receivers: [otlp, otlp/second], processors: [tail_sampling, batch], exporters: [debug]}
";

    #[derive(Debug, Deserialize)]
    struct TailSampling {
        decision_wait: String,
        num_traces: Option<u64>,
        #[serde(default)]
        policies: Vec<Policy>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Policy {
        name: String,
        r#type: String,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Batch {
        timeout: Option<String>,
    }

    #[test]
    fn components_and_pipelines_are_found_with_their_places() {
        let config = parse("c.yaml", TEXT).unwrap();
        let otlp = config.component(Section::Receivers, "otlp/second").unwrap();
        assert_eq!(&TEXT[otlp.span()], "otlp/second");
        assert_eq!(otlp.text(&["protocols", "http", "endpoint"]), Some("${env:HOST}:4318"));
        let tail = config.processors_of_type("tail_sampling").next().unwrap();
        assert_eq!(&TEXT[tail.key_span(&["num_traces"]).unwrap()], "num_traces");
        assert_eq!(&TEXT[tail.value_span(&["num_traces"]).unwrap()], "100");
        let [traces] = config.pipelines() else { panic!("one pipeline") };
        let names: Vec<String> = traces.processors().iter().map(|each| each.id().to_string()).collect();
        assert_eq!(names, ["tail_sampling", "batch"]);
        assert_eq!(traces.references().count(), 5);
        assert_eq!(&TEXT[config.service_extensions()[0].span()], "zpages");
        assert_eq!(config.components().len(), 6);
    }

    #[test]
    fn bodies_are_read_into_the_callers_types() {
        let config = parse("c.yaml", TEXT).unwrap();
        let tail: TailSampling = config.get(Section::Processors, "tail_sampling").unwrap().unwrap();
        assert_eq!((tail.decision_wait.as_str(), tail.num_traces), ("10s", Some(100)));
        assert_eq!(
            (tail.policies[0].name.as_str(), tail.policies[0].r#type.as_str()),
            ("a", "always_sample")
        );
        let batch: Batch = config.get(Section::Processors, "batch").unwrap().unwrap();
        assert_eq!(batch, Batch::default());
        assert!(config.get::<Batch>(Section::Processors, "batch/none").is_none());
    }

    #[test]
    fn mistakes_of_a_body_are_told_at_their_places() {
        let text =
            TEXT.replace("100", "many").replace("name: a, ", "name: a, nmae: b, ").replace("10s", "10");
        let config = parse("c.yaml", &text).unwrap();
        let result = config.get::<TailSampling>(Section::Processors, "tail_sampling").unwrap();
        let found: Vec<(String, String)> = result
            .unwrap_err()
            .problems()
            .iter()
            .map(|problem| (problem.path().to_string(), text[problem.span()].to_owned()))
            .collect();
        let expected = [
            ("processors.tail_sampling.decision_wait", "10"),
            ("processors.tail_sampling.num_traces", "many"),
            ("processors.tail_sampling.policies[0].nmae", "nmae"),
        ];
        assert_eq!(found, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }

    #[test]
    fn what_no_collector_could_read_is_told_at_once() {
        let text = "receivers: {otlp/: , otlp: , otlp: , \"otlp \": }\nexporters: [debug]\nservice:\n  pipelines:\n    \
                    traces: {receivers: otlp, exporters: [{debug: }]}\n  extensions: [1x]\n";
        let diagnostics = parse("c.yaml", text).unwrap_err();
        let found: Vec<String> = diagnostics.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "the id `otlp/` has nothing after the slash",
                "the key `otlp` is given more than once",
                "the receiver `otlp` is defined more than once",
                "expected a mapping, got a list",
                "expected a list, got `otlp`",
                "expected the id of a component, got a mapping",
                "`1x` cannot be a type of component",
            ]
            .map(str::to_owned)
        );
        for text in ["", "- a\n", "a: [\n", "just text\n"] {
            assert!(parse("c.yaml", text).is_err(), "{text:?}");
        }
    }
}
