//! Tables of spellings and classes, and the properties that no table can say.

use proptest::{prelude::*, sample::Index};
use regex_automata::{meta::Regex, util::syntax};

use super::*;

fn call<'a>(method: &str, target: &'a str) -> Call<'a> {
    Call::of(&method.parse().unwrap(), target)
}

#[test]
fn every_known_spelling_of_the_login_is_recognised_and_neighbours_are_not() {
    use Class::{Destructive, NotOffered, Nothing, Page, Read, SignIn, Unreadable};
    #[rustfmt::skip]
    let table = [
        ("POST",   "/api2/json/access/ticket",            SignIn),
        ("POST",   "/api2/extjs/access/ticket",           SignIn),
        ("POST",   "/api2/html/access/ticket",            SignIn),
        ("POST",   "/api2/htmljs/access/ticket",          SignIn),
        ("POST",   "/api2/png/access/ticket",             SignIn),
        ("POST",   "/api2/spiceconfig/access/ticket",     SignIn),
        ("POST",   "/api2/another1/access/ticket",        SignIn),
        ("POST",   "/api2///json/access/ticket",          SignIn),
        ("POST",   "/api2/json//access/ticket",           SignIn),
        ("POST",   "/api2/json/access/ticket/",           SignIn),
        ("POST",   "/api2/json/%61ccess/ticket",          SignIn),
        ("POST",   "/api2/json/access%2Fticket",          SignIn),
        ("POST",   "/api2%2fjson%2Faccess%2fticket",      SignIn),
        ("POST",   "/%61pi2/json/access/ticket",          SignIn),
        ("POST",   "/api2/json/access/ticket%0a",         SignIn),
        ("POST",   "//a.b:1/api2/json/access/ticket",     SignIn),
        ("POST",   "///api2/json/access/ticket",          SignIn),
        ("POST",   "/api2/json/access/ticket?a=b",        SignIn),
        ("POST",   "/api2/json/access/ticket#x",          SignIn),
        ("POST",   "/api2/json/access/openid/login",      SignIn),
        ("POST",   "/api2/json/access/openid/auth-url",   SignIn),
        ("GET",    "/api2/json/access/ticket",            Read),
        ("post",   "/api2/json/access/ticket",            NotOffered),
        ("POST",   "/api2/json/access/tickets",           Destructive),
        ("POST",   "/api2/json/access/Ticket",            Destructive),
        ("POST",   "/api2/json/access/%2561",             Destructive),
        ("POST",   "/api2/json/access/ticket%00",         Unreadable),
        ("POST",   "/api2/json/access%0a/ticket",         Unreadable),
        ("POST",   "/api2/json/access/ticket%0a%0a",      Unreadable),
        ("POST",   "/api2/json/access/ticket%ff",         Unreadable),
        ("POST",   "/api2/JSON/access/ticket",            Nothing),
        ("POST",   "/api2/j/access/ticket",               Nothing),
        ("POST",   "/api2json/access/ticket",             Nothing),
        ("POST",   "/api2/",                              Nothing),
        ("POST",   "/API2/json/access/ticket",            Page),
        ("POST",   "/x/../api2/json/access/ticket",       Page),
        ("POST",   "//api2/json/access/ticket",           Page),
        ("POST",   "//api2",                              Page),
        ("POST",   "/%ff",                                Page),
    ];
    for (method, target, class) in table {
        assert_eq!(call(method, target).class, class, "{method} {target}");
    }
}

#[test]
fn a_call_of_each_kind_has_its_class() {
    use Class::{
        Change, Console, Destructive, Download, NotOffered, Nothing, Page, Poll, Reach, Read, Shell, Tunnel,
        Upload,
    };
    #[rustfmt::skip]
    let table = [
        ("GET",    "/",                                                     Page),
        ("GET",    "/?console=kvm&novnc=1&vmid=100",                        Page),
        ("GET",    "/pve2/js/pvemanagerlib.js?ver=9",                       Page),
        ("HEAD",   "/",                                                     NotOffered),
        ("PATCH",  "/api2/json/nodes/n/qemu/100/config",                    NotOffered),
        ("GET",    "/api2",                                                 Nothing),
        ("GET",    "/api2/json",                                            Read),
        ("GET",    "/api2/json/",                                           Read),
        ("GET",    "/api2/json/version",                                    Read),
        ("GET",    "/api2/json/nodes/n/qemu/100/config",                    Read),
        ("GET",    "/api2/json/something/that/comes/later",                 Read),
        ("GET",    "/api2/json/cluster/resources",                          Poll),
        ("GET",    "/api2/extjs/nodes/n/qemu/100/status/current?_dc=1",     Poll),
        ("GET",    "/api2/json/nodes/n/tasks/UPID:n:1:2:3:x::a@b:/log",     Poll),
        ("GET",    "/api2/json/nodes/n/tasks/UPID:n:1/log?download=0",      Poll),
        ("GET",    "/api2/json/nodes/n/tasks/UPID:n:1/log?download=1",      Download),
        ("GET",    "/api2/json/nodes/n/tasks/UPID:n:1/log?%64ownload=1",    Download),
        ("GET",    "/api2/json/nodes/n/tasks/UPID:n:1/log?a;download=yes",  Download),
        ("GET",    "/api2/json/nodes/n/storage/s/file-restore/download?x",  Download),
        ("GET",    "/api2/json/nodes/n/qemu/100/agent/file-read?file=/x",   Reach),
        ("GET",    "/api2/json/nodes/n/scan/nfs?server=10.0.0.1",           Reach),
        ("GET",    "/api2/json/nodes/n/scan",                               Read),
        ("GET",    "/api2/json/nodes/n/qemu/100/vncwebsocket?port=5900",    Tunnel),
        ("GET",    "/api2/json/nodes/n/newwebsocket",                       Tunnel),
        ("POST",   "/api2/json/nodes/n/qemu/100/vncproxy",                  Console),
        ("POST",   "/api2/json/nodes/n/termproxy",                          Shell),
        ("POST",   "/api2/json/nodes/n/qemu/100/agent/exec",                Shell),
        ("POST",   "/api2/json/nodes/n/storage/local/upload",               Upload),
        ("POST",   "/api2/json/nodes/n/qemu/100/status/start",              Change),
        ("POST",   "/api2/json/nodes/n/qemu/100/status/stop",               Destructive),
        ("POST",   "/api2/json/nodes/n/qemu",                               Change),
        ("PUT",    "/api2/json/nodes/n/qemu/100/config",                    Change),
        ("PUT",    "/api2/json/access/acl",                                 Destructive),
        ("POST",   "/api2/json/access/users",                               Destructive),
        ("DELETE", "/api2/json/nodes/n/qemu/100",                           Destructive),
        ("DELETE", "/api2/json/nodes/n/storage/s/content/s:iso/x.iso",      Destructive),
        ("DELETE", "/api2/json/something/that/comes/later",                 Destructive),
        ("DELETE", "/api2/json/nodes/n/tasks/UPID:n:1",                     Change),
    ];
    for (method, target, class) in table {
        assert_eq!(call(method, target).class, class, "{method} {target}");
    }
}

#[test]
fn a_path_has_one_spelling() {
    #[rustfmt::skip]
    let table = [
        ("/api2/json",                      Place::Api(Format::Json),  "/"),
        ("/api2//extjs///",                 Place::Api(Format::Extjs), "/"),
        ("/api2/json/a//b%2f/c/",           Place::Api(Format::Json),  "/a/b/c"),
        ("/api2/json/a%252fb",              Place::Api(Format::Json),  "/a%2fb"),
        ("/api2/json/a/../b/.",             Place::Api(Format::Json),  "/a/../b/."),
        ("/api2/json/%C3%A9",               Place::Api(Format::Json),  "/é"),
        ("/api2/json/a%zz%",                Place::Api(Format::Json),  "/a%zz%"),
        ("/api2/png/v?/x",                  Place::Api(Format::Png),   "/v"),
        ("/pve2//js/x%2ejs",                Place::Page,               "/pve2//js/x.js"),
        ("//h",                             Place::Page,               ""),
    ];
    for (target, place, path) in table {
        let call = call("GET", target);
        assert_eq!((call.place, call.path.as_str()), (place, path), "{target}");
    }
}

#[test]
fn a_renewal_is_told_by_its_form_alone() {
    let signature = "Ab0+/".repeat(68) + "Ab==";
    let ticket = |user: &str| format!("PVE:{user}:6921F000::{signature}");
    let escaped = |text: &str| text.replace(':', "%3A").replace('@', "%40").replace('+', "%2B");
    #[rustfmt::skip]
    let table = [
        ("a ticket",               format!("username=a@pve&password={}", escaped(&ticket("a@pve"))),            Class::Renewal),
        ("realm apart",            format!("username=a&realm=pve&password={}", escaped(&ticket("a@pve"))),      Class::Renewal),
        ("somebody else's",        format!("username=b@pve&password={}", escaped(&ticket("a@pve"))),            Class::SignIn),
        ("begins so only",         "username=a@pve&password=PVE:a@pve:6921F000::hunter2".to_owned(),            Class::SignIn),
        ("a password",             "username=a@pve&password=hunter2".to_owned(),                                Class::SignIn),
        ("beside a challenge",     format!("username=a@pve&tfa-challenge=x&password={}", ticket("a@pve")),      Class::SignIn),
        ("second factor",          "username=a@pve&password=totp:123456&tfa-challenge=PVE:!tfa!x".to_owned(),   Class::SignIn),
        ("no user",                format!("password={}", ticket("a@pve")),                                     Class::SignIn),
        ("nothing",                String::new(),                                                               Class::SignIn),
    ];
    for (case, form, class) in table {
        let parameters = Parameters::of("", BodyKind::Form, form.as_bytes());
        let call = call("POST", "/api2/json/access/ticket").with_parameters(&parameters);
        assert_eq!(call.class, class, "{case}");
    }
    let form = Parameters::of_query(&format!("username=a@pve&password={}", escaped(&ticket("a@pve"))));
    assert_eq!(call("PUT", "/api2/json/access/password").with_parameters(&form).class, Class::Destructive);
}

#[test]
fn parameters_are_those_that_pveproxy_sees() {
    #[rustfmt::skip]
    let table: &[(&str, Option<&str>, &str, &str, Option<&str>)] = &[
        // query               content type                  body                   name   value
        ("",                   None,                         "a=1&b=2",             "b",   Some("2")),
        ("a=query",            None,                         "a=body",              "a",   Some("query")),
        ("",                   None,                         "a=1;b=2",             "b",   Some("2")),
        ("",                   None,                         "a=b=c",               "a",   Some("b")),
        ("",                   None,                         "a=1&a=2",             "a",   Some("1\u{0}2")),
        ("",                   None,                         "%61=x+y%20z",         "a",   Some("x y z")),
        ("",                   None,                         "a",                   "a",   Some("")),
        ("",                   Some("application/json"),     r#"{"a":"x","b":1}"#,  "b",   Some("1")),
        ("a=query",            Some("application/json; x"),  r#"{"a":"x"}"#,        "a",   Some("query")),
        ("",                   Some("application/json"),     r#"{"a":["x"]}"#,      "a",   None),
        ("",                   Some("application/json"),     "a=1",                 "a",   None),
        ("",                   Some("Application/JSON"),     "a=1",                 "a",   Some("1")),
    ];
    for (query, content_type, body, name, value) in table {
        let kind = BodyKind::of(content_type.map(str::as_bytes));
        let parameters = Parameters::of(query, kind, body.as_bytes());
        assert_eq!(parameters.get(name), *value, "{query} {body}");
    }
}

#[test]
fn parameters_do_not_show_their_values() {
    let parameters = Parameters::of_query("password=hunter2");
    assert_eq!(format!("{parameters:?}"), r#"{"password"}"#);
}

/// One spelling of a path among those that pveproxy takes for the same.
fn spelled(path: &str, format: &str, how: &Spelling) -> String {
    let api: String = ["/api2", &"/".repeat(how.slashes[0]), format].concat();
    let below: String = path
        .split('/')
        .skip(1)
        .enumerate()
        .map(|(at, segment)| format!("{}{segment}", "/".repeat(how.slashes[(at + 1) % how.slashes.len()])))
        .collect();
    let tail = ["", "/", "//", "\n", "/\n"][how.tail];
    let escaped: String = format!("{api}{below}{tail}")
        .bytes()
        .enumerate()
        .map(|(at, byte)| match how.escapes[at % how.escapes.len()] {
            // The first slash stands for itself: without it there is no path.
            _ if at == 0 => "/".to_owned(),
            1 => format!("%{byte:02x}"),
            2 => format!("%{byte:02X}"),
            _ if byte == b'\n' => "%0a".to_owned(),
            _ => char::from(byte).to_string(),
        })
        .collect();
    format!("{}{escaped}{}", ["", "//", "//host", "//u@h:8006"][how.authority], ["", "?x=/y"][how.query])
}

#[derive(Debug, Clone)]
struct Spelling {
    slashes: Vec<usize>,
    escapes: Vec<u8>,
    tail: usize,
    authority: usize,
    query: usize,
}

fn spelling() -> impl Strategy<Value = Spelling> {
    let slashes = prop::collection::vec(1_usize..4, 7);
    let escapes = prop::collection::vec(0_u8..6, 40);
    (slashes, escapes, 0_usize..5, 0_usize..4, 0_usize..2).prop_map(
        |(slashes, escapes, tail, authority, query)| Spelling { slashes, escapes, tail, authority, query },
    )
}

fn method(verb: Verb) -> Method {
    match verb {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
        Verb::Put => Method::PUT,
        Verb::Delete => Method::DELETE,
        Verb::Other => Method::HEAD,
    }
}

proptest! {
    #[test]
    fn no_spelling_of_a_call_escapes_its_class(row in any::<Index>(), how in spelling(), format in "(json|extjs|html|htmljs|png|spiceconfig|zz9)") {
        let rows: Vec<_> = catalogue::rows().collect();
        let (verb, pattern, _) = rows[row.index(rows.len())];
        let path = pattern.replace("**", "a/b").replace('*', "pve-1");
        let plain = format!("/api2/json{path}");
        let target = spelled(&path, &format, &how);

        let (plain, found) = (Call::of(&method(verb), &plain), Call::of(&method(verb), &target));

        prop_assert_eq!(found.class, plain.class, "{}", target);
        prop_assert_eq!(found.path, plain.path, "{}", target);
    }

    #[test]
    fn what_pveproxy_takes_for_a_call_is_none_other_here(target in "/(/[a-z:@]{0,3}/|)(api2|%61pi2|%2[fF]api2)?(/|%2f|x|//){0,2}(json|extjs|JSON|j|%6Ason)?(/|%2F|%0a|%00|%ff|[a-c.%]|%2){0,6}") {
        // Perl's, as AnyEvent.pm and its URI module have it, on bytes.
        let perl = |pattern| {
            Regex::builder().syntax(syntax::Config::new().unicode(false).utf8(false)).build(pattern).unwrap()
        };
        let authority = perl(r"^//[^/?#]*");
        let split = perl(r"^/api2/+([a-z][a-z0-9]+)(/[^\n]*)?\n?$");
        let rest = authority.find(&target).map_or(0, |found| found.end());
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(&target[rest..]).collect();
        let format = split.captures_iter(&decoded[..]).next();

        let call = call("POST", &target);

        match (format, call.place) {
            (Some(captures), Place::Api(_)) => {
                let below = captures.get_group(2).map_or(&b""[..], |span| &decoded[span.range()]);
                let segments: Vec<&[u8]> = below.split(|b| *b == b'/').filter(|s| !s.is_empty()).collect();
                prop_assert_eq!(call.path.segments().map(str::as_bytes).collect::<Vec<_>>(), segments);
            }
            (Some(_), place) => prop_assert_eq!(place, Place::Unreadable),
            (None, place) => prop_assert!(!matches!(place, Place::Api(_)), "{}", target),
        }
    }

    #[test]
    fn nothing_that_is_sent_makes_reading_panic(method in "[!-~]{1,8}", target in "/[ -~]{0,60}", body in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(method) = method.parse() {
            let query = Parameters::of(&target, BodyKind::Form, &body);
            let _ = Call::of(&method, &target).with_parameters(&query);
        }
    }
}
