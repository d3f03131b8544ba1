//! A configuration and its files, with nothing that runs: where verbs are tried.

use std::{fs, time::Duration};

use pvegate::{
    account::{
        Authenticator, Ceremony, Credential, CredentialKind, Factor, FactorId, InvitationPurpose, Method,
        Scope, Session, SessionId, TimeStep, UserId,
    },
    secret::MasterKey,
    store::{EnrolledBy, Enrolment, NewInvitation, Spent, SqliteStore, Store as _},
    time::{Clock as _, SystemClock, Timestamp},
};
use serde_json::Value;

use super::{Ended, Scratch, pvegate};

/// A pin that no certificate has.
pub const NO_PIN: &str =
    "5B:1C:0E:93:44:A7:D2:68:F0:3B:8E:51:C6:7F:29:DA:14:E8:60:B5:9C:02:73:AD:4F:86:1B:D9:E2:35:70:9E";

/// A directory with a configuration, and nothing that runs.
pub struct Place {
    pub scratch: Scratch,
}

impl Place {
    pub fn new(listen: &str, upstream: &str, pin: &str) -> Self {
        let scratch = Scratch::new();
        let dir = scratch.path().display();
        let port = listen.rsplit(':').next().unwrap();
        let text = format!(
            "[server]
listen = [\"{listen}\"]
public_url = \"https://gate.test:{port}\"
[upstream]
url = \"https://{upstream}\"
fingerprint = \"{pin}\"
[storage]
path = \"{dir}/state/pvegate.db\"
master_key_file = \"{dir}/state/master.key\"
[audit]
file = \"{dir}/state/audit.jsonl\"
"
        );
        fs::write(scratch.path().join("pvegate.toml"), text).unwrap();
        Self { scratch }
    }

    /// Nothing of it is reached.
    pub fn quiet() -> Self {
        Self::new("127.0.0.1:443", "127.0.0.1:1", NO_PIN)
    }

    pub fn config(&self) -> String {
        self.scratch.path().join("pvegate.toml").display().to_string()
    }

    pub async fn run(&self, args: &[&str]) -> Ended {
        pvegate(&[&["--config", &self.config()], args].concat()).await
    }

    pub fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.scratch.path().join("state/pvegate.db")).unwrap()
    }

    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.scratch.path().join("state/audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What a gate makes at its first start.
    pub fn make_master_key(&self) {
        fs::create_dir_all(self.scratch.path().join("state")).unwrap();
        MasterKey::read_or_create(&self.scratch.path().join("state/master.key")).unwrap();
    }

    /// How many people there are.
    pub fn store_users(&self) -> usize {
        self.store().users().unwrap().len()
    }

    pub fn id_of(&self, name: &str) -> UserId {
        self.store().user_by_name(&name.parse().unwrap()).unwrap().unwrap().id
    }

    /// Signs somebody in without a gate, by an authenticator app; the session's identifier begins with
    /// this byte.
    pub fn sign_in(&self, name: &str, first: u8) {
        let app = Authenticator {
            id: FactorId::of([first; 16]),
            user: self.id_of(name),
            name: "Phone".to_owned(),
            sealed_secret: vec![0; 60],
            last_step: TimeStep(1),
            created_at: two_hours_ago(),
            last_used_at: Some(two_hours_ago()),
        };
        self.enrol(name, first, Factor::Authenticator(app));
    }

    /// The same, by a passkey.
    pub fn sign_in_by_passkey(&self, name: &str, first: u8) {
        self.sign_in_by_credential(name, first, CredentialKind::Passkey);
    }

    pub fn sign_in_by_credential(&self, name: &str, first: u8, kind: CredentialKind) {
        let key = Credential {
            id: FactorId::of([first; 16]),
            user: self.id_of(name),
            kind,
            name: "Key".to_owned(),
            relying_party: "gate.test".to_owned(),
            credential_id: vec![first; 32],
            record: "{}".to_owned(),
            counter: 0,
            synced: false,
            aaguid: [0; 16],
            transports: Vec::new(),
            created_at: two_hours_ago(),
            last_used_at: Some(two_hours_ago()),
            last_used_from: None,
        };
        let ceremony = Ceremony { hash: [first; 32], expires_at: SystemClock.now() };
        self.enrol(name, first, Factor::Credential(Box::new(key), ceremony));
    }

    fn enrol(&self, name: &str, first: u8, factor: Factor) {
        let mut store = self.store();
        let (user, now) = (self.id_of(name), SystemClock.now());
        let mut id = [0xab; 32];
        id[0] = first;
        let session = Session {
            id: SessionId(id),
            user,
            method: Method::Totp,
            password: false,
            device_bound: false,
            scope: Scope::Full,
            created_at: two_hours_ago(),
            expires_at: now.plus(Duration::from_secs(3600)),
            last_active_at: now.minus(Duration::from_secs(120)),
            client: "192.0.2.7".parse().unwrap(),
            user_agent: "Mozilla/5.0".to_owned(),
            ended: None,
        };
        let invitation = NewInvitation {
            token_hash: [first; 32],
            user,
            purpose: InvitationPurpose::Enrol,
            created_at: session.created_at,
            expires_at: now,
        };
        store.invite(&invitation).unwrap();
        let enrolment = Enrolment {
            by: EnrolledBy::Invitation([first; 32]),
            factors: vec![factor],
            recovery_codes: None,
            password: None,
            session,
        };
        assert_eq!(store.enrol(&enrolment).unwrap(), Spent::First);
    }
}

fn two_hours_ago() -> Timestamp {
    SystemClock.now().minus(Duration::from_secs(7200))
}
