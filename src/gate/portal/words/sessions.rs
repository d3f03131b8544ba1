//! Words of the pages about one's own sessions and activity, and of those that lock the account.

use super::Language;

#[rustfmt::skip]
words! {
    sessions => "Sessions and activity", "Sitzungen und Aktivität";
    where_signed_in => "Where you are signed in", "Wo Sie angemeldet sind";
    this_one => "this one", "diese hier";
    address => "Address", "Adresse";
    last_active => "Last active", "Zuletzt aktiv";
    open_consoles => "Open consoles", "Offene Konsolen";
    sign_out_everywhere_else => "Sign out everywhere else", "Überall sonst abmelden";
    sign_out_everywhere_else_hint => "Consoles and transfers there end within a second. This session goes on.",
        "Konsolen und Übertragungen dort enden innerhalb einer Sekunde. Diese Sitzung läuft weiter.";
    session_was_ended => "That session is over, and so are its consoles.", "Diese Sitzung ist beendet, ihre Konsolen auch.";
    others_were_ended => "You are signed out everywhere else.", "Sie sind überall sonst abgemeldet.";
    recent_activity => "Recent activity", "Letzte Aktivität";
    recent_activity_hint => "What happened to your account in the last 90 days.", "Was in den letzten 90 Tagen mit Ihrem Konto geschah.";
    nothing_happened => "Nothing yet.", "Noch nichts.";
    older_activity => "Older activity", "Ältere Aktivität";
    new_address => "new address", "neue Adresse";
    command_line => "by an administrator", "durch die Administration";
    did_sign_in => "Signed in", "Angemeldet";
    failed_sign_in => "Failed sign-in", "Anmeldung gescheitert";
    did_sign_out => "Signed out", "Abgemeldet";
    session_ran_out => "Session ran out", "Sitzung abgelaufen";
    session_revoked => "Session ended", "Sitzung beendet";
    failed_proof => "A change was not confirmed", "Änderung nicht bestätigt";
    invitation_made => "Invitation made", "Einladung erstellt";
    invitation_revoked => "Invitation made void", "Einladung widerrufen";
    did_use_invitation => "Invitation used", "Einladung verwendet";
    failed_invitation => "Invitation not completed", "Einladung nicht abgeschlossen";
    did_add_method => "Sign-in method added", "Anmeldemethode hinzugefügt";
    did_rename_method => "Sign-in method renamed", "Anmeldemethode umbenannt";
    did_remove_method => "Sign-in method removed", "Anmeldemethode entfernt";
    did_use_recovery_code => "Recovery code used", "Wiederherstellungscode verwendet";
    failed_recovery_code => "Wrong recovery code", "Falscher Wiederherstellungscode";
    did_renew_codes => "New recovery codes made", "Neue Wiederherstellungscodes erstellt";
    account_locked => "Account locked at once", "Konto sofort gesperrt";
    account_unlocked => "Count of wrong codes reset", "Zähler falscher Codes zurückgesetzt";
    account_disabled => "Account disabled", "Konto gesperrt";
    account_enabled => "Account enabled", "Konto freigegeben";
    account_renamed => "Account renamed", "Konto umbenannt";
    role_changed => "Role changed", "Rolle geändert";
    did_report => "You reported what was not you", "Gemeldet: nicht ich";
    back_to_sessions => "Back to the sessions", "Zurück zu den Sitzungen";
    not_me => "This wasn’t me", "Das war ich nicht";
    not_me_about(what: &str, when: &str) => "This wasn’t me: {what}, {when}", "Das war ich nicht: {what}, {when}";
    not_me_lead => "Then somebody else may be in your account. At once:", "Dann ist vielleicht jemand anderes in Ihrem Konto. Sofort:";
    not_me_sessions => "All your sessions end, this one too, with their consoles and transfers.",
        "Alle Ihre Sitzungen enden, auch diese, mit ihren Konsolen und Übertragungen.";
    not_me_devices => "No device counts as known any more.", "Kein Gerät gilt mehr als bekannt.";
    not_me_links => "Open invitations for you become void.", "Offene Einladungen für Sie werden ungültig.";
    not_me_next => "If you have a passkey, your next sign-in needs it: a code is not enough.",
        "Haben Sie einen Passkey, braucht die nächste Anmeldung ihn: Ein Code genügt nicht.";
    not_me_told => "Your administrators are told.", "Die Administration wird benachrichtigt.";
    not_me_do => "End everything now", "Jetzt alles beenden";
    not_me_done => "Everything is ended", "Alles ist beendet";
    not_me_done_lead => "Nobody is signed in as you any more, and your administrators are told.",
        "Niemand ist mehr als Sie angemeldet, und die Administration weiß Bescheid.";
    not_me_look_at_methods => "Sign in again and look through your sign-in methods: remove what is not yours, and make new recovery codes.",
        "Melden Sie sich wieder an und sehen Sie Ihre Anmeldemethoden durch: Entfernen Sie, was nicht von Ihnen ist, und erstellen Sie neue Wiederherstellungscodes.";
    passkey_wanted => "This account was reported as used by somebody else, so a code is not enough this time. Sign in with your passkey, or with a recovery code.",
        "Für dieses Konto wurde fremde Nutzung gemeldet, darum genügt diesmal kein Code. Melden Sie sich mit Ihrem Passkey an oder mit einem Wiederherstellungscode.";
    intrusion_reported(user: &str) => "{user} reported that somebody else used their account.", "{user} hat gemeldet, dass jemand anderes das Konto benutzt hat.";

    // Panic
    panic => "Lock my account", "Mein Konto sperren";
    panic_lead => "Everything ends at once: sessions, consoles, transfers, known devices, open invitations. Nobody signs in as you any more, you neither.",
        "Alles endet sofort: Sitzungen, Konsolen, Übertragungen, bekannte Geräte, offene Einladungen. Niemand kann sich mehr als Sie anmelden, auch Sie nicht.";
    panic_way_back => "An administrator lets you in again, on the gate’s machine:", "Die Administration lässt Sie wieder ein, auf dem Rechner des Gates:";
    panic_with_code => "Lock my account", "Mein Konto sperren";
    panic_with_passkey => "Lock with a passkey", "Mit Passkey sperren";
    panic_done => "Your account is locked", "Ihr Konto ist gesperrt";
    panic_done_lead => "Nobody can sign in as you.", "Niemand kann sich als Sie anmelden.";
    device_of(browser: &str, system: &str) => "{browser} on {system}", "{browser} auf {system}";
    unknown_device => "Unknown device", "Unbekanntes Gerät";
    by_app => "with an authenticator app", "mit Authenticator\u{2011}App";
    by_passkey => "with a passkey", "mit Passkey";
    by_security_key => "with a security key", "mit Sicherheitsschlüssel";
    by_recovery_code => "with a recovery code", "mit Wiederherstellungscode";
}
