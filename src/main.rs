//! The program: arguments, log, exit code. What the commands do stands in `cli/`.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not errors; clap knows which is which.
            let code = if error.use_stderr() {
                cli::exit::USAGE
            } else {
                0
            };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(error) => {
                    cli::log::start(log::LevelFilter::Info);
                    leave(&cli::print::StdoutError::from(error).into())
                }
            };
        }
    };
    cli::log::start(arguments.log_level());
    match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => leave(&error),
    }
}

/// Tells what went wrong, but not to a reader that is gone.
fn leave(error: &anyhow::Error) -> ExitCode {
    let code = cli::exit::code(error);
    if code != cli::exit::READER_LEFT {
        log::error!("{error:#}");
    }
    ExitCode::from(code)
}
