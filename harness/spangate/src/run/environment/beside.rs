//! What stands beside local processes: the Collector, as a process or in a container, and backends, which are in containers.

use std::{io, net::SocketAddr, path::PathBuf};

use spangate_cluster::{
    BackendConfig, CollectorProgram, Component as Name, Docker, DockerError, Found, Jaeger, Prometheus,
    Version, VersionSpec,
    docker::{Leftover, Owner, ProgramImage},
};
use spangate_scenario::model::{self, ContainerOf};
use spangate_sink::SinkHandle;
use spangate_trace::Clock;

use super::{
    super::{directory::RunDirectory, kind::blocking},
    FILES, forward,
};
use crate::{
    collector::running::{Places, RunningCollector},
    error::CommandError,
    event::{Event, Events, Step},
    plan::Plan,
    report::Component,
};

/// Starts what stands beside local processes.
pub(super) struct Beside<'p> {
    plan: &'p Plan,
    directory: &'p RunDirectory,
    clock: Clock,
    events: &'p Events,
    /// What containers are started with, if the scenario has any.
    containers: Option<(Docker, Owner)>,
}

/// The backends of a run.
#[derive(Debug, Default)]
pub(in crate::run) struct Backends {
    pub(in crate::run) jaeger: Option<Jaeger>,
    pub(in crate::run) prometheus: Option<Prometheus>,
}

// === impl Beside ===

impl<'p> Beside<'p> {
    /// Finds Docker, if the scenario has containers, and removes those of runs that were killed.
    pub(super) async fn find(
        plan: &'p Plan,
        directory: &'p RunDirectory,
        clock: Clock,
        events: &'p Events,
    ) -> Result<Self, CommandError> {
        let mut this = Self { plan, directory, clock, events, containers: None };
        let spec = &plan.scenario.spec;
        let collector = spec.collector.as_ref().and_then(|collector| collector.container.as_ref());
        if collector.is_none() && spec.backends.is_empty() {
            return Ok(this);
        }
        let removed = blocking(|| {
            let docker = docker()?;
            let removed = prune(&docker)?;
            Ok::<_, CommandError>((docker, removed))
        });
        let (docker, removed) = removed.await??;
        for name in removed {
            events.send(Event::Note(format!("removed the container {name}, whose run was killed")));
        }
        let no_owner = |error| CommandError::environment("cannot tell which process this is").because(error);
        this.containers = Some((docker, Owner::this(this.files()?).map_err(no_owner)?));
        Ok(this)
    }

    /// What is not among the binaries, for the report: the images that the scenario names.
    pub(super) fn components(&self) -> impl Iterator<Item = Component> {
        let spec = &self.plan.scenario.spec;
        let collector = spec.collector.iter().filter_map(|it| Some(("otelcol", it.container.as_ref()?)));
        collector.chain(spec.backends.each()).filter_map(|(name, container)| {
            let image = container.image.clone()?;
            let version = Version::find(&image).map_or_else(|| "unknown".to_owned(), |it| it.to_string());
            Some(Component { name: name.to_owned(), version, source: image })
        })
    }

    /// Starts the Collector, if the scenario has one: of the binary, unless an image is named.
    pub(super) async fn collector(
        &self,
        binary: Option<Found>,
        sink: &SinkHandle,
    ) -> Result<Option<RunningCollector>, CommandError> {
        let both = self.plan.collector.as_ref().zip(self.plan.scenario.spec.collector.as_ref());
        let Some((configuration, model)) = both else { return Ok(None) };
        self.events.step(Step::Collector);
        let program = if let Some(container) = &model.container {
            self.contained(container, model, binary).await?
        } else {
            RunningCollector::child(&binary.ok_or_else(nothing_found)?)
        };
        let (files, logs) = (self.files()?, self.directory.file(RunDirectory::LOGS));
        let places = Places { files: &files, logs: &logs };
        let tell = forward(self.events);
        let started = RunningCollector::start(configuration, model, program, places, sink, self.clock, &tell);
        started.await.map(Some)
    }

    /// The Collector's program, in a container.
    async fn contained(
        &self,
        container: &ContainerOf,
        model: &model::Collector,
        binary: Option<Found>,
    ) -> Result<(CollectorProgram, Version), CommandError> {
        let (docker, owner) = self.containers()?;
        let wanted =
            model.version.parse().ok().map(|spec: VersionSpec| {
                Version::new(spec.major, spec.minor, spec.patch.unwrap_or_default())
            });
        let (image, version) = self.image(container, Name::Otelcol, binary).await?;
        let limits = &model.resources.limits;
        let program = CollectorProgram::Container {
            docker,
            image,
            owner: Box::new(owner),
            directories: Vec::new(),
            memory: limits.memory.as_ref().map(|memory| memory.parts(1.0)),
            cpu: limits.cpu.as_ref().map(|cpu| cpu.parts(1e9)),
        };
        Ok((program, version.or(wanted).unwrap_or(Version::new(0, 0, 0))))
    }

    /// Starts Jaeger, if the scenario has it.
    pub(super) async fn jaeger(&self, binary: Option<Found>) -> Result<Option<Jaeger>, CommandError> {
        let Some(container) = &self.plan.scenario.spec.backends.jaeger else { return Ok(None) };
        self.events.step(Step::Backends);
        let config = self.backend(container, Name::Jaeger, binary).await?;
        let started = Jaeger::start(&config, &forward(self.events)).await;
        let jaeger = started.map_err(not_started("Jaeger"))?;
        self.tell_ui("Jaeger", jaeger.query());
        Ok(Some(jaeger))
    }

    /// Starts Prometheus, if the scenario has it.
    pub(super) async fn prometheus(
        &self,
        binary: Option<Found>,
        collector: Option<&RunningCollector>,
    ) -> Result<Option<Prometheus>, CommandError> {
        let Some(container) = &self.plan.scenario.spec.backends.prometheus else { return Ok(None) };
        self.events.step(Step::Backends);
        // The plan has seen to both.
        let target = collector
            .and_then(RunningCollector::prometheus)
            .ok_or_else(|| CommandError::bug("there is no exporter that Prometheus could read"))?;
        let config = self.backend(container, Name::Prometheus, binary).await?;
        let started = Prometheus::start(&config, target, &forward(self.events)).await;
        let prometheus = started.map_err(not_started("Prometheus"))?;
        self.tell_ui("Prometheus", prometheus.query());
        Ok(Some(prometheus))
    }

    async fn backend(
        &self,
        container: &ContainerOf,
        name: Name,
        binary: Option<Found>,
    ) -> Result<BackendConfig, CommandError> {
        let (docker, owner) = self.containers()?;
        let (image, version) = self.image(container, name, binary).await?;
        let version = version.unwrap_or(Version::new(0, 0, 0));
        Ok(BackendConfig { docker, image, version, owner, logs: self.directory.file(RunDirectory::LOGS) })
    }

    fn tell_ui(&self, what: &str, address: SocketAddr) {
        let note = format!("{what} is at http://{address} as long as the run goes on");
        self.events.send(Event::Note(note));
    }

    /// The image that the scenario names, or else one that is made of the binary; and its version, if that is known.
    async fn image(
        &self,
        container: &ContainerOf,
        name: Name,
        binary: Option<Found>,
    ) -> Result<(String, Option<Version>), CommandError> {
        if let Some(image) = &container.image {
            return Ok((image.clone(), Version::find(image)));
        }
        let binary = binary.ok_or_else(nothing_found)?;
        let version = binary.version;
        let ((docker, _), directory) = (self.containers()?, self.directory.path().to_owned());
        let made = blocking(move || {
            let image = ProgramImage::of(&binary, name.binary()).map_err(no_image(name))?;
            image.ensure(&docker, &directory).map_err(no_image(name))?;
            Ok::<_, CommandError>(image.name)
        });
        Ok((made.await??, Some(version)))
    }

    fn containers(&self) -> Result<(Docker, Owner), CommandError> {
        let containers = self.containers.clone();
        containers.ok_or_else(|| CommandError::bug("a container is to be started without Docker"))
    }

    /// Where the files of the run are, from wherever one looks.
    fn files(&self) -> Result<PathBuf, CommandError> {
        let no_directory =
            |error: io::Error| CommandError::environment("the run has no directory").because(error);
        std::path::absolute(self.directory.file(FILES)).map_err(no_directory)
    }
}

// === impl Backends ===

impl Backends {
    /// Ends all of them.
    pub(super) async fn stop(self) {
        if let Some(prometheus) = self.prometheus {
            prometheus.stop().await;
        }
        if let Some(jaeger) = self.jaeger {
            jaeger.stop().await;
        }
    }
}

/// The Docker engine of this machine.
fn docker() -> Result<Docker, CommandError> {
    let path = std::env::var_os("PATH");
    Docker::find(path.as_deref()).map_err(|error| {
        CommandError::environment("the containers of the scenario need Docker, and there is none to use")
            .because(error)
    })
}

/// Removes the containers of ours whose makers are gone, and gives their names. Blocks.
pub(crate) fn prune(docker: &Docker) -> Result<Vec<String>, CommandError> {
    let all = Leftover::list(docker).map_err(not_had)?;
    let mut removed = Vec::new();
    for left in all.into_iter().filter(Leftover::is_abandoned) {
        left.remove(docker).map_err(not_had)?;
        removed.push(left.name);
    }
    Ok(removed)
}

/// The names of the containers of ours of which nobody here can tell whether their makers are gone. Blocks.
pub(crate) fn elsewhere(docker: &Docker) -> Result<Vec<String>, CommandError> {
    let all = Leftover::list(docker).map_err(not_had)?;
    Ok(all.into_iter().filter(Leftover::is_elsewhere).map(|left| left.name).collect())
}

fn not_had(error: DockerError) -> CommandError {
    CommandError::environment("the containers in Docker cannot be had").because(error)
}

fn no_image<E: Into<Box<dyn std::error::Error + Send + Sync>>>(name: Name) -> impl Fn(E) -> CommandError {
    move |error| CommandError::environment(format!("{name} does not become an image")).because(error)
}

fn not_started(what: &str) -> impl Fn(spangate_cluster::StartError) -> CommandError {
    move |error| CommandError::environment(format!("{what} does not start")).because(error)
}

fn nothing_found() -> CommandError {
    CommandError::bug("a program of the scenario was not looked for")
}
