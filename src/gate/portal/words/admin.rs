//! Words of administrators' pages.

use std::time::Duration;

use super::Language;

#[rustfmt::skip]
words! {
    // Overview
    admin => "Administration", "Verwaltung";
    users => "Users", "Benutzer";
    not_enrolled(count: usize) => "{count} not enrolled", "{count} noch ohne Anmeldung";
    live_sessions => "Live sessions", "Laufende Sitzungen";
    with_consoles(count: usize) => "open consoles: {count}", "offene Konsolen: {count}";
    refused_in_a_day => "Refused in 24 h", "Abgelehnt in 24 h";
    node_up => "OK", "Gut";
    node_down => "Down", "Ausgefallen";
    node_pinned => "certificate pinned", "Zertifikat fest hinterlegt";
    node_by_authority => "certificate by an authority", "Zertifikat einer Zertifizierungsstelle";
    connects_in(took: &str) => "connects in {took}", "verbindet in {took}";
    own_certificate => "The gate’s certificate", "Zertifikat des Gates";
    days_left(days: u64) => "{days} days left", "noch {days} Tage";
    not_known => "not known", "nicht bekannt";
    people => "Users and sign-in methods", "Benutzer und Anmeldemethoden";
    state => "State", "Zustand";
    state_active => "active", "aktiv";
    state_invited(left: &str) => "invited, {left} left", "eingeladen, noch {left}";
    state_expired => "invitation expired", "Einladung abgelaufen";
    state_not_invited => "not invited", "nicht eingeladen";
    state_disabled => "disabled", "gesperrt";
    locked_somewhere => "codes locked for some addresses", "Codes für manche Adressen gesperrt";
    locked_everywhere => "codes locked on new devices", "Codes auf neuen Geräten gesperrt";
    one_key => "One key only: ask them to add one", "Nur ein Schlüssel: bitten Sie um einen zweiten";
    one_way_in => "One way in only: ask them to add one", "Nur ein Zugang: bitten Sie um einen zweiten";
    passkeys => "Passkeys", "Passkeys";
    security_keys => "Security keys", "Sicherheits\u{ad}schlüssel";
    apps => "Apps", "Apps";
    codes_left => "Codes left", "Codes übrig";
    last_sign_in => "Last sign-in", "Letzte Anmeldung";
    role => "Role", "Rolle";
    role_user => "user", "Benutzer";
    role_admin => "administrator", "Adminrechte";
    export_csv => "Export as CSV", "Als CSV exportieren";
    export_json => "Export as JSON", "Als JSON exportieren";
    since => "since", "seit";
    guest_on(vmid: u32, node: &str) => "guest {vmid} on {node}", "Gast {vmid} auf {node}";
    shell_of(node: &str) => "shell of {node}", "Shell von {node}";
    unknown_console => "a console", "eine Konsole";
    bans => "Blocked networks", "Gesperrte Netze";
    no_bans => "None.", "Keine.";
    network => "Network", "Netz";
    reason => "Reason", "Grund";
    until => "Until", "Bis";
    what_to_do => "Action", "Aktion";
    by_itself => "by itself", "von selbst";
    last_day => "The last 24 hours", "Die letzten 24 Stunden";
    last_day_hint => "As this gate has counted since it was started. The audit log has every event.",
        "So, wie dieses Gate seit seinem Start gezählt hat. Das Audit-Log hat jedes Ereignis.";
    numbers => "Numbers", "Zahlen";
    back_to_admin => "Back to the administration", "Zurück zur Verwaltung";

    // Charts
    chart_sign_ins => "Sign-ins by method", "Anmeldungen nach Methode";
    chart_sign_ins_told(succeeded: u64, failed: u64) => "{succeeded} sign-ins succeeded, {failed} failed.",
        "{succeeded} Anmeldungen gelangen, {failed} scheiterten.";
    chart_refusals => "Refusals by reason", "Ablehnungen nach Grund";
    chart_refusals_told(count: u64) => "{count} refusals.", "{count} Ablehnungen.";
    chart_latency => "Time that requests spend in the gate", "Zeit der Anfragen im Gate";
    chart_latency_told(p50: &str, p99: &str) => "Half of the requests stay for {p50} at most, 99 of 100 for {p99} at most.",
        "Die Hälfte der Anfragen bleibt höchstens {p50}, 99 von 100 höchstens {p99}.";
    chart_consoles => "Open consoles, most at once", "Offene Konsolen, höchstens zugleich";
    chart_consoles_told(most: u32) => "At most {most} at once.", "Höchstens {most} zugleich.";
    method => "Method", "Methode";
    succeeded => "Succeeded", "Gelungen";
    failed => "Failed", "Gescheitert";
    count => "Count", "Anzahl";
    hour => "Hour", "Stunde";
    requests => "Requests", "Anfragen";
    half => "Half within", "Hälfte in";
    most_of_them => "99 % within", "99 % in";
    now => "now", "jetzt";
    other_method => "other", "andere";

    // One person
    wrong_codes => "Wrong codes since the last success", "Falsche Codes seit dem letzten Erfolg";
    only_the_owner => "Only their owner can add, rename or replace them. Nobody can read a secret.",
        "Nur wem sie gehören, kann sie hinzufügen, umbenennen oder ersetzen. Ein Geheimnis lesen kann niemand.";
    no_methods => "None yet.", "Noch keine.";
    no_sessions => "Not signed in.", "Nicht angemeldet.";
    last_admin => "The only administrator who can sign in: cannot be disabled, deleted or made a user. Make somebody else an administrator first.",
        "Das einzige Konto mit Adminrechten, das sich anmelden kann: Es lässt sich weder sperren noch löschen, und seine Adminrechte bleiben. Geben Sie zuerst jemand anderem welche.";

    // Changes
    add_user => "Add a user", "Benutzer hinzufügen";
    add_user_lead => "They get a link that works once, for 15 minutes, with which they set up their sign-in.",
        "Es entsteht ein Link, der einmal und 15 Minuten lang gilt; damit wird die Anmeldung eingerichtet.";
    user_name_hint => "1 to 32 of a–z, 0–9, dot, underscore and hyphen.", "1 bis 32 Zeichen aus a–z, 0–9, Punkt, Unterstrich und Bindestrich.";
    new_link => "New link", "Neuer Link";
    new_link_lead => "Makes a link that works once, for 15 minutes. Earlier links become void.",
        "Erstellt einen Link, der einmal und 15 Minuten lang gilt. Frühere Links werden ungültig.";
    recovery_link => "Link to recover", "Link zur Wiederherstellung";
    recovery_link_lead => "For somebody who lost their phone or key. The link works once, for 15 minutes; using it makes new recovery codes and ends their other sessions. Be sure who is asking.",
        "Für jemanden, dessen Telefon oder Schlüssel verloren ist. Der Link gilt einmal und 15 Minuten lang; wer ihn nutzt, bekommt neue Wiederherstellungscodes, und die anderen Sitzungen enden. Vergewissern Sie sich, wer da fragt.";
    revoke_links => "Revoke open links", "Offene Links widerrufen";
    revoke_links_lead => "Links for this account that nobody has used yet become void.",
        "Noch nicht verwendete Links für dieses Konto werden ungültig.";
    disable => "Disable", "Sperren";
    disable_lead => "Nobody signs in with this account. Its sessions end and its consoles close within a second; its devices are forgotten.",
        "Mit diesem Konto meldet sich niemand mehr an. Seine Sitzungen enden und seine Konsolen schließen innerhalb einer Sekunde; seine Geräte werden vergessen.";
    enable => "Enable", "Freigeben";
    enable_lead => "They sign in again with the methods that they had.", "Die Anmeldung geht wieder, mit den Methoden von vorher.";
    unlock => "Unlock codes", "Codes freigeben";
    unlock_lead => "Forgets the wrong codes of this account, so that codes work on new devices again. Was it the owner who asked?",
        "Vergisst die falschen Codes dieses Kontos, sodass Codes auf neuen Geräten wieder gelten. Hat wirklich die Person gefragt, der es gehört?";
    panic_other => "Panic: lock at once", "Notfall: sofort sperren";
    panic_other_lead => "Everything ends at once: sessions, consoles, transfers, known devices, open links. Nobody signs in with this account until it is enabled.",
        "Alles endet sofort: Sitzungen, Konsolen, Übertragungen, bekannte Geräte, offene Links. Mit diesem Konto meldet sich niemand an, bis es freigegeben wird.";
    make_admin => "Make administrator", "Adminrechte geben";
    make_admin_lead => "They may do everything that you may do here.", "Darf dann hier alles, was Sie dürfen.";
    make_user => "Make user", "Adminrechte nehmen";
    make_user_lead => "They keep their sessions and lose this page.", "Die Sitzungen bleiben, diese Seite nicht.";
    delete => "Delete", "Löschen";
    delete_lead => "Account, sign-in methods, sessions and history are gone. This cannot be undone. The audit log keeps its lines.",
        "Konto, Anmeldemethoden, Sitzungen und Verlauf sind dann weg. Das lässt sich nicht rückgängig machen. Das Audit-Log behält seine Zeilen.";
    end_session => "End session", "Sitzung beenden";
    end_session_lead => "It ends within a second, with its consoles and transfers. Its owner can sign in again.",
        "Sie endet innerhalb einer Sekunde, mit ihren Konsolen und Übertragungen. Eine neue Anmeldung ist möglich.";
    end_sessions => "End all sessions", "Alle Sitzungen beenden";
    end_sessions_lead => "All sessions of this account end within a second, with their consoles and transfers. Its owner can sign in again.",
        "Alle Sitzungen dieses Kontos enden innerhalb einer Sekunde, mit ihren Konsolen und Übertragungen. Eine neue Anmeldung ist möglich.";
    close_console => "Close console", "Konsole schließen";
    close_console_lead => "It closes within a second. The session goes on, and can open another.",
        "Sie schließt innerhalb einer Sekunde. Die Sitzung läuft weiter und kann eine neue öffnen.";
    ban => "Block a network", "Netz sperren";
    ban_lead => "Its connections are closed and new ones refused before TLS, within a second.",
        "Seine Verbindungen werden geschlossen und neue noch vor TLS abgelehnt, innerhalb einer Sekunde.";
    network_hint => "An address such as 203.0.113.9, or a network such as 203.0.113.0/24.",
        "Eine Adresse wie 203.0.113.9 oder ein Netz wie 203.0.113.0/24.";
    how_long => "How long", "Wie lange";
    for_an_hour => "1 hour", "1 Stunde";
    for_a_day => "1 day", "1 Tag";
    for_a_week => "7 days", "7 Tage";
    for_thirty_days => "30 days", "30 Tage";
    until_lifted => "until somebody lifts it", "bis jemand sie aufhebt";
    even_so => "Even though somebody is signed in from there", "Auch wenn von dort jemand angemeldet ist";
    unban => "Unblock", "Sperre aufheben";
    unban_lead => "The network may connect again, within a second. What it had done is forgotten.",
        "Das Netz darf sich wieder verbinden, innerhalb einer Sekunde. Was es getan hatte, ist vergessen.";
    reason_hint => "The audit log keeps it.", "Das Audit-Log behält ihn.";
    reason_hint_optional => "If there is one; the audit log keeps it.", "Falls es einen gibt; das Audit-Log behält ihn.";

    // Why not
    reason_missing => "Give a reason: somebody will ask.", "Nennen Sie einen Grund: Es wird jemand fragen.";
    bad_name => "That is no user name.", "Das ist kein Benutzername.";
    name_taken => "Somebody has that name already.", "Diesen Namen gibt es schon.";
    bad_network => "That is neither an address nor a network.", "Das ist weder eine Adresse noch ein Netz.";
    own_address => "You are connected from there yourself, and would be locked out.", "Sie sind selbst von dort verbunden und wären ausgesperrt.";
    signed_in_from_there(user: &str) => "{user} is signed in from there. Tick the box if you mean it.",
        "{user} ist von dort angemeldet. Kreuzen Sie das Kästchen an, wenn Sie es so meinen.";

    // What was done
    link_made => "The link is ready", "Der Link ist bereit";
    link_for(user: &str) => "Give it to {user}, and to nobody else: whoever opens it sets up the sign-in of {user}.",
        "Geben Sie ihn {user} und sonst niemandem: Wer ihn öffnet, richtet die Anmeldung von {user} ein.";
    recovery_link_for(user: &str) => "Give it to {user}, and to nobody else: whoever opens it takes over the account of {user}.",
        "Geben Sie ihn {user} und sonst niemandem: Wer ihn öffnet, übernimmt das Konto von {user}.";
    link_once => "It is shown only now, and works once, from an allowed address, until", "Er ist nur jetzt zu sehen und gilt einmal, von einer erlaubten Adresse, bis";
    link_qr => "QR code of the link", "QR-Code des Links";
    links_revoked_now => "The links are void.", "Die Links sind ungültig.";
    disabled_now => "The account is disabled, and its sessions are over.", "Das Konto ist gesperrt, seine Sitzungen sind beendet.";
    enabled_now => "The account is enabled.", "Das Konto ist freigegeben.";
    unlocked_now => "The wrong codes are forgotten.", "Die falschen Codes sind vergessen.";
    panicked_now => "The account is locked, and everything of it has ended.", "Das Konto ist gesperrt, und alles davon ist beendet.";
    role_now => "The role is changed.", "Die Rolle ist geändert.";
    deleted_now => "The account is deleted.", "Das Konto ist gelöscht.";
    session_ended_now => "The session is over.", "Die Sitzung ist beendet.";
    sessions_ended_now => "The sessions are over.", "Die Sitzungen sind beendet.";
    console_closed_now => "The console is closed.", "Die Konsole ist geschlossen.";
    banned_now => "The network is blocked.", "Das Netz ist gesperrt.";
    unbanned_now => "The network is unblocked.", "Das Netz ist wieder frei.";
}

impl Language {
    /// A short time in one unit: `85 µs`, `1.3 ms`, `2.0 s`.
    #[must_use]
    pub fn brief(self, took: Duration) -> String {
        let micros = took.as_micros();
        let (unit, tenths) = match micros {
            0..1_000 => return format!("{micros}\u{a0}µs"),
            1_000..1_000_000 => ("ms", micros / 100),
            _ => ("s", micros / 100_000),
        };
        let point = match self {
            Self::English => '.',
            Self::German => ',',
        };
        format!("{}{point}{}\u{a0}{unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_time_is_told_in_one_unit() {
        #[rustfmt::skip]
        let table = [
            (0,         "0\u{a0}µs",   "0\u{a0}µs"),
            (999,       "999\u{a0}µs", "999\u{a0}µs"),
            (1_000,     "1.0\u{a0}ms", "1,0\u{a0}ms"),
            (1_390,     "1.3\u{a0}ms", "1,3\u{a0}ms"),
            (2_000_000, "2.0\u{a0}s",  "2,0\u{a0}s"),
        ];
        for (micros, english, german) in table {
            let took = Duration::from_micros(micros);
            assert_eq!(
                (Language::English.brief(took).as_str(), Language::German.brief(took).as_str()),
                (english, german)
            );
        }
    }
}
