//! Words of the diagnostics page. What the checks find is in English, as on the command line.

use super::Language;

#[rustfmt::skip]
words! {
    diagnostics => "Diagnostics", "Diagnose";
    diagnostics_lead => "The checks that a running gate can make, made just now. “pvegate check” on the host makes more, and can mend file modes.",
        "Die Prüfungen, die ein laufendes Gate machen kann, eben gemacht. „pvegate check“ auf dem Host macht mehr und kann Dateirechte berichtigen.";
    checks => "Checks", "Prüfungen";
    check => "Check", "Prüfung";
    found => "What was found", "Befund";
    check_ok => "Fine", "In Ordnung";
    check_info => "For information", "Zur Kenntnis";
    check_warning => "Warning", "Warnung";
    check_problem => "Problem", "Fehler";
    checks_found(problems: usize, warnings: usize) => "Checks with a problem: {problems}. With a warning: {warnings}.",
        "Prüfungen mit einem Problem: {problems}. Mit einer Warnung: {warnings}.";
    checks_are_fine(count: usize) => "All {count} checks are fine.", "Alle {count} Prüfungen sind in Ordnung.";
    clocks => "Clocks", "Uhren";
    clock_agrees => "This device’s clock agrees with the gate’s.", "Die Uhr dieses Geräts stimmt mit der des Gates überein.";
    clock_without_script => "Compare it with this device’s clock.", "Vergleichen Sie sie mit der Uhr dieses Geräts.";
    check_again => "Check again", "Erneut prüfen";
}
