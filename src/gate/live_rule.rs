//! The rules for API tokens in use: how often each is used, what Proxmox VE says of its token, when what
//! it let through has to end.
//!
//! The judgement is `api_token`'s. A rule's end closes its tunnels and lets transfers finish, as the
//! absolute limit of a session does; a rule that was removed ends with the restart that takes it out.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock as _,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::sync::watch;

use super::{
    Settings,
    affinity::Pin,
    api_token::{self, Call, Claim, Presented, Proof, Refusal, Rule, TokenId},
};
use crate::{
    accept::ClientAddr,
    admission::{
        SourcePrefix,
        rate::{A_MINUTE, SignInRate, Standing, Steady},
    },
    secret::Key,
    time::{Clock, Timestamp},
};

/// The rules, and how they are used.
#[derive(Debug)]
pub(super) struct LiveRules {
    key: Key,
    rules: Vec<Rule>,
    live: Vec<Arc<LiveRule>>,
    /// Refusals by source.
    refused: SignInRate,
}

/// One rule, shared by everything that it let through.
#[derive(Debug)]
pub(super) struct LiveRule {
    rule: Rule,
    requests: Limiter,
    /// How often Proxmox VE refused the token.
    refusals: Limiter,
    /// Until when the token is not shown to Proxmox VE again.
    held_until: AtomicI64,
    /// A tunnel is opened where its ticket was made, perhaps by another rule of the token: they share it.
    pub(super) node: Arc<Pin>,
    over: watch::Sender<bool>,
}

#[derive(Debug)]
struct Limiter {
    time: Steady,
    limiter: RateLimiter<NotKeyed, InMemoryState, Steady, NoOpMiddleware<Duration>>,
}

/// A request that was refused in the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    /// How long to wait, where waiting helps.
    pub(super) retry_after: Option<Duration>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, retry_after: None }
    }
}

impl LiveRules {
    pub(super) fn new(settings: &Settings, key: Key, clock: &Arc<dyn Clock>) -> Self {
        let mut nodes: HashMap<&TokenId, Arc<Pin>> = HashMap::new();
        let live = settings.api_rules.iter().map(|rule| {
            Arc::new(LiveRule {
                rule: rule.clone(),
                requests: Limiter::new(Quota::per_minute(rule.rate), clock),
                refusals: Limiter::new(Quota::per_minute(A_MINUTE), clock),
                held_until: AtomicI64::new(i64::MIN),
                node: nodes.entry(&rule.token).or_default().clone(),
                over: watch::Sender::new(rule.is_over(clock.now())),
            })
        });
        Self {
            key,
            live: live.collect(),
            rules: settings.api_rules.clone(),
            refused: SignInRate::new(settings.sign_ins_a_minute, clock.clone()),
        }
    }

    /// The rule that lets a call through.
    pub(super) fn admit(
        &self,
        client: ClientAddr,
        claim: Claim<'_>,
        call: &Call<'_>,
    ) -> Result<Arc<LiveRule>, Refused> {
        let found = match claim {
            Claim::Broken if self.rules.is_empty() => Err(Refusal::NoRules),
            Claim::Broken => Err(Refusal::Broken),
            Claim::Token(presented) => self.judge(&presented, call),
        };
        let number = match found {
            Ok(number) => number,
            // There is something to guess: a source has so many tries a minute. What is right still passes.
            Err(refusal @ (Refusal::Broken | Refusal::Unknown)) => {
                let attempt = self.refused.attempt(SourcePrefix::of(client.ip()), Standing::Stranger);
                return Err(match attempt {
                    Ok(()) => refusal.into(),
                    Err(many) => Refused { refusal: Refusal::Attempts, retry_after: Some(many.retry_after) },
                });
            }
            Err(refusal) => return Err(refusal.into()),
        };
        // `judge` counts the same rules.
        let rule = self.live.get(number).cloned().ok_or(Refusal::Unknown)?;
        let held = Timestamp::from_millis(rule.held_until.load(Ordering::Relaxed)).since(call.now);
        if !held.is_zero() {
            return Err(Refused { refusal: Refusal::HeldBack, retry_after: Some(held) });
        }
        rule.requests.count().map_err(|wait| Refused { refusal: Refusal::Rate, retry_after: Some(wait) })?;
        Ok(rule)
    }

    fn judge(&self, presented: &Presented<'_>, call: &Call<'_>) -> Result<usize, Refusal> {
        let proof = Proof::of(presented, &self.key);
        api_token::judge(&self.rules, |rule| rule.is_of(&proof), call)
    }

    /// Looks at the clock: closes the tunnels of rules that have ended.
    pub(super) fn sweep(&self, now: Timestamp) {
        for rule in &self.live {
            let is_over = rule.rule.is_over(now);
            rule.over.send_if_modified(|over| std::mem::replace(over, is_over) != is_over);
        }
    }
}

impl LiveRule {
    /// The rule.
    #[must_use]
    pub(super) fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Proxmox VE answered 401. It takes three seconds over each, in which the asker holds a place: when
    /// it has said so often enough, it is not asked for a while.
    pub(super) fn was_refused_upstream(&self, now: Timestamp) {
        if let Err(wait) = self.refusals.count() {
            self.held_until.fetch_max(now.plus(wait).millis(), Ordering::Relaxed);
        }
    }

    /// Returns when the rule has ended.
    pub(super) async fn over(&self) {
        let mut over = self.over.subscribe();
        // The sender lives in the rule, which the caller holds.
        let _ = over.wait_for(|over| *over).await;
    }
}

impl Limiter {
    fn new(quota: Quota, clock: &Arc<dyn Clock>) -> Self {
        let time = Steady::new(clock.clone());
        Self { limiter: RateLimiter::direct_with_clock(quota, time.clone()), time }
    }

    /// Counts one; if there is none left, how long until there is.
    fn count(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|until| until.wait_time_from(self.time.now()))
    }
}
