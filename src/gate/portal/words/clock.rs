//! Words about clocks that do not agree.

use super::Language;

#[rustfmt::skip]
words! {
    app_clock => "Is your app’s clock right?", "Geht die Uhr Ihrer App richtig?";
    app_clock_lead => "Type the code that your authenticator app shows now. It signs you in to nothing.",
        "Geben Sie den Code ein, den Ihre Authenticator-App gerade zeigt. Er meldet Sie nirgends an.";
    app_clock_hint => "The six digits that your app shows now. This code is used up then.",
        "Die sechs Ziffern, die Ihre App gerade zeigt. Der Code ist danach verbraucht.";
    app_clock_check => "Check the clock", "Uhr prüfen";
    app_clock_right => "Your app’s clock is right: it agrees with the gate’s to half a minute.",
        "Die Uhr Ihrer App geht richtig: Sie stimmt auf eine halbe Minute mit der des Gates überein.";
    app_clock_was_refused => "A code of yours was refused lately.", "Ein Code von Ihnen wurde vor Kurzem abgelehnt.";
    app_is_ahead(span: &str) => "The clock of your app’s device is about {span} ahead of the gate’s.",
        "Die Uhr des Geräts mit Ihrer App geht gegenüber dem Gate etwa {span} vor.";
    app_is_behind(span: &str) => "The clock of your app’s device is about {span} behind the gate’s.",
        "Die Uhr des Geräts mit Ihrer App geht gegenüber dem Gate etwa {span} nach.";
    app_clock_set(clock: &str) => "Codes fail beyond 30 seconds. Have the device set its time by the network; the gate’s clock showed {clock}. If the device is right, tell your administrator that the gate is not.",
        "Ab 30 Sekunden Unterschied werden Codes abgelehnt. Lassen Sie das Gerät seine Zeit aus dem Netz beziehen; die Uhr des Gates zeigte {clock}. Geht das Gerät richtig, sagen Sie Ihrer Verwaltung, dass das Gate falsch geht.";
    app_clock_no_match => "That is no code of your app, nor was it within an hour. Check which entry of the app belongs to this gate.",
        "Das ist kein Code Ihrer App und war es innerhalb einer Stunde auch nicht. Prüfen Sie, welcher Eintrag der App zu diesem Gate gehört.";
    app_clock_locked => "There were too many wrong codes: no code is looked at for now.",
        "Es gab zu viele falsche Codes: Vorerst wird keiner angesehen.";
}
