//! The time that the functions of the hot path take: `cargo bench --bench gate_micro [-- NAME]`.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

mod hot;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .configure_from_args();
    for mut case in hot::GROUPS.iter().flat_map(|group| group()) {
        criterion.bench_function(case.name, |bencher| bencher.iter(&mut case.run));
    }
    criterion.final_summary();
}
