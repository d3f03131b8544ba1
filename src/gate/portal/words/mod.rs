//! Every word of the portal's pages, in English and German.
//!
//! Tables with both languages beside each other: a phrase without a translation does not compile, and
//! neither does a third language before all its phrases are there. Phrases with a parameter are
//! methods with an argument. What belongs to one subject has a file of its own, whose table is named in
//! `TABLES`; the rest is here. Words for the command line and for logs are not here: those are English.

use std::time::Duration;

use crate::time::Timestamp;

/// A language that the pages speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// German.
    German,
}

/// Makes a method of [`Language`] from each phrase: `name => English, German;`, where braces in the text
/// name the arguments, as in `format!`. Once a file.
macro_rules! words {
    ($( $name:ident $( ( $($argument:ident : $kind:ty),+ ) )? => $english:literal, $german:literal; )*) => {
        impl Language {
            $( words!(@phrase $name $( ( $($argument : $kind),+ ) )? $english, $german); )*
        }
        #[cfg(test)]
        pub(super) const PHRASES: &[(&str, &str, &str)] = &[ $( (stringify!($name), $english, $german), )* ];
    };
    (@phrase $name:ident $english:literal, $german:literal) => {
        #[doc = concat!("“", $english, "”")]
        #[must_use]
        pub const fn $name(self) -> &'static str {
            match self {
                Self::English => $english,
                Self::German => $german,
            }
        }
    };
    (@phrase $name:ident ( $($argument:ident : $kind:ty),+ ) $english:literal, $german:literal) => {
        #[doc = concat!("“", $english, "”")]
        #[must_use]
        pub fn $name(self, $($argument: $kind),+) -> String {
            match self {
                Self::English => format!($english),
                Self::German => format!($german),
            }
        }
    };
}

// Below the macro, so that they can use it.
mod admin;
mod clock;
mod diagnostics;
mod sessions;

#[rustfmt::skip]
words! {
    // Every page
    help(contact: &str) => "Need help? Ask {contact}.", "Hilfe nötig? Fragen Sie {contact}.";
    help_before_link => "Need help? Ask", "Hilfe nötig? Fragen Sie";
    languages => "Language", "Sprache";
    gate_clock => "Gate clock", "Uhr des Gates";
    user_name => "User name", "Benutzername";
    back_to_sign_in => "Back to sign-in", "Zurück zur Anmeldung";
    go_to_proxmox_ve => "Go to Proxmox VE", "Weiter zu Proxmox VE";
    reference => "Reference", "Kennung";
    step(at: u8, of: u8) => "Step {at} of {of}", "Schritt {at} von {of}";

    // Sign in
    sign_in => "Sign in", "Anmelden";
    sign_in_lead => "Sign in here to reach Proxmox VE. It will ask for its own sign-in next.",
        "Melden Sie sich hier an, um Proxmox VE zu erreichen. Danach folgt dessen eigene Anmeldung.";
    sign_in_with_passkey => "Sign in with a passkey", "Mit Passkey anmelden";
    or => "or", "oder";
    password => "Password", "Passwort";
    code => "Authenticator code", "Code der Authenticator-App";
    code_hint => "The six digits that your app shows now.", "Die sechs Ziffern, die Ihre App gerade zeigt.";
    use_recovery_code => "Use a recovery code instead", "Mit Wiederherstellungscode anmelden";
    no_match => "That did not match. Check your entries and try again with a new code.",
        "Das stimmte nicht. Prüfen Sie Ihre Eingaben und versuchen Sie es mit einem neuen Code.";
    session_ended => "Your session at the gate has ended. Sign in again to go on where you were.",
        "Ihre Sitzung am Gate ist beendet. Melden Sie sich wieder an, um dort weiterzumachen.";
    clock_hint(clock: &str) => "Codes depend on the time. When this page was made, the gate’s clock showed {clock}. Does your phone agree?",
        "Codes hängen von der Uhrzeit ab. Als diese Seite entstand, zeigte die Uhr des Gates {clock}. Stimmt Ihr Telefon damit überein?";
    clock_ahead => "This device’s clock is {} ahead of the gate’s.", "Die Uhr dieses Geräts geht gegenüber dem Gate {} vor.";
    clock_behind => "This device’s clock is {} behind the gate’s.", "Die Uhr dieses Geräts geht gegenüber dem Gate {} nach.";

    // Passkeys: what the script says
    passkey_cancelled => "The passkey was not used: it was cancelled or took too long.",
        "Der Passkey wurde nicht verwendet: abgebrochen, oder es hat zu lange gedauert.";
    passkey_refused => "The gate did not accept that passkey.", "Das Gate hat diesen Passkey nicht angenommen.";
    passkey_too_many => "Too many attempts. Wait a few minutes.", "Zu viele Versuche. Warten Sie ein paar Minuten.";
    passkey_offline => "The gate could not be reached. Check your connection.", "Das Gate ist nicht erreichbar. Prüfen Sie Ihre Verbindung.";
    passkey_present => "This device or key already holds a passkey for you.", "Dieses Gerät oder dieser Schlüssel hat schon einen Passkey für Sie.";
    passkey_untrusted => "Your browser does not trust this page’s certificate, so it refuses passkeys here. They will work once the device trusts the gate’s certificate authority. Until then, use an authenticator app.",
        "Ihr Browser vertraut dem Zertifikat dieser Seite nicht und lehnt Passkeys darum hier ab. Sie funktionieren, sobald das Gerät der Zertifizierungsstelle des Gates vertraut. Verwenden Sie bis dahin eine Authenticator-App.";
    passkey_own_authority => "This gate’s certificate comes from its own authority. Where a device does not trust that, browsers refuse passkeys here. Install the authority first, or use an authenticator app.",
        "Das Zertifikat dieses Gates stammt von seiner eigenen Zertifizierungsstelle. Wo ein Gerät dieser nicht vertraut, lehnen Browser Passkeys hier ab. Installieren Sie sie zuerst, oder verwenden Sie eine Authenticator-App.";
    passkey_needs_authority => "This gate’s certificate comes from its own authority. Where a device does not trust that, browsers refuse passkeys here. Install the authority first.",
        "Das Zertifikat dieses Gates stammt von seiner eigenen Zertifizierungsstelle. Wo ein Gerät dieser nicht vertraut, lehnen Browser Passkeys hier ab. Installieren Sie sie zuerst.";
    get_authority => "Download the authority", "Zertifizierungsstelle herunterladen";
    passkey_bare_address => "This page was opened by a bare IP address, and browsers offer passkeys only for names. Open the gate by its name, or use an authenticator app.",
        "Diese Seite wurde über eine bloße IP\u{2011}Adresse geöffnet, und Browser bieten Passkeys nur für Namen an. Öffnen Sie das Gate unter seinem Namen oder verwenden Sie eine Authenticator-App.";
    passkey_unsupported => "This browser does not know passkeys. Use an authenticator app.",
        "Dieser Browser kennt keine Passkeys. Verwenden Sie eine Authenticator-App.";

    // Security keys
    touch_key => "Touch your security key", "Berühren Sie Ihren Sicherheitsschlüssel";
    touch_key_lead(user: &str) => "The code was right, {user}. Plug in your security key or hold it to the phone, press the button, and touch the key when it blinks.",
        "Der Code stimmte, {user}. Stecken Sie Ihren Sicherheitsschlüssel ein oder halten Sie ihn ans Telefon, drücken Sie den Knopf, und berühren Sie den Schlüssel, sobald er blinkt.";
    use_key => "Use the security key", "Sicherheitsschlüssel verwenden";
    key_needs_script => "Security keys need JavaScript, which is switched off in this browser.",
        "Sicherheitsschlüssel brauchen JavaScript, und das ist in diesem Browser ausgeschaltet.";
    key_cancelled => "The security key was not used: it was cancelled or took too long.",
        "Der Sicherheitsschlüssel wurde nicht verwendet: abgebrochen, oder es hat zu lange gedauert.";
    key_refused => "The gate did not accept that security key, or this page had been open for too long. Start again.",
        "Das Gate hat diesen Sicherheitsschlüssel nicht angenommen, oder diese Seite war zu lange offen. Beginnen Sie von vorn.";
    key_present => "This security key is already registered for you.", "Dieser Sicherheitsschlüssel ist schon für Sie registriert.";
    key_untrusted => "Your browser does not trust this page’s certificate, so it refuses security keys here. They will work once the device trusts the gate’s certificate authority.",
        "Ihr Browser vertraut dem Zertifikat dieser Seite nicht und lehnt Sicherheitsschlüssel darum hier ab. Sie funktionieren, sobald das Gerät der Zertifizierungsstelle des Gates vertraut.";
    key_bare_address => "This page was opened by a bare IP address, and browsers offer security keys only for names. Open the gate by its name.",
        "Diese Seite wurde über eine bloße IP\u{2011}Adresse geöffnet, und Browser bieten Sicherheitsschlüssel nur für Namen an. Öffnen Sie das Gate unter seinem Namen.";
    key_unsupported => "This browser does not know security keys.", "Dieser Browser kennt keine Sicherheitsschlüssel.";
    key_without_pin => "My security key has no PIN", "Mein Sicherheitsschlüssel hat keine PIN";
    key_without_pin_lead => "Such a key is no way in by itself: at sign-in it is asked for after the code of an authenticator app. If you have no app yet, you add one next.",
        "So ein Schlüssel genügt allein nicht: Bei der Anmeldung wird er nach dem Code einer Authenticator\u{2011}App verlangt. Haben Sie noch keine App, fügen Sie gleich eine hinzu.";
    key_name => "Name of this key", "Name dieses Schlüssels";
    register_key => "Register the security key", "Sicherheitsschlüssel registrieren";
    key_works => "Your security key works. Now add the app whose codes it goes with.",
        "Ihr Sicherheitsschlüssel funktioniert. Fügen Sie jetzt die App hinzu, zu deren Codes er gehört.";

    // Enrolment
    enrol => "Set up your sign-in", "Anmeldung einrichten";
    enrol_lead => "You need the invitation that your administrator gave you. Opening its link fills this in by itself.",
        "Sie brauchen die Einladung Ihrer Administratorin oder Ihres Administrators. Wer ihren Link öffnet, muss hier nichts eingeben.";
    invitation_code => "Invitation code", "Einladungscode";
    invitation_hint => "The part of the link after #.", "Der Teil des Links nach dem #.";
    go_on => "Continue", "Weiter";
    enrol_totp => "Add an authenticator app", "Authenticator\u{2011}App hinzufügen";
    enrol_totp_lead => "Scan the code with an app such as Aegis, 2FAS, 1Password or Google Authenticator. Nothing is switched on until a code was checked.",
        "Scannen Sie den Code mit einer App wie Aegis, 2FAS, 1Password oder Google Authenticator. Eingeschaltet wird erst, wenn ein Code geprüft ist.";
    qr_code => "QR code for your authenticator app", "QR-Code für Ihre Authenticator-App";
    open_in_app => "Open in an app on this device", "In einer App auf diesem Gerät öffnen";
    cannot_scan => "Can’t scan? Enter the key by hand", "Scannen geht nicht? Schlüssel von Hand eingeben";
    key => "Key", "Schlüssel";
    account => "Account", "Konto";
    kind => "Kind", "Art";
    kind_of_code => "time-based, 6 digits, 30 s", "zeitbasiert, 6 Ziffern, 30 s";
    authenticator_name => "Name of this authenticator", "Name dieses Authenticators";
    phone => "Phone", "Telefon";
    code_from_app => "Code from the app", "Code aus der App";
    check_and_continue => "Check and continue", "Prüfen und weiter";
    wrong_code => "That code did not match. Enter the one that your app shows now.",
        "Dieser Code stimmte nicht. Geben Sie den ein, den Ihre App jetzt zeigt.";
    choose_password => "Choose a password for the gate", "Wählen Sie ein Passwort für das Gate";
    choose_password_hint => "At least 8 characters. You will type it together with the code.",
        "Mindestens 8 Zeichen. Sie geben es zusammen mit dem Code ein.";
    password_short => "That password is too short. Use at least 8 characters.",
        "Dieses Passwort ist zu kurz. Verwenden Sie mindestens 8 Zeichen.";
    password_long => "That password is too long.", "Dieses Passwort ist zu lang.";
    enrol_passkey => "Create a passkey", "Passkey erstellen";
    enrol_passkey_lead => "A passkey signs you in with your fingerprint, face, PIN or security key. It cannot be guessed, and no other site can ask for it.",
        "Mit einem Passkey melden Sie sich mit Fingerabdruck, Gesicht, PIN oder Sicherheitsschlüssel an. Er lässt sich nicht erraten, und keine andere Website kann ihn erfragen.";
    passkey_name => "Name of this passkey", "Name dieses Passkeys";
    passkey_name_hint => "Where it will live, such as “Laptop” or “Blue key”. Left empty, it is named after its model.",
        "Wo er liegen wird, etwa „Laptop“ oder „Blauer Schlüssel“. Bleibt das leer, heißt er wie sein Modell.";
    create_passkey => "Create a passkey (recommended)", "Passkey erstellen (empfohlen)";
    another_passkey => "Create another passkey", "Weiteren Passkey erstellen";
    another_passkey_lead => "On another device or key than the one you have, so that losing one does not lock you out. If it is a security key, plug it in before you press the button.",
        "Auf einem anderen Gerät oder Schlüssel als bisher, damit der Verlust des einen Sie nicht aussperrt. Einen Sicherheitsschlüssel stecken Sie ein, bevor Sie den Knopf drücken.";
    use_app_instead => "Use an authenticator app instead", "Authenticator\u{2011}App verwenden";
    needs_script => "Passkeys need JavaScript, which is switched off in this browser.", "Passkeys brauchen JavaScript, und das ist in diesem Browser ausgeschaltet.";

    // Recovery codes
    codes => "Save your recovery codes", "Wiederherstellungs\u{ad}codes sichern";
    codes_lead => "Each of these signs you in once, should your phone or key be lost. They are shown only now: keep them away from your phone.",
        "Mit jedem davon melden Sie sich einmal an, falls Telefon oder Schlüssel verloren sind. Sie sind nur jetzt zu sehen: Bewahren Sie sie getrennt vom Telefon auf.";
    codes_until_then => "Until you have typed one of them below, your old codes keep working.",
        "Bis Sie unten einen davon eingegeben haben, gelten Ihre alten Codes weiter.";
    codes_gone => "Your codes were shown once and will not be shown again. Type one of those that you saved.",
        "Ihre Codes wurden einmal gezeigt und erscheinen nicht wieder. Geben Sie einen ein, den Sie gesichert haben.";
    codes_of(user: &str, host: &str) => "Recovery codes of {user} for {host}", "Wiederherstellungscodes von {user} für {host}";
    codes_made(date: &str) => "Made on {date}. Each works once; tick it when used.", "Erstellt am {date}. Jeder gilt einmal; haken Sie ab, was verbraucht ist.";
    download => "Download", "Herunterladen";
    print => "Print", "Drucken";
    copy => "Copy", "Kopieren";
    copied => "Copied.", "Kopiert.";
    copy_denied => "The browser did not allow copying.", "Der Browser hat das Kopieren nicht erlaubt.";
    file_name => "recovery-codes", "wiederherstellungscodes";
    type_one => "Type one of the codes", "Geben Sie einen der Codes ein";
    type_one_hint => "To make sure that you have them. It is not used up.", "Damit sicher ist, dass Sie sie haben. Er wird dabei nicht verbraucht.";
    codes_saved => "I have saved them", "Ich habe sie gesichert";
    typed_wrong => "That is none of your new codes. Look at what you saved and try again.",
        "Das ist keiner Ihrer neuen Codes. Sehen Sie nach, was Sie gesichert haben, und versuchen Sie es noch einmal.";
    new_codes => "Make new recovery codes", "Neue Wiederherstellungs\u{ad}codes erstellen";
    new_codes_lead(left: u32) => "You get ten new codes. Your present ones ({left} left) work until you have saved the new ones.",
        "Sie bekommen zehn neue Codes. Ihre bisherigen (noch {left}) gelten, bis Sie die neuen gesichert haben.";
    new_codes_late => "That took too long, so your old codes are still the ones that work. Throw the new ones away and start again.",
        "Das hat zu lange gedauert: Es gelten weiter Ihre alten Codes. Werfen Sie die neuen weg, und beginnen Sie von vorn.";

    // Enrolment's end
    enrolled => "You are all set", "Alles ist eingerichtet";
    enrolled_lead(user: &str) => "From now on, {user} signs in at the gate with what you have just set up.",
        "Ab jetzt meldet sich {user} mit dem am Gate an, was Sie gerade eingerichtet haben.";
    enrolled_next => "Proxmox VE keeps its own users and passwords; they are unchanged.",
        "Proxmox VE behält seine eigenen Benutzer und Passwörter; daran hat sich nichts geändert.";

    // Recovery
    recover => "Use a recovery code", "Wiederherstellungs\u{ad}code verwenden";
    recover_lead => "For when your phone or security key is lost. Each code works once.",
        "Falls Telefon oder Sicherheitsschlüssel verloren sind. Jeder Code gilt einmal.";
    recovery_code => "Recovery code", "Wiederherstellungscode";
    recovery_code_hint => "Sixteen letters and digits; dashes and capitals do not matter.",
        "Sechzehn Buchstaben und Ziffern; Striche und Großschreibung sind gleichgültig.";
    recovery_no_match => "That did not match, or the code was used before.",
        "Das stimmte nicht, oder der Code wurde schon verwendet.";

    // Account
    signed_in => "You are signed in", "Sie sind angemeldet";
    signed_in_since => "Since", "Seit";
    ends => "Ends", "Endet";
    ends_at_latest(idle: &str) => "or after {idle} without activity", "oder nach {idle} ohne Aktivität";
    recovery_codes_left => "Recovery codes", "Wiederher\u{ad}stellungs\u{ad}codes";
    left(left: u32) => "{left} left", "noch {left}";
    few_codes => "Few recovery codes are left. Make new ones before they run out.",
        "Es sind nur noch wenige Wiederherstellungscodes übrig. Erstellen Sie neue, bevor sie aufgebraucht sind.";
    sign_out => "Sign out", "Abmelden";
    sign_out_hint => "Signing out closes open consoles of this session.", "Abmelden schließt die offenen Konsolen dieser Sitzung.";
    signed_out => "You are signed out", "Sie sind abgemeldet";
    signed_out_lead => "Consoles and tabs of Proxmox VE in this browser can no longer reach it.",
        "Konsolen und Tabs von Proxmox VE in diesem Browser erreichen es nicht mehr.";
    sign_in_again => "Sign in again", "Wieder anmelden";

    // Sign-in methods
    methods => "Sign-in methods", "Anmeldemethoden";
    kind_passkey => "Passkey", "Passkey";
    security_key => "Security key", "Sicherheitsschlüssel";
    made_in(browser: &str, system: &str) => "{browser} on {system}", "{browser} auf {system}";
    kind_security_key => "Security key without a PIN, asked for after a code", "Sicherheitsschlüssel ohne PIN, nach einem Code verlangt";
    kind_app => "Authenticator app", "Authenticator-App";
    synced => "kept on several devices", "auf mehreren Geräten";
    added => "Added", "Hinzugefügt";
    last_used => "Last used", "Zuletzt verwendet";
    never => "never", "nie";
    rename => "Rename", "Umbenennen";
    remove => "Remove", "Entfernen";
    replace => "Replace", "Ersetzen";
    new_name => "New name", "Neuer Name";
    method_added => "The sign-in method was added.", "Die Anmeldemethode wurde hinzugefügt.";
    method_renamed => "The sign-in method has its new name.", "Die Anmeldemethode hat ihren neuen Namen.";
    method_removed => "The sign-in method was removed.", "Die Anmeldemethode wurde entfernt.";
    method_replaced => "The new sign-in method is there, and the old one is gone.", "Die neue Anmeldemethode ist da, die alte ist weg.";
    change_late => "Nothing was changed: what permitted it was used before, or it took too long. Start again.",
        "Nichts wurde geändert: Die Bestätigung war schon verwendet, oder es hat zu lange gedauert. Beginnen Sie von vorn.";
    codes_renewed => "Your new recovery codes work from now on, and the old ones no longer do.",
        "Ab jetzt gelten Ihre neuen Wiederherstellungscodes, die alten nicht mehr.";
    one_method_only => "You have one way in. If that phone or key is lost, nothing but a recovery code lets you in.",
        "Sie haben nur einen Zugang. Ist dieses Telefon oder dieser Schlüssel verloren, hilft nur noch ein Wiederherstellungscode.";
    add_second_method => "Add a second one now", "Jetzt einen zweiten hinzufügen";
    no_key_yet => "You sign in with codes, which a false page could ask you for. A passkey only works here.",
        "Sie melden sich mit Codes an, nach denen auch eine falsche Seite fragen könnte. Ein Passkey funktioniert nur hier.";
    add_passkey => "Add a passkey now", "Jetzt einen Passkey hinzufügen";
    one_key_only => "You have one key only. If it is lost, you need your authenticator app or a recovery code.",
        "Sie haben nur einen Schlüssel. Ist er verloren, brauchen Sie Ihre Authenticator\u{2011}App oder einen Wiederherstellungscode.";
    add_second_key => "Add a second key now", "Jetzt einen zweiten Schlüssel hinzufügen";
    add_method => "Add a sign\u{2011}in method", "Anmeldemethode hinzufügen";
    add_method_lead => "First show that it is you, with a sign-in method that you have already. The new one comes on the next page.",
        "Zeigen Sie zuerst mit einer Anmeldemethode, die Sie schon haben, dass Sie es sind. Die neue kommt auf der nächsten Seite.";
    confirm_with_present_passkey => "Confirm with your passkey", "Mit Ihrem Passkey bestätigen";
    rename_method => "Rename a sign\u{2011}in method", "Anmeldemethode umbenennen";
    rename_method_lead(name: &str) => "“{name}” gets another name.", "„{name}“ bekommt einen anderen Namen.";
    remove_method => "Remove a sign\u{2011}in method", "Anmeldemethode entfernen";
    remove_method_lead(name: &str) => "“{name}” will sign nobody in any more. This cannot be undone.",
        "Mit „{name}“ meldet sich dann niemand mehr an. Das lässt sich nicht rückgängig machen.";
    replace_method => "Replace a sign\u{2011}in method", "Anmeldemethode ersetzen";
    replace_method_lead(name: &str) => "“{name}” works until the new one was checked. Then it is gone.",
        "„{name}“ gilt, bis die neue Methode geprüft ist, und ist dann weg.";
    last_method => "This is your only way in, so it stays. Add another one first.",
        "Das ist Ihr einziger Zugang, darum bleibt er. Fügen Sie zuerst einen anderen hinzu.";
    proof_code_hint => "A fresh one: it is for this change only.", "Einen frischen: Er gilt nur für diese Änderung.";
    proof_by_recovery => "Or with one of your recovery codes", "Oder mit einem Ihrer Wiederherstellungscodes";
    proof_recovery_hint => "One that was not used before; it is used up by this change.",
        "Einen unbenutzten; diese Änderung verbraucht ihn.";
    confirm_with_code => "Confirm with the code", "Mit dem Code bestätigen";
    confirm_with_recovery_code => "Confirm with the recovery code", "Mit dem Wiederherstellungs\u{ad}code bestätigen";
    confirm_with_passkey => "Confirm with a passkey", "Mit Passkey bestätigen";
    back_to_methods => "Back to the sign-in methods", "Zurück zu den Anmeldemethoden";
    back_to_account => "Back", "Zurück";

    // Refusals: title, what happened, what to do
    address_title => "Not from this address", "Nicht von dieser Adresse";
    address_from(address: &str) => "Your connection came from {address}, which is not on the list.",
        "Ihre Verbindung kam von {address}; diese Adresse steht nicht auf der Liste.";
    address_hidden => "Your connection came from an address that is not on the list.",
        "Ihre Verbindung kam von einer Adresse, die nicht auf der Liste steht.";
    address_do => "If you use a VPN, connect it and try again.", "Falls Sie ein VPN verwenden, verbinden Sie es und versuchen Sie es noch einmal.";
    host_title => "Another address, please", "Bitte unter anderer Adresse";
    host_what => "The gate does not answer under this name.", "Unter diesem Namen antwortet das Gate nicht.";
    host_do => "Open this instead:", "Öffnen Sie stattdessen:";
    rate_title => "Too many attempts", "Zu viele Versuche";
    rate_what(wait: &str) => "Try again in {wait}, at", "Versuchen Sie es in {wait} wieder, um";
    rate_do => "Trying earlier does no harm, but does not help either.", "Früher zu versuchen schadet nicht, hilft aber auch nicht.";
    not_found_title => "Page not found", "Seite nicht gefunden";
    not_found_what => "The gate has no page at this address.", "Unter dieser Adresse hat das Gate keine Seite.";
    not_found_do => "Check the address, or go on to Proxmox VE.", "Prüfen Sie die Adresse, oder gehen Sie weiter zu Proxmox VE.";
    invitation_unknown_title => "Invitation not known", "Einladung unbekannt";
    invitation_unknown => "The gate does not know this invitation.", "Diese Einladung kennt das Gate nicht.";
    invitation_unknown_do => "Check that the whole link was copied, or ask for a new one.",
        "Prüfen Sie, ob der ganze Link kopiert wurde, oder bitten Sie um einen neuen.";
    invitation_used_title => "Invitation already used", "Einladung schon verwendet";
    invitation_used => "This invitation was used before. Each works once.", "Diese Einladung wurde schon verwendet. Jede gilt nur einmal.";
    invitation_used_do => "If that was you, sign in. If it was not, tell your administrator now.",
        "Waren Sie das, melden Sie sich an. Waren Sie es nicht, sagen Sie sofort der Administration Bescheid.";
    invitation_expired_title => "Invitation expired", "Einladung abgelaufen";
    invitation_expired => "This invitation is no longer valid.", "Diese Einladung gilt nicht mehr.";
    invitation_expired_do => "Ask for a new one.", "Bitten Sie um eine neue.";
    upstream_title => "Proxmox VE does not answer", "Proxmox VE antwortet nicht";
    upstream_refused => "You are signed in, but the server behind the gate refused the connection.",
        "Sie sind angemeldet, aber der Server hinter dem Gate hat die Verbindung abgelehnt.";
    upstream_timeout => "You are signed in, but the server behind the gate did not answer in time.",
        "Sie sind angemeldet, aber der Server hinter dem Gate hat nicht rechtzeitig geantwortet.";
    upstream_broken_tls => "You are signed in, but the server behind the gate did not complete a secure connection.",
        "Sie sind angemeldet, aber mit dem Server hinter dem Gate kam keine sichere Verbindung zustande.";
    upstream_tried(address: &str) => "The gate tried {address}.", "Das Gate hat {address} versucht.";
    upstream_do => "It may be restarting. This page tries again every 5 seconds and goes on by itself.",
        "Vielleicht startet er gerade neu. Diese Seite versucht es alle 5 Sekunden wieder und geht dann von selbst weiter.";
    upstream_do_by_hand => "It may be restarting. Try again in a moment.", "Vielleicht startet er gerade neu. Versuchen Sie es gleich noch einmal.";
    tried_at => "Last tried at {}.", "Zuletzt versucht um {}.";
    try_again => "Try again", "Noch einmal versuchen";
    fingerprint_title => "Another certificate than expected", "Anderes Zertifikat als erwartet";
    fingerprint_what => "The server behind the gate shows a different certificate. Do not enter your password.",
        "Der Server hinter dem Gate zeigt ein anderes Zertifikat. Geben Sie Ihr Passwort nicht ein.";
    fingerprint_do => "Tell your administrator. The gate lets nothing through until the certificate is confirmed.",
        "Sagen Sie der Administration Bescheid. Das Gate lässt nichts durch, bis das Zertifikat bestätigt ist.";
    fingerprint_admin => "If you renewed the certificate yourself, compare the new value on the node and confirm it there:",
        "Falls Sie das Zertifikat selbst erneuert haben, vergleichen Sie den neuen Wert auf dem Knoten und bestätigen Sie ihn dort:";
    fingerprint_expected => "Expected", "Erwartet";
    fingerprint_found => "Found", "Vorgefunden";
    node_refused(address: &str) => "The node {address} refuses connections.",
        "Der Knoten {address} lehnt Verbindungen ab.";
    node_timeout(address: &str) => "The node {address} does not answer in time.",
        "Der Knoten {address} antwortet nicht rechtzeitig.";
    node_broken_tls(address: &str) => "The node {address} does not complete a secure connection.",
        "Mit dem Knoten {address} kommt keine sichere Verbindung zustande.";
    node_fingerprint(address: &str) => "The node {address} shows a different certificate. The gate sends nothing there.",
        "Der Knoten {address} zeigt ein anderes Zertifikat. Das Gate sendet nichts dorthin.";
    node_down_since => "Since", "Seit";
    bad_request_title => "Request not understood", "Anfrage nicht verstanden";
    bad_request_what => "The gate could not make sense of what the browser sent.", "Das Gate wurde aus dem, was der Browser gesendet hat, nicht klug.";
    bad_request_do => "Go back, reload the page and try again.", "Gehen Sie zurück, laden Sie die Seite neu und versuchen Sie es noch einmal.";
    cross_site_title => "Sent from elsewhere", "Von anderswo gesendet";
    cross_site_what => "This form was sent by another site, so the gate did not act on it.",
        "Dieses Formular kam von einer anderen Website, darum hat das Gate nichts getan.";
    method_title => "Not that way", "So nicht";
    method_what => "This page does not take requests of that kind.", "Diese Seite nimmt Anfragen dieser Art nicht an.";
    body_title => "Too large", "Zu groß";
    body_what(limit: &str) => "The request is larger than {limit}, the most that the gate takes here.",
        "Die Anfrage ist größer als {limit}; mehr nimmt das Gate hier nicht an.";
    uri_title => "Address too long", "Adresse zu lang";
    uri_what(limit: &str) => "The address of the page is longer than {limit}, the most that the gate takes.",
        "Die Adresse der Seite ist länger als {limit}; mehr nimmt das Gate nicht an.";
    head_title => "Too many fields", "Zu viele Felder";
    head_what(limit: &str) => "The fields of the request are more than 100 or larger than {limit}, the most that the gate takes. Often the cookies of this site have grown too large.",
        "Die Felder der Anfrage sind mehr als 100 oder größer als {limit}; mehr nimmt das Gate nicht an. Oft sind die Cookies dieser Website zu groß geworden.";
    head_upstream => "The fields of the request are larger than Proxmox VE takes. Often the cookies of this site have grown too large.",
        "Die Felder der Anfrage sind größer, als Proxmox VE annimmt. Oft sind die Cookies dieser Website zu groß geworden.";
    head_do => "Delete the cookies of this site and try again.", "Löschen Sie die Cookies dieser Website und versuchen Sie es noch einmal.";
    timeout_title => "Took too long", "Hat zu lange gedauert";
    timeout_what => "The request did not arrive in time.", "Die Anfrage kam nicht rechtzeitig an.";
    timeout_do => "Check your connection and try again.", "Prüfen Sie Ihre Verbindung und versuchen Sie es noch einmal.";
    store_title => "The gate cannot decide now", "Das Gate kann gerade nicht entscheiden";
    store_what => "It cannot read its records, and lets nobody through until it can.",
        "Es kann seine Aufzeichnungen nicht lesen und lässt so lange niemanden durch.";
    store_do => "Try again in a moment. If it lasts, tell your administrator.",
        "Versuchen Sie es gleich noch einmal. Wenn es anhält, sagen Sie der Administration Bescheid.";
    internal_title => "A fault in the gate", "Ein Fehler im Gate";
    internal_what => "Something went wrong here; nothing was let through.", "Hier ist etwas schiefgegangen; nichts wurde durchgelassen.";
    internal_do => "Try again. If it happens again, tell your administrator the reference below.",
        "Versuchen Sie es noch einmal. Wenn es wieder geschieht, nennen Sie der Administration die Kennung unten.";

    // What policy demands
    demand_title => "One more thing to set up", "Noch eines ist einzurichten";
    demanded_password => "To work here you need a password beside the codes of your app, or a passkey.",
        "Um hier zu arbeiten, brauchen Sie zu den Codes Ihrer App ein Passwort, oder einen Passkey.";
    demanded_passkey => "To work here you need a passkey or a security key. Codes are not enough: a false page could ask you for them too.",
        "Um hier zu arbeiten, brauchen Sie einen Passkey oder einen Sicherheitsschlüssel. Codes genügen nicht: Auch eine falsche Seite könnte danach fragen.";
    demanded_bound_key => "To work here you need a key that stays on one device: a security key, or a passkey that is not synchronised.",
        "Um hier zu arbeiten, brauchen Sie einen Schlüssel, der auf einem Gerät bleibt: einen Sicherheitsschlüssel oder einen Passkey, der nicht synchronisiert wird.";
    demanded_two_keys => "To work here you need two keys, passkeys or security keys, so that a lost one does not lock you out.",
        "Um hier zu arbeiten, brauchen Sie zwei Schlüssel, Passkeys oder Sicherheitsschlüssel, damit ein verlorener Sie nicht aussperrt.";
    demand_until => "You can go on without it until", "Ohne das geht es noch bis";
    demand_after => "After that, you set it up before you go on.", "Danach richten Sie es ein, bevor es weitergeht.";
    demand_set_up_password => "Set it up now", "Jetzt einrichten";
    demand_later => "Later: go on", "Später: weiter";
    demand_use_password => "That was right, and here it is not enough: a password is asked for as well.",
        "Das stimmte, genügt hier aber nicht: Ein Passwort gehört dazu.";
    demand_use_key => "The code was right, and here it is not enough. Sign in with your passkey or security key. If you have lost it, use a recovery code.",
        "Der Code stimmte, genügt hier aber nicht. Melden Sie sich mit Ihrem Passkey oder Sicherheitsschlüssel an. Haben Sie ihn verloren, verwenden Sie einen Wiederherstellungscode.";
    demand_use_bound_key => "That was right, and here it is not enough. Sign in with a key that stays on one device: a security key, or a passkey that is not synchronised. If you have lost it, use a recovery code.",
        "Das stimmte, genügt hier aber nicht. Melden Sie sich mit einem Schlüssel an, der auf einem Gerät bleibt: mit einem Sicherheitsschlüssel oder einem Passkey, der nicht synchronisiert wird. Haben Sie ihn verloren, verwenden Sie einen Wiederherstellungscode.";
    passkey_unbound => "This passkey works, and is kept on several devices. Here you need a key that stays on one device: a security key, or a passkey that is not synchronised.",
        "Dieser Passkey funktioniert, liegt aber auf mehreren Geräten. Hier brauchen Sie einen Schlüssel, der auf einem Gerät bleibt: einen Sicherheitsschlüssel oder einen Passkey, der nicht synchronisiert wird.";
    session_not_enough => "What is asked of you to work here has changed, or you are in another network now. Sign in again.",
        "Was hier von Ihnen verlangt wird, hat sich geändert, oder Sie sind jetzt in einem anderen Netz. Melden Sie sich wieder an.";
    not_from_here_title => "Not from here", "Nicht von hier";
    not_from_here => "That was right, but you may not sign in from this network.",
        "Das stimmte, aber von diesem Netz aus dürfen Sie sich nicht anmelden.";
    not_from_here_do => "If you use a VPN, connect it and try again.", "Wenn Sie ein VPN nutzen, verbinden Sie es und versuchen Sie es noch einmal.";
}

impl Language {
    /// All of them, in the order in which the pages offer them.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// Its tag (BCP 47), for the attribute `lang`, cookies and links.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// Its name in itself.
    #[must_use]
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
        }
    }

    /// The time of day to the second, in UTC: `14:02:31 UTC`.
    #[must_use]
    pub fn clock(self, at: Timestamp) -> String {
        utc(at).map_or_else(|| at.to_string(), |at| at.strftime("%H:%M:%S UTC").to_string())
    }

    /// The hour of a day, in UTC: `14:00 UTC`.
    #[must_use]
    pub fn hour_of_day(self, at: Timestamp) -> String {
        utc(at).map_or_else(|| at.to_string(), |at| at.strftime("%H:00 UTC").to_string())
    }

    /// The day, in UTC: `24 November 2026`, `24. November 2026`.
    #[must_use]
    pub fn date(self, at: Timestamp) -> String {
        let Some(at) = utc(at) else { return at.to_string() };
        let month = self.month(at.month());
        match self {
            Self::English => format!("{} {month} {}", at.day(), at.year()),
            Self::German => format!("{}. {month} {}", at.day(), at.year()),
        }
    }

    /// The day and time to the minute, in UTC.
    #[must_use]
    pub fn date_and_time(self, at: Timestamp) -> String {
        let date = self.date(at);
        utc(at).map_or(date.clone(), |at| format!("{date}, {}", at.strftime("%H:%M UTC")))
    }

    /// A span of time in its two largest units, rounded up to the next second: `4 minutes 10 seconds`.
    #[must_use]
    pub fn span(self, span: Duration) -> String {
        let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let units: [(u64, [&str; 2]); 3] = match self {
            Self::English => [
                (hours, ["hour", "hours"]),
                (minutes, ["minute", "minutes"]),
                (seconds, ["second", "seconds"]),
            ],
            Self::German => [
                (hours, ["Stunde", "Stunden"]),
                (minutes, ["Minute", "Minuten"]),
                (seconds, ["Sekunde", "Sekunden"]),
            ],
        };
        let parts: Vec<String> = units
            .into_iter()
            .skip_while(|(count, _)| *count == 0)
            .take(2)
            .filter(|(count, _)| *count > 0)
            .map(|(count, [one, many])| format!("{count} {}", if count == 1 { one } else { many }))
            .collect();
        if parts.is_empty() { format!("0 {}", units[2].1[1]) } else { parts.join(" ") }
    }

    /// A number of bytes: `64 KiB`, or `1000 B` where it is no whole number of KiB or MiB.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> String {
        const KIB: u64 = 1024;
        const MIB: u64 = 1024 * KIB;
        match bytes {
            0 => "0 B".to_owned(),
            bytes if bytes % MIB == 0 => format!("{} MiB", bytes / MIB),
            bytes if bytes % KIB == 0 => format!("{} KiB", bytes / KIB),
            bytes => format!("{bytes} B"),
        }
    }

    fn month(self, month: i8) -> &'static str {
        let names: [&str; 12] = match self {
            Self::English => [
                "January",
                "February",
                "March",
                "April",
                "May",
                "June",
                "July",
                "August",
                "September",
                "October",
                "November",
                "December",
            ],
            Self::German => [
                "Januar",
                "Februar",
                "März",
                "April",
                "Mai",
                "Juni",
                "Juli",
                "August",
                "September",
                "Oktober",
                "November",
                "Dezember",
            ],
        };
        usize::try_from(month - 1).ok().and_then(|month| names.get(month).copied()).unwrap_or_default()
    }
}

fn utc(at: Timestamp) -> Option<jiff::civil::DateTime> {
    let at = jiff::Timestamp::from_millisecond(at.millis()).ok()?;
    Some(jiff::tz::Offset::UTC.to_datetime(at))
}

/// The tables of all files.
#[cfg(test)]
const TABLES: &[&[(&str, &str, &str)]] =
    &[PHRASES, admin::PHRASES, clock::PHRASES, diagnostics::PHRASES, sessions::PHRASES];

#[cfg(test)]
impl Language {
    /// The names of all phrases.
    pub(super) fn phrases() -> impl Iterator<Item = &'static str> {
        all_phrases().map(|(name, ..)| *name)
    }
}

#[cfg(test)]
fn all_phrases() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    TABLES.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_phrase_is_empty_or_left_untranslated() {
        for (name, english, german) in all_phrases() {
            assert!(!english.trim().is_empty() && !german.trim().is_empty(), "{name}");
            // A few words are the same in both.
            assert!(
                english != german || ["apps", "code", "kind_passkey", "passkeys"].contains(name),
                "{name}: {english}"
            );
        }
    }

    #[test]
    fn both_languages_use_the_same_parameters() {
        let parameters = |text: &str| {
            let mut found: Vec<String> = text
                .split('{')
                .skip(1)
                .map(|rest| rest.split('}').next().unwrap_or_default().to_owned())
                .collect();
            found.sort();
            found
        };
        for (name, english, german) in all_phrases() {
            assert_eq!(parameters(english), parameters(german), "{name}");
        }
    }

    #[test]
    fn phrases_keep_to_typographic_apostrophes_and_quotes() {
        for (name, english, german) in all_phrases() {
            for text in [english, german] {
                assert!(!text.contains(['\'', '"', '<', '&']), "{name}: {text}");
                assert!(!text.contains("  ") && text.trim() == *text, "{name}: {text}");
            }
        }
    }

    #[test]
    fn a_span_is_told_in_its_two_largest_units() {
        #[rustfmt::skip]
        let table = [
            (0,      "0 seconds",            "0 Sekunden"),
            (1,      "1 second",             "1 Sekunde"),
            (60,     "1 minute",             "1 Minute"),
            (250,    "4 minutes 10 seconds", "4 Minuten 10 Sekunden"),
            (3600,   "1 hour",               "1 Stunde"),
            (3605,   "1 hour",               "1 Stunde"),
            (5400,   "1 hour 30 minutes",    "1 Stunde 30 Minuten"),
            (43_200, "12 hours",             "12 Stunden"),
        ];
        for (seconds, english, german) in table {
            let span = Duration::from_secs(seconds);
            assert_eq!(Language::English.span(span), english);
            assert_eq!(Language::German.span(span), german);
        }
        assert_eq!(
            Language::English.span(Duration::from_millis(1)),
            "1 second",
            "never zero while there is some left"
        );
    }

    #[test]
    fn times_are_told_in_utc() {
        let at = Timestamp::from_secs(1_795_528_951);

        assert_eq!(Language::English.clock(at), "14:02:31 UTC");
        assert_eq!(Language::English.date_and_time(at), "24 November 2026, 14:02 UTC");
        assert_eq!(Language::German.date_and_time(at), "24. November 2026, 14:02 UTC");
    }

    #[test]
    fn bytes_are_told_in_the_largest_whole_unit() {
        for (bytes, told) in [(0, "0 B"), (1000, "1000 B"), (65_536, "64 KiB"), (1_048_576, "1 MiB")] {
            assert_eq!(Language::English.bytes(bytes), told);
        }
    }
}
