//! `pvegate access explain`: which rule decides about an address, a person or a token, and a call.
//!
//! Every question is put to the function that the running gate puts it to; here only the facts are made
//! up, and the answers told. What policies demand of a user is in `policies`.

mod policies;

use std::{net::IpAddr, path::Path, sync::Arc};

use clap::Subcommand;
use http::{Method, Request, Uri, header};
use ipnet::IpNet;
use serde_json::json;

use super::{Desk, Failure, api::parse_token, output::Output};
use crate::{
    account::{EndReason, Role, User, UserName},
    admission::{Admission, SourcePrefix, SourceRefusal},
    audit::Reason,
    gate::{
        api_token::{self, Call, TokenId},
        cookie::CookieError,
        lockout,
        policy::{self, Facts, SessionFact, Verdict},
        pve_call,
        target::Target,
    },
    store::{Attempt, Store as _},
    time::{SystemClock, Timestamp},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say what becomes of a request, which rule decides, and why.
    ///
    /// By the configuration file and the store as they are now: the address, then
    /// the sign-in of a user or the rules of an API token, then the call. A user is
    /// taken to have signed in by the best of their methods, and is judged by the
    /// policies that apply there; a token's secret is taken to be right. Limits on how
    /// often are not asked. Exit code 0 whichever the answer.
    #[command(verbatim_doc_comment)]
    Explain(Box<Question>),
}

#[derive(Debug, clap::Args)]
pub(super) struct Question {
    /// From where, e.g. 192.168.1.7
    address: IpAddr,
    /// As whom.
    #[arg(long, value_name = "NAME", conflicts_with = "token")]
    user: Option<UserName>,
    /// With which API token, e.g. automation@pve!backup
    #[arg(long, value_name = "TOKEN", value_parser = parse_token)]
    token: Option<TokenId>,
    /// With which method.
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// For which path.
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = parse_path)]
    path: Uri,
    /// As a WebSocket, as consoles and migrations ask.
    #[arg(long)]
    websocket: bool,
}

/// One question, and its answer.
struct Step {
    /// What was asked.
    asked: &'static str,
    /// What decided: a key of the configuration or a rule of the program.
    by: String,
    outcome: Outcome,
    why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// On to the next question.
    Passes,
    /// It reaches Proxmox VE.
    Forwarded,
    /// The gate answers it itself, with a page of its own.
    Answered,
    /// A sign-in comes first.
    SignIn,
    /// It goes no further.
    Refused,
    /// Not about this request, but worth knowing.
    Note,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::Forwarded => "forwarded",
            Self::Answered => "answered",
            Self::SignIn => "sign-in",
            Self::Refused => "refused",
            Self::Note => "note",
        }
    }

    /// Whether it is the end of the matter.
    const fn decides(self) -> bool {
        match self {
            Self::Passes | Self::Note => false,
            Self::Forwarded | Self::Answered | Self::SignIn | Self::Refused => true,
        }
    }
}

pub(super) fn run(verb: &Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    let Verb::Explain(question) = verb;
    let mut desk = Desk::open(config, output)?;
    let ip = question.address.to_canonical();
    let mut steps = vec![source(&mut desk, ip)?];
    let mut demands = serde_json::Value::Null;
    if !steps.iter().any(|step| step.outcome.decides()) {
        match &question.token {
            Some(token) => steps.push(by_token(&desk, ip, token, question)),
            None => {
                let (more, object) = by_session(&mut desk, ip, question)?;
                steps.extend(more);
                demands = object;
            }
        }
    }
    tell(question, &steps, &demands, output);
    Ok(())
}

fn tell(question: &Question, steps: &[Step], demands: &serde_json::Value, output: &Output) {
    let decided = steps.iter().find(|step| step.outcome.decides());
    let verdict = decided.map_or("refused", |step| step.outcome.word());
    let object = |step: &Step| json!({ "asked": step.asked, "by": step.by, "outcome": step.outcome.word(), "why": step.why });
    let whole = json!({
        "address": question.address.to_string(),
        "user": question.user.as_ref().map(UserName::as_str),
        "token": question.token.as_ref().map(TokenId::as_str),
        "method": question.method.as_str(),
        "path": question.path.path(),
        "verdict": verdict,
        "decided_by": decided.map(|step| step.by.as_str()),
        "why": decided.map(|step| step.why.as_str()),
        "demands": demands,
        "steps": steps.iter().map(object).collect::<Vec<_>>(),
    });
    output.data(&whole, || {
        let line = |step: &Step| {
            format!("{:<9}  {:<8}  {}\n{:23}{}", step.outcome.word(), step.asked, step.by, "", step.why)
        };
        let steps: Vec<_> = steps.iter().map(line).collect();
        format!("{}\n=> {verdict}", steps.join("\n"))
    });
}

/// May this source talk to us?
fn source(desk: &mut Desk, ip: IpAddr) -> Result<Step, Failure> {
    let bans = desk.store.bans(desk.now)?;
    let lists = &desk.config.admission;
    let entry = |key: &str, networks: &[IpNet]| {
        let found = networks.iter().enumerate().find(|(_, network)| network.contains(&ip));
        found.map(|(number, network)| format!("{key}[{number}] = {network}"))
    };
    let asked = "address";
    let allowed = entry("access.allow", &lists.allow);
    let admission = Admission::new(lists.clone(), Arc::new(SystemClock));
    for ban in &bans {
        admission.set_ban(ban.network, Some(ban.expires_at.unwrap_or(Timestamp::MAX)));
    }
    let banned = bans.iter().find(|ban| ban.network.contains(&ip));
    let by_ban = banned.map(|ban| format!("ban of {}", ban.network));
    Ok(match admission.conveyed(ip) {
        Ok(()) => Step {
            asked,
            by: allowed.unwrap_or_else(|| "access.allow".to_owned()),
            outcome: Outcome::Passes,
            why: "address in an allowed network".to_owned(),
        },
        Err(refusal) => Step {
            asked,
            by: match refusal {
                SourceRefusal::Denied => entry("access.deny", &lists.deny),
                SourceRefusal::NotAllowed => None,
                SourceRefusal::Banned => by_ban,
            }
            .unwrap_or_else(|| "access.allow".to_owned()),
            outcome: Outcome::Refused,
            why: format!("{refusal}: closed before TLS, without an answer"),
        },
    })
}

/// The lane of API tokens.
fn by_token(desk: &Desk, client: IpAddr, token: &TokenId, question: &Question) -> Step {
    let rules = &desk.config.gate.api_rules;
    let call = Call {
        client,
        method: &question.method,
        path: question.path.path(),
        tunnel: question.websocket,
        now: desk.now,
    };
    let asked = "token";
    // What a request proves by its secret is taken for granted here.
    match api_token::judge(rules, |rule| rule.token == *token, &call) {
        Ok(number) => Step {
            asked,
            by: format!("api.rule[{number}]"),
            outcome: Outcome::Forwarded,
            why: format!("the rule permits it, with the secret of {token}"),
        },
        Err(refusal) => {
            let own = rules.iter().enumerate().filter(|(_, rule)| rule.token == *token);
            let numbers: Vec<_> = own.map(|(number, _)| format!("api.rule[{number}]")).collect();
            Step {
                asked,
                by: if numbers.is_empty() { "api.rule".to_owned() } else { numbers.join(", ") },
                outcome: Outcome::Refused,
                why: format!("{} ({})", refusal, Reason::from(refusal).word),
            }
        }
    }
}

/// The way of sessions.
fn by_session(
    desk: &mut Desk,
    ip: IpAddr,
    question: &Question,
) -> Result<(Vec<Step>, serde_json::Value), Failure> {
    let mut steps = Vec::new();
    let mut demands = serde_json::Value::Null;
    let (session, role) = match &question.user {
        None => (SessionFact::None(CookieError::Absent), Role::User),
        Some(name) => {
            let user = desk.user(name)?;
            let (mut fact, step) = account(&user);
            steps.push(step);
            steps.extend(codes(desk, ip, name)?);
            if fact == SessionFact::Alive
                && let Some(person) = desk.store.person(user.id)?
            {
                let demanded = policies::demanded(desk, ip, &person);
                steps.push(demanded.step);
                demands = demanded.object;
                fact = demanded.session;
            }
            (fact, user.role)
        }
    };
    if !steps.iter().any(|step| step.outcome.decides()) {
        steps.push(call(desk, question, session, role));
    }
    Ok((steps, demands))
}

fn account(user: &User) -> (SessionFact, Step) {
    let (fact, outcome, why) = match user.disabled_at {
        None => (SessionFact::Alive, Outcome::Passes, "taken to have signed in".to_owned()),
        Some(at) => (
            SessionFact::Over(EndReason::Disabled),
            Outcome::Note,
            format!("disabled since {at}: has no session"),
        ),
    };
    (fact, Step { asked: "user", by: format!("user {}", user.name), outcome, why })
}

/// Whether the user could sign in with a code from there, on a device that never did.
fn codes(desk: &mut Desk, ip: IpAddr, name: &UserName) -> Result<Option<Step>, Failure> {
    let attempt = Attempt {
        name: Some(name.clone()),
        device: None,
        source: SourcePrefix::of(ip).to_string(),
        at: desk.now,
    };
    // Charged to nobody, as every attempt is that is not let through: nothing is counted.
    let tried = desk.store.try_code(&attempt, &|_| None)?;
    let secrets = u32::try_from(tried.authenticators.len()).unwrap_or(u32::MAX);
    Ok(match lockout::judge(&tried.guesses, secrets, desk.now) {
        lockout::Verdict::Evaluate(_) => None,
        lockout::Verdict::Refuse(refusal) => Some(Step {
            asked: "codes",
            by: "lockout".to_owned(),
            outcome: Outcome::Note,
            why: format!("{refusal}; `pvegate user unlock {name}` lifts it"),
        }),
    })
}

/// What policy says of the call, as if a page of ours had made it.
fn call(desk: &Desk, question: &Question, session: SessionFact, role: Role) -> Step {
    let origin = desk.config.gate.public_url.origin();
    let mut request = Request::builder().method(question.method.clone()).uri(question.path.clone());
    request = request.header(header::ORIGIN, &origin).header("sec-fetch-site", "same-origin");
    if question.websocket {
        request = request.header(header::UPGRADE, "websocket");
    }
    let asked = "call";
    let Ok(request) = request.body(()) else {
        let why = "no such request can be made".to_owned();
        return Step { asked, by: "the program".to_owned(), outcome: Outcome::Refused, why };
    };
    let (head, ()) = request.into_parts();
    let read = pve_call::Call::of_head(&head);
    let facts = Facts::of(&head, &read, &origin, session).by(role);
    let (outcome, why) = match policy::decide(&facts) {
        Verdict::Forward => (
            Outcome::Forwarded,
            format!(
                "a living session; a call of class {}, and Proxmox VE decides which object",
                read.class.as_str()
            ),
        ),
        Verdict::Portal(route) => (Outcome::Answered, format!("a page of the gate ({route:?})")),
        Verdict::SignInFirst | Verdict::Challenge => {
            (Outcome::SignIn, "only a session gets there: 401, or the sign-in page for people".to_owned())
        }
        Verdict::EnrolFirst => (Outcome::SignIn, "the session may only enrol".to_owned()),
        Verdict::Refuse(refusal) => {
            (Outcome::Refused, format!("{} ({})", refusal, Reason::from(refusal).word))
        }
    };
    let by = match facts.target {
        Target::Portal(_) | Target::WrongMethod { .. } | Target::Nothing => "the gate's own pages",
        Target::Lookalike => "paths of the gate's own",
        Target::Upstream => "sessions",
    };
    Step { asked, by: by.to_owned(), outcome, why }
}

fn parse_path(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| "not a path such as /api2/json/version".to_owned())?;
    if text.starts_with('/') && uri.authority().is_none() {
        Ok(uri)
    } else {
        Err("a path begins with `/`".to_owned())
    }
}
