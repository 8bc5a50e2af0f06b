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
            if error.print().is_err() {
                return ExitCode::from(cli::exit::SOFTWARE);
            }
            return ExitCode::from(code);
        }
    };
    cli::log::start(arguments.log_level());
    match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::from(cli::exit::code(&error))
        }
    }
}
