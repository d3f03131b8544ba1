//! The program: arguments, runtime, exit code.

fn main() -> std::process::ExitCode {
    pvegate::admin::run().into()
}
