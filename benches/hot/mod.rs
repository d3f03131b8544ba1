//! The functions that a request, a connection or a sign-in runs through, each on realistic input. `gate_micro`
//! times them, `gate_instr` counts their instructions: same names, same input.

#[allow(dead_code, unreachable_pub, clippy::indexing_slicing, reason = "written for the tests")]
#[path = "../../tests/it/authenticator.rs"]
mod authenticator;

use std::{hint::black_box, net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use authenticator::Authenticator;
use http::{HeaderMap, HeaderName, Method, Request, Response, header, request};
use pvegate::{
    accept::ClientAddr,
    account::{Credential, FactorId, Role, TimeStep, User, UserHandle, UserId},
    admission::{
        Admission, Settings, SourcePrefix, ban,
        rate::{Requests, SignInRate, Standing},
    },
    audit::{Action, Event, Outcome, Reason, chain, record::Record},
    connection::head::{self, Rules},
    gate::{
        PublicUrl,
        ceremony::{
            totp::{self, Secret},
            webauthn::{Asked, RelyingParty},
        },
        cookie::{self, KeyRing, SessionSecret},
        policy::{self, Facts, SessionFact},
        pve_call::Call,
    },
    names,
    secret::Key,
    store::Owned,
    time::{ManualClock, Timestamp},
    upstream::field,
};

const ORIGIN: &str = "https://pve.example.com";
const NOW: Timestamp = Timestamp::from_secs(1_790_000_010);

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// A function with its input.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut()>,
}

fn case<R>(name: &'static str, mut run: impl FnMut() -> R + 'static) -> Case {
    Case {
        name,
        run: Box::new(move || {
            black_box(run());
        }),
    }
}

/// A function whose input is made when it runs first: it is dear, and not of the same cost every time.
fn late<R, F: FnMut() -> R + 'static>(name: &'static str, make: impl FnOnce() -> F + 'static) -> Case {
    let (mut make, mut made) = (Some(make), None);
    case(name, move || made.get_or_insert_with(|| make.take().unwrap()())())
}

/// All of them, in groups whose input is made together.
pub(crate) const GROUPS: [fn() -> Vec<Case>; 3] = [request_cases, connection_cases, sign_in_cases];

/// What every request costs.
fn request_cases() -> Vec<Case> {
    let keys = KeyRing::new(vec![("k1".to_owned(), Key::from_bytes([7; 32]))]);
    let value = keys.sign(&SessionSecret::random()).unwrap();
    let head = poll(&value);
    let fields = head.headers.clone();
    let checked = head.clone();
    let client: IpAddr = "203.0.113.9".parse().unwrap();
    let real_ip = HeaderName::from_static("x-forwarded-for");
    let answer = answer();
    vec![
        case("session cookie found in the Cookie field", {
            let fields = fields.clone();
            move || cookie::session_cookie(&fields).map(str::len)
        }),
        case("session cookie verified", move || {
            keys.verify::<SessionSecret>(&value).map(|secret| secret.id())
        }),
        // The clone is part of the figure: a head is consumed. It has a row of its own.
        case("a head cloned, for comparison", {
            let head = head.clone();
            move || head.clone()
        }),
        case("a head cloned and checked", move || {
            let rules = Rules {
                authority: "pve.example.com",
                host: "pve.example.com",
                server_name: Some("pve.example.com"),
                aliases: &[],
                api_token: false,
            };
            head::check(Request::from_parts(checked.clone(), ()), &rules).is_ok()
        }),
        case("class of call, facts and policy", {
            let head = head.clone();
            move || {
                let call = Call::of_head(&head);
                let facts = Facts::of(&head, &call, ORIGIN, SessionFact::Alive);
                (policy::decide(&facts), policy::is_activity(&facts))
            }
        }),
        case("fields cloned and rewritten toward the upstream", move || {
            let mut fields = fields.clone();
            field::toward_upstream(&mut fields, client, &real_ip, None).unwrap();
            fields
        }),
        case("fields cloned and rewritten toward the client", move || {
            let mut fields = answer.clone();
            field::toward_client(&mut fields);
            fields
        }),
        case("an audit line of a refusal", {
            let event = Event::new(Action::Refuse, Outcome::Failure)
                .from(client)
                .asked(&Method::GET, &"/api2/json/nodes/pve/status?x=1".parse().unwrap())
                .because(Reason::new("cross_site", "a request of another site that would change something"));
            let mut head = chain::Head::NONE;
            move || {
                let (line, next) = chain::link(&Record::of(&event, NOW, None, "pve").value, head, None);
                head = next;
                line
            }
        }),
    ]
}

/// What a connection costs before TLS, with lists of these lengths.
fn connection_cases() -> Vec<Case> {
    let of = |networks: u32| {
        // /24s of 10.0.0.0/8, every other one, and as many /64s.
        let v4 = (0..networks / 2).map(|i| format!("10.{}.{}.0/24", i >> 7 & 0xff, i << 1 & 0xff));
        let v6 = (0..networks / 2).map(|i| format!("2001:db8:{:x}:{:x}::/64", i >> 8, i << 1 & 0xffff));
        let settings = Settings {
            on_deny: pvegate::admission::OnDeny::Drop,
            allow: v4.chain(v6).map(|network| network.parse().unwrap()).collect(),
            deny: vec!["192.0.2.0/24".parse().unwrap()],
            peers: Vec::new(),
            peers_forward: false,
            max_connections: 10_000,
            max_connections_per_source: 256,
            requests: Requests { a_second: count(50), burst: count(400) },
            bans: ban::Rules {
                automatic: true,
                after: 20,
                first: Duration::from_secs(600),
                longest: Duration::from_secs(86_400),
                never: Vec::new(),
            },
        };
        Admission::new(settings, Arc::new(ManualClock::at(NOW)))
    };
    let mut cases = Vec::new();
    let mut lookup = |networks, names: [&'static str; 3]| {
        let admission = Arc::new(of(networks));
        let hit = format!("10.{}.{}.9", (networks / 2 - 1) >> 7 & 0xff, (networks / 2 - 1) << 1 & 0xff);
        for (name, ip) in names.into_iter().zip([hit.as_str(), "198.51.100.1", "2001:db9::1"]) {
            let (admission, ip) = (admission.clone(), ip.parse().unwrap());
            cases.push(case(name, move || admission.allows(black_box(ip))));
        }
    };
    lookup(10, ["allow-list of 10, v4 hit", "allow-list of 10, v4 miss", "allow-list of 10, v6 miss"]);
    lookup(
        1000,
        ["allow-list of 1000, v4 hit", "allow-list of 1000, v4 miss", "allow-list of 1000, v6 miss"],
    );
    lookup(
        10_000,
        ["allow-list of 10000, v4 hit", "allow-list of 10000, v4 miss", "allow-list of 10000, v6 miss"],
    );
    let admission = of(10);
    let client = ClientAddr::new("10.0.0.9:4711".parse().unwrap());
    cases.push(case("a connection admitted and closed", move || admission.admit((), client).is_ok()));
    cases
}

/// What an attempt to sign in costs, apart from the store.
fn sign_in_cases() -> Vec<Case> {
    let limiter = |sources: u32| {
        let limiter = SignInRate::new(count(10_000), Arc::new(ManualClock::at(NOW)));
        for source in 0..sources {
            let _ = limiter.attempt(SourcePrefix::of(IpAddr::V4(source.into())), Standing::Stranger);
        }
        let mut next = 0_u32;
        move || {
            next = next.wrapping_add(7919) % sources;
            limiter.attempt(SourcePrefix::of(IpAddr::V4(next.into())), Standing::Stranger).is_ok()
        }
    };
    let secret = Secret::from_bytes(&[9; 20]).unwrap();
    let code = secret.code(totp::step_at(NOW));
    vec![
        late("sign-in limiter, one source", move || limiter(1)),
        late("sign-in limiter, 60000 sources", move || limiter(60_000)),
        case("code of an authenticator app verified", move || totp::verify(&secret, &code, NOW, TimeStep(0))),
        late("WebAuthn assertion verified (ES256)", || {
            let (relying_party, owned, state, answer) = assertion();
            move || relying_party.finish_authentication(&state, &answer, Some(&owned)).unwrap().counter
        }),
    ]
}

type Assertion = (
    RelyingParty,
    Owned,
    pvegate::gate::ceremony::webauthn::Authentication,
    webauthn_rs_proto::PublicKeyCredential,
);

fn assertion() -> Assertion {
    let relying_party =
        RelyingParty::at(&PublicUrl::parse(ORIGIN).unwrap(), &Key::from_bytes([1; 32])).unwrap();
    let handle = UserHandle([3; 64]);
    let mut authenticator = Authenticator::new();
    let name = "alice".parse().unwrap();
    let kind = pvegate::account::CredentialKind::Passkey;
    let (options, state) = relying_party.start_registration(kind, &name, &handle, &[]).unwrap();
    let made = authenticator.create(&serde_json::to_value(&options).unwrap(), ORIGIN).json(&authenticator);
    let made = relying_party.finish_registration(&state, &serde_json::from_value(made).unwrap()).unwrap();
    let user = User { id: UserId(1), name, role: Role::User, created_at: NOW, disabled_at: None };
    let credential = Credential {
        id: FactorId::of([1; 16]),
        user: user.id,
        kind,
        name: "Key".to_owned(),
        relying_party: "gate.test".to_owned(),
        credential_id: made.credential_id,
        record: made.record,
        counter: made.counter,
        synced: made.synced,
        aaguid: made.aaguid,
        transports: made.transports,
        created_at: NOW,
        last_used_at: None,
        last_used_from: None,
    };
    let (options, state) = relying_party.start_authentication(Asked::Anybody).unwrap();
    let answer = authenticator.get(&serde_json::to_value(&options).unwrap(), ORIGIN).json(&authenticator);
    (relying_party, Owned { credential, user, handle }, state, serde_json::from_value(answer).unwrap())
}

/// What an open tab asks every few seconds, as Chromium sends it.
fn poll(session: &str) -> request::Parts {
    let ticket = "PVE%3Aroot%40pam%3A66F0".to_owned() + &"x".repeat(357);
    let cookie = format!("PVELangCookie=en; PVEAuthCookie={ticket}; {}={session}", names::SESSION_COOKIE);
    let request = Request::get("/api2/json/cluster/resources?_dc=1790000010123")
        .header(header::HOST, "pve.example.com")
        .header("connection", "keep-alive")
        .header("sec-ch-ua-platform", "\"Linux\"")
        .header("x-requested-with", "XMLHttpRequest")
        .header(
            header::USER_AGENT,
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36",
        )
        .header("sec-ch-ua", "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"")
        .header("csrfpreventiontoken", "66F0A1B2:0123456789abcdef0123456789abcdef0123456789a")
        .header("sec-ch-ua-mobile", "?0")
        .header(header::ACCEPT, "*/*")
        .header("sec-fetch-site", "same-origin")
        .header("sec-fetch-mode", "cors")
        .header("sec-fetch-dest", "empty")
        .header(header::REFERER, "https://pve.example.com/")
        .header(header::ACCEPT_ENCODING, "gzip, deflate, br, zstd")
        .header(header::ACCEPT_LANGUAGE, "en-US,en;q=0.9")
        .header(header::COOKIE, cookie);
    request.body(()).unwrap().into_parts().0
}

/// What pveproxy answers.
fn answer() -> HeaderMap {
    let response = Response::builder()
        .header("cache-control", "max-age=0")
        .header("connection", "Keep-Alive")
        .header("date", "Tue, 24 Nov 2026 12:00:00 GMT")
        .header("pragma", "no-cache")
        .header("server", "pve-api-daemon/3.0")
        .header("content-length", "1024")
        .header("content-type", "application/json;charset=UTF-8")
        .header("expires", "Tue, 24 Nov 2026 12:00:00 GMT");
    response.body(()).unwrap().into_parts().0.headers
}
