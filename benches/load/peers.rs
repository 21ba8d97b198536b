//! The other load generators, and how each of them is asked for the same.
//!
//! h2load comes with Debian (`nghttp2-client`). The others are Go programs: what is not in the `PATH` is built once,
//! from the pinned module of a pinned version, into the user's cache directory.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use spangate_benches::command::Failure;

use crate::{
    generator::{CONNECTIONS, HEADERS, Order, PATH, STREAMS, Target},
    measure::{Run, run},
};

/// Another load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    H2load,
    K6,
    Hey,
}

/// A peer that is there.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) peer: Peer,
    path: PathBuf,
    scratch: PathBuf,
}

/// What k6 does: each virtual user has a connection of its own, so there are as many as others have streams.
const SCRIPT: &str = r"
import http from 'k6/http';
export const options = {
  vus: Number(__ENV.VUS), iterations: Number(__ENV.REQUESTS), insecureSkipTLSVerify: true,
  discardResponseBodies: true, summaryTrendStats: ['med', 'p(99)'],
};
const headers = JSON.parse(__ENV.HEADERS);
export default function () { http.get(__ENV.URL, { headers }); }
";

// === impl Peer ===

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::H2load, Self::K6, Self::Hey];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::H2load => "h2load",
            Self::K6 => "k6",
            Self::Hey => "hey",
        }
    }

    /// The Go module with its version.
    const fn module(self) -> Option<&'static str> {
        match self {
            Self::H2load => None,
            Self::K6 => Some("go.k6.io/k6@v1.8.1"),
            Self::Hey => Some("github.com/rakyll/hey@v0.1.5"),
        }
    }

    /// Looks for it, and builds it if that can be done. The error says why it is not there.
    pub(crate) fn find(self, scratch: &Path) -> Result<Tool, Failure> {
        let tool = |path| Tool { peer: self, path, scratch: scratch.to_owned() };
        let paths = env::var_os("PATH").unwrap_or_default();
        if let Some(path) =
            env::split_paths(&paths).map(|dir| dir.join(self.name())).find(|path| path.is_file())
        {
            return Ok(tool(path));
        }
        let module = self.module().ok_or("it is not installed (Debian: nghttp2-client)")?;
        let home = env::var_os("HOME").ok_or("there is no HOME to build it in")?;
        let (_, version) = module.split_once('@').ok_or("a module without a version")?;
        let dir = Path::new(&home).join(".cache/spangate/peers").join(format!("{}-{version}", self.name()));
        let path = dir.join(self.name());
        if !path.is_file() {
            fs::create_dir_all(&dir)?;
            let built = Command::new("go").args(["install", module]).env("GOBIN", &dir).output();
            let built = built.map_err(|error| format!("go cannot be run to build it: {error}"))?;
            if !built.status.success() {
                let text = String::from_utf8_lossy(&built.stderr);
                return Err(format!("go install {module} failed: {}", text.trim()).into());
            }
        }
        Ok(tool(path))
    }
}

// === impl Tool ===

impl Tool {
    /// Sends as many requests as `order` says, as fast as it can.
    pub(crate) fn send(&self, order: &Order) -> Result<Run, Failure> {
        let Order { target, requests, .. } = order;
        let url = format!("https://{}{PATH}", target.addr);
        let streams = u64::from(CONNECTIONS) * u64::from(STREAMS);
        let mut command = Command::new(&self.path);
        match self.peer {
            Peer::H2load => {
                command.args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-m", &STREAMS.to_string()]);
                command.args(["-n", &requests.to_string()]).args(header_args(target));
                let (output, cpu) = run(command.arg(&url))?;
                self.h2load(&output, cpu, order)
            }
            Peer::K6 => {
                let (script, summary) = (self.scratch.join("k6.js"), self.scratch.join("k6.json"));
                fs::write(&script, SCRIPT)?;
                command
                    .args(["run", "--quiet", "--no-usage-report", "--summary-export"])
                    .arg(&summary)
                    .arg(script);
                let headers: Value = headers(target).map(|(name, value)| (name.to_owned(), value)).collect();
                command.env("VUS", streams.to_string()).env("REQUESTS", requests.to_string());
                command.env("URL", url).env("HEADERS", headers.to_string());
                let (_, cpu) = run(&mut command)?;
                k6(&fs::read_to_string(summary)?, cpu)
            }
            Peer::Hey => {
                command.args(["-h2", "-c", &streams.to_string(), "-n", &requests.to_string()]);
                // It puts host and port into TLS' server name, which servers refuse.
                command.args(["-host", "localhost"]);
                command.args(header_args(target));
                let (output, cpu) = run(command.arg(&url))?;
                hey(&output, cpu)
            }
        }
    }

    /// It tells of no percentiles, but writes a log from which they follow: in a run of its own, since it takes
    /// time to write.
    fn h2load(&self, output: &str, cpu: f64, order: &Order) -> Result<Run, Failure> {
        let line = output.lines().find(|line| line.starts_with("requests:")).ok_or("h2load says nothing")?;
        let succeeded = line.split(", ").find_map(|part| part.strip_suffix(" succeeded"));
        let requests: u64 = succeeded.ok_or("h2load does not say what succeeded")?.parse()?;
        if requests != order.requests {
            return Err(format!("h2load failed: {line}").into());
        }
        let rate = between(output, "finished in ", " req/s")?;
        let rate: f64 = rate.rsplit(' ').next().unwrap_or_default().parse()?;
        let log = self.scratch.join("h2load.log");
        let _ = fs::remove_file(&log);
        let mut logged = Command::new(&self.path);
        logged.args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-m", &STREAMS.to_string(), "-n"]);
        logged.arg((order.requests / 5).to_string());
        logged
            .args(header_args(&order.target))
            .arg("--log-file")
            .arg(&log)
            .arg(format!("https://{}{PATH}", order.target.addr));
        run(&mut logged)?;
        let micros = |line: &str| line.split('\t').nth(2).and_then(|micros| micros.parse::<f64>().ok());
        let mut times: Vec<f64> = fs::read_to_string(&log)?.lines().filter_map(micros).collect();
        times.sort_unstable_by(f64::total_cmp);
        let at = |share: usize| times.get(times.len() * share / 100).map_or(f64::NAN, |micros| micros / 1e3);
        Ok(Run { requests, seconds: requests as f64 / rate, cpu, p50: at(50), p99: at(99) })
    }
}

/// The headers of each request.
fn headers(target: &Target) -> impl Iterator<Item = (&'static str, String)> {
    let token = target.token.iter().map(|token| ("authorization", format!("Bearer {token}")));
    HEADERS.into_iter().map(|(name, value)| (name, value.to_owned())).chain(token)
}

/// As options of h2load and hey.
fn header_args(target: &Target) -> impl Iterator<Item = String> {
    headers(target).flat_map(|(name, value)| ["-H".to_owned(), format!("{name}: {value}")])
}

fn k6(summary: &str, cpu: f64) -> Result<Run, Failure> {
    let summary: Value = serde_json::from_str(summary)?;
    let number = |metric: &str, field: &str| {
        summary["metrics"][metric][field].as_f64().ok_or_else(|| format!("k6 does not tell {metric} {field}"))
    };
    let (requests, rate) = (number("http_reqs", "count")?, number("http_reqs", "rate")?);
    if number("http_req_failed", "value")? > 0.0 {
        return Err("requests of k6 failed".into());
    }
    let (p50, p99) = (number("http_req_duration", "med")?, number("http_req_duration", "p(99)")?);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of requests is not negative, and far below 2^64"
    )]
    let count = requests.round() as u64;
    Ok(Run { requests: count, seconds: requests / rate, cpu, p50, p99 })
}

fn hey(output: &str, cpu: f64) -> Result<Run, Failure> {
    let rate: f64 = between(output, "Requests/sec:", "\n")?.trim().parse()?;
    let requests: u64 = between(output, "[200]", " responses")?.trim().parse()?;
    // "50%% in" in some versions, "50% in" in others.
    let output = output.replace("%%", "%");
    let percentile = |share: u32| {
        between(&output, &format!(" {share}% in "), " secs")
            .and_then(|text| Ok(text.trim().parse::<f64>()? * 1e3))
    };
    Ok(Run { requests, seconds: requests as f64 / rate, cpu, p50: percentile(50)?, p99: percentile(99)? })
}

/// What stands between two pieces of a text.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Result<&'t str, Failure> {
    let missing = || io::Error::other(format!("no {before:?} in {text}"));
    let (_, rest) = text.split_once(before).ok_or_else(missing)?;
    let (found, _) = rest.split_once(after).ok_or_else(missing)?;
    Ok(found)
}
