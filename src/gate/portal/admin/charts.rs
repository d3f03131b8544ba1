//! The last 24 hours as charts, each with its numbers.

use std::time::Duration;

use super::super::{
    pages::{Chart, Colour, Drawing},
    words::Language,
};
use crate::{
    account::Method,
    recent::{Day, Hour, Latency},
};

/// Reasons that the drawing shows; the table has all.
const REASONS_DRAWN: usize = 8;

/// All of them.
pub(in crate::gate::portal) fn of(day: &Day, w: Language) -> Vec<Chart> {
    vec![sign_ins(day, w), refusals(day, w), latency(day, w), consoles(day, w)]
}

fn sign_ins(day: &Day, w: Language) -> Chart {
    let name = |word: &str| match Method::ALL.into_iter().find(|method| method.as_str() == word) {
        Some(Method::Totp) => w.kind_app().to_owned(),
        Some(Method::Passkey) => w.kind_passkey().to_owned(),
        Some(Method::SecurityKey) => w.security_key().to_owned(),
        Some(Method::Recovery) => w.recovery_code().to_owned(),
        None => w.other_method().to_owned(),
    };
    let bars: Vec<_> = day
        .sign_ins
        .iter()
        .map(|(word, count)| (name(word), vec![(count.succeeded, Colour::Good), (count.failed, Colour::Bad)]))
        .collect();
    let (succeeded, failed) =
        day.sign_ins.iter().fold((0, 0), |sum, (_, count)| (sum.0 + count.succeeded, sum.1 + count.failed));
    Chart {
        id: "sign-ins",
        title: w.chart_sign_ins().to_owned(),
        description: w.chart_sign_ins_told(succeeded, failed),
        drawing: Drawing::lying(&bars),
        heads: [w.method(), w.succeeded(), w.failed()].map(str::to_owned).to_vec(),
        rows: day
            .sign_ins
            .iter()
            .map(|(word, count)| vec![name(word), count.succeeded.to_string(), count.failed.to_string()])
            .collect(),
    }
}

fn refusals(day: &Day, w: Language) -> Chart {
    let drawn = day.refusals.iter().take(REASONS_DRAWN);
    let bars: Vec<_> = drawn.map(|(word, count)| ((*word).to_owned(), vec![(*count, Colour::Bad)])).collect();
    Chart {
        id: "refusals",
        title: w.chart_refusals().to_owned(),
        description: w.chart_refusals_told(day.refusals.iter().map(|(_, count)| count).sum()),
        drawing: Drawing::lying(&bars),
        heads: [w.reason(), w.count()].map(str::to_owned).to_vec(),
        rows: day.refusals.iter().map(|(word, count)| vec![(*word).to_owned(), count.to_string()]).collect(),
    }
}

fn latency(day: &Day, w: Language) -> Chart {
    let micros = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let series = |of: fn(&Latency) -> Duration| -> Vec<u64> {
        day.hours.iter().map(|hour| hour.latency.as_ref().map_or(0, |latency| micros(of(latency)))).collect()
    };
    let (p50, p99) = (series(|latency| latency.p50), series(|latency| latency.p99));
    let told = |micros| w.brief(Duration::from_micros(micros));
    Chart {
        id: "latency",
        title: w.chart_latency().to_owned(),
        description: day
            .latency
            .map_or_else(String::new, |all| w.chart_latency_told(&w.brief(all.p50), &w.brief(all.p99))),
        drawing: Drawing::standing(&[(p99, Colour::Quiet), (p50, Colour::Good)], told, ends(day, w)),
        heads: [w.hour(), w.requests(), w.half(), w.most_of_them()].map(str::to_owned).to_vec(),
        rows: day
            .hours
            .iter()
            .filter_map(|hour| {
                let latency = hour.latency?;
                let (p50, p99) = (w.brief(latency.p50), w.brief(latency.p99));
                Some(vec![w.hour_of_day(hour.began), latency.requests.to_string(), p50, p99])
            })
            .collect(),
    }
}

fn consoles(day: &Day, w: Language) -> Chart {
    let values = day.hours.iter().map(|hour| hour.consoles.into()).collect();
    let most = day.hours.iter().map(|hour| hour.consoles).max().unwrap_or(0);
    Chart {
        id: "consoles",
        title: w.chart_consoles().to_owned(),
        description: w.chart_consoles_told(most),
        drawing: Drawing::standing(&[(values, Colour::Good)], |most| most.to_string(), ends(day, w)),
        heads: [w.hour(), w.open_consoles()].map(str::to_owned).to_vec(),
        rows: day
            .hours
            .iter()
            .filter(|hour| hour.consoles > 0)
            .map(|hour| vec![w.hour_of_day(hour.began), hour.consoles.to_string()])
            .collect(),
    }
}

/// What stands below the first and the last column.
fn ends(day: &Day, w: Language) -> (String, String) {
    let first = day.hours.first().map(|Hour { began, .. }| w.hour_of_day(*began));
    (first.unwrap_or_default(), w.now().to_owned())
}
