//! The run on a terminal: what is being done, bars for load and for waiting, then the verdicts. Without a
//! terminal the same as plain lines; quiet, nothing but the result.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use spangate_load::RequestRecord;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::live::Live;
use crate::event::{Event, Events, Reporter, Step};

/// Time between two plain lines of progress.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// Time between two drawings of the load: percentiles of every request would cost more than sending it.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// How long the view may go on after an interrupt.
const LINGER: Duration = Duration::from_millis(500);

/// Shows a run while it goes on.
struct Terminal {
    form: Form,
    /// The load that is being sent, and when it started.
    load: Option<(Live, Instant)>,
    /// When its line was last drawn.
    drawn: Instant,
    spans: u64,
}

enum Form {
    Live(ProgressBar),
    Plain { last: Instant },
    Quiet,
}

/// A stream whose events are shown on standard error until its last sender is gone; the task ends then.
pub(super) fn show(quiet: bool) -> (Events, JoinHandle<()>) {
    let (events, mut stream) = Events::channel();
    let mut terminal = Terminal::new(quiet);
    let shown = tokio::spawn(async move {
        while let Some(event) = stream.recv().await {
            terminal.event(&event);
        }
    });
    (events, shown)
}

/// Waits until all events are shown. After an interrupt not for long: what is built in a thread of its own goes on telling
/// until the process ends.
pub(super) async fn until_shown(shown: JoinHandle<()>, cancel: &CancellationToken) {
    let lingering = async {
        cancel.cancelled().await;
        sleep(LINGER).await;
    };
    tokio::select! {
        _ = shown => {}
        () = lingering => {}
    }
}

// === impl Terminal ===

impl Terminal {
    /// A view that suits standard error: live on a terminal, plain otherwise and in CI.
    fn new(quiet: bool) -> Self {
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        let form = if quiet {
            Form::Quiet
        } else if io::stderr().is_terminal() && !ci {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            bar.enable_steady_tick(Duration::from_millis(100));
            Form::Live(bar)
        } else {
            Form::Plain { last: Instant::now() }
        };
        Self { form, load: None, drawn: Instant::now(), spans: 0 }
    }

    fn step(&mut self, step: Step) {
        if step != Step::Load {
            self.load = None;
        }
        match &mut self.form {
            Form::Live(bar) => {
                bar.set_style(spinner());
                bar.set_message(step.label());
            }
            Form::Plain { last } => {
                *last = Instant::now();
                plain(step.label());
            }
            Form::Quiet => {}
        }
    }

    fn note(&self, text: &str) {
        match &self.form {
            Form::Live(bar) => bar.println(format!("  {text}")),
            Form::Plain { .. } => plain(&format!("  {text}")),
            Form::Quiet => {}
        }
    }

    fn progress(&mut self, text: &str, done: Option<(u64, u64)>) {
        match &mut self.form {
            Form::Live(bar) => {
                match done {
                    Some((done, total)) => {
                        bar.set_style(counted());
                        bar.set_length(total);
                        bar.set_position(done);
                    }
                    None => bar.set_style(spinner()),
                }
                bar.set_message(text.to_owned());
            }
            Form::Plain { last } => {
                if last.elapsed() >= PLAIN_EVERY {
                    *last = Instant::now();
                    let done = done.map(|(done, total)| format!(" {done}/{total}")).unwrap_or_default();
                    plain(&format!("  {text}{done}"));
                }
            }
            Form::Quiet => {}
        }
    }

    fn request(&mut self, request: &RequestRecord) {
        let Some((live, start)) = &mut self.load else { return };
        live.request(request, start.elapsed());
        self.draw();
    }

    /// A load is drawn also when no request ends.
    fn under_way(&mut self, in_flight: u64, late: u64) {
        let Some((live, _)) = &mut self.load else { return };
        live.under_way(in_flight, late);
        self.draw();
    }

    /// Draws the load, unless it was drawn just now.
    fn draw(&mut self) {
        let Some((live, start)) = &self.load else { return };
        if self.drawn.elapsed() < DRAW_EVERY {
            return;
        }
        self.drawn = Instant::now();
        let at = start.elapsed();
        let (text, (done, planned)) = (live.line(at, self.spans), live.done());
        self.progress(&text, (planned > 0).then_some((done, planned)));
    }
}

impl Reporter for Terminal {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Step(step) => self.step(*step),
            Event::Progress { what, done } => self.progress(what, *done),
            Event::Note(text) => self.note(text),
            Event::LoadStarted { planned, duration } => {
                self.load = Some((Live::new(*planned, *duration), Instant::now()));
            }
            Event::Request(request) if !request.is_of_watcher() => self.request(request),
            Event::UnderWay { in_flight, late } => self.under_way(*in_flight, *late),
            Event::Spans(stored) => self.spans = *stored,
            Event::Waiting { present, demanded } if *demanded > 0 => {
                self.progress("traces are there", Some((*present, *demanded)));
            }
            Event::Finished(_) => {
                if let Form::Live(bar) = &self.form {
                    bar.finish_and_clear();
                }
            }
            Event::Request(_) | Event::Watched(_) | Event::Injection(_) | Event::Waiting { .. } => {}
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Form::Live(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

fn plain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}").expect("the template is well-formed")
}

fn counted() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} [{bar:30}] {pos}/{len} {wide_msg} {elapsed}")
        .expect("the template is well-formed")
        .progress_chars("=> ")
}
