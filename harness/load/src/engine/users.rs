//! The closed loop: users who wait for an answer before they go on.
//!
//! Users are those of goose: it lets them come at the hatch rate, and each runs one transaction, which is the
//! user's whole life. What a user does is ours ([`Script`]), and so are clients, ledger and report. Of goose, these
//! parts are off: its requests, its metrics and reports, its controllers, and its log.
//!
//! Goose sets a handler for Ctrl-C that cannot be turned off. [`keep_ctrl_c`] keeps it from doing so.

mod script;

use std::{sync::Arc, time::Duration};

use goose::{
    GooseAttack, GooseError,
    client::GooseClientBuilder,
    config::GooseConfiguration,
    goose::{GooseUser, Scenario, Transaction, TransactionFunction},
};
pub(super) use script::Script;
use spangate_trace::UnixNanos;
use tokio::time::{Instant, sleep_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Site, worker::Worker};

/// Keeps Ctrl-C for the program that calls this, before anything else in it handles `SIGINT`.
///
/// Goose, which runs the users of a closed loop, takes over `SIGINT` when it starts (`util::setup_ctrlc_handler`),
/// and whatever handled it before never hears of it again. It does so by the crate `ctrlc`, which sets one handler in
/// the life of a process: this one, which does nothing. Handlers that are set later and call the one before them, as
/// tokio's does, work as ever. Without any, Ctrl-C no longer ends the program.
pub fn keep_ctrl_c() {
    // Should there be one already, goose cannot set another either.
    let _ = ctrlc::set_handler(|| {});
}

/// What all users need.
struct Life {
    site: Arc<Site>,
    script: Arc<Script>,
    worker: Worker,
    start: UnixNanos,
    end: UnixNanos,
    cancel: CancellationToken,
    /// Users who are about something.
    busy: TaskTracker,
}

/// Swallows what goose logs: without a logger it would write to standard output.
struct Silence;

impl log::Log for Silence {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        false
    }

    fn log(&self, _: &log::Record<'_>) {}

    fn flush(&self) {}
}

/// Lets users come from `start` on, and returns when the last of them has ended what it was doing when the time
/// was over, or `cancel` was cancelled.
pub(super) async fn run(
    site: Arc<Site>,
    script: Arc<Script>,
    worker: Worker,
    start: UnixNanos,
    cancel: CancellationToken,
) {
    let (count, rate, end) = (script.users(), script.hatch_rate(), start + script.duration());
    let life = Arc::new(Life { site, script, worker, start, end, cancel, busy: TaskTracker::new() });
    // A load that was not validated may have nobody who ever comes; goose would refuse it.
    if !life.wait(start).await || count == 0 || rate <= 0.0 {
        return;
    }
    let attack = attack(&life, count, rate).expect("goose takes a client and a scenario");
    let over = async {
        life.wait(end).await;
        life.busy.close();
        life.busy.wait().await;
    };
    tokio::select! {
        // Goose itself never ends: it would find out only every half second that its users have.
        ended = Box::pin(attack.execute()) => drop(ended.expect("goose takes a host, users and their rate")),
        () = over => {}
    }
}

/// `count` users who come at `rate` a second.
fn attack(life: &Arc<Life>, count: usize, rate: f64) -> Result<GooseAttack, GooseError> {
    // Another logger of the program stays, and hears what goose has to say.
    let _ = log::set_logger(&Silence);
    let mut config = GooseConfiguration::default();
    // Never asked: goose wants one, and builds a client for it.
    config.host = Some("https://localhost".to_owned());
    config.accept_invalid_certs = true;
    config.users = Some(count);
    config.increase_rate = Some(rate.to_string());
    config.no_telnet = true;
    config.no_metrics = true;
    config.no_print_metrics = true;
    config.quiet = 1;
    let life = Arc::clone(life);
    let transaction: TransactionFunction = Arc::new(move |user: &mut GooseUser| {
        let life = Arc::clone(&life);
        Box::pin(async move {
            // Once is enough: this is all that the user does.
            user.config.iterations = Some(1);
            life.live(user.weighted_users_index).await;
            Ok(())
        })
    });
    let scenario = Scenario::new("users").register_transaction(Transaction::new(transaction));
    // One client, as it is never used, in place of one for each user.
    let client = GooseClientBuilder::new().without_cookies();
    let attack = GooseAttack::initialize_with_config(config)?;
    Ok(attack.set_client_builder_without_cookies(client)?.register_scenario(scenario))
}

// === impl Life ===

impl Life {
    /// Does what the `local`th user of this shard does, until the time is over.
    async fn live(&self, local: usize) {
        let _busy = self.busy.token();
        let user = self.script.user(local);
        let mut pause = Duration::ZERO;
        for step in 0.. {
            if !pause.is_zero() && !self.wait(self.site.clock.now() + pause).await {
                return;
            }
            let now = self.site.clock.now();
            if now >= self.end || self.cancel.is_cancelled() {
                return;
            }
            // The user is ready now, and not when the pause was to end: timers are a millisecond coarse.
            let Some(arrival) = self.script.arrival(user, step, now.since(self.start)) else { return };
            self.worker.perform(arrival, now).await;
            pause = self.script.pause(user, step);
        }
    }

    /// Waits until `time`, or until the time is over; false when the run was cancelled before.
    async fn wait(&self, time: UnixNanos) -> bool {
        let instant = Instant::from_std(self.site.clock.instant(time.min(self.end)));
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => false,
            () = sleep_until(instant) => true,
        }
    }
}
