//! Parses the command line, does what it says, and exits with 0 (done), 1 (failed while running) or 2 (wrong usage).

use clap::Parser;
use nfweir::cli::{Cli, Command};
use nfweir::config::ConfigError;
#[cfg(feature = "top")]
use nfweir::top;
use nfweir::{check, daemon, demo, logging, read};
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(options) => match options.clone().resolve() {
            Ok(config) => {
                logging::start(config.syslog);
                report(daemon::run(&options, config).map_err(|error| vec![error]))
            }
            Err(error) => wrong_usage(&error),
        },
        Command::Check(options) => match options.with_usual_group().resolve() {
            Ok(config) => {
                logging::start(false);
                checked(check::check(&config))
            }
            Err(error) => wrong_usage(&error),
        },
        Command::Status(options) => asked(|| options.show()),
        Command::Flows(options) => asked(|| options.show()),
        #[cfg(feature = "top")]
        Command::Top(options) => asked(|| top::run(&options)),
        Command::Flush(options) => asked(|| options.flush()),
        Command::Stop(options) => asked(|| options.stop()),
        Command::Read(options) => match options.export.resolve(&[]) {
            Ok(config) => {
                logging::start(options.log.syslog());
                report(read::read(options.files, &config))
            }
            Err(error) => wrong_usage(&error),
        },
        Command::Rules(options) => match options.text() {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => wrong_usage(&error),
        },
        Command::Demo => {
            logging::start(false);
            report(demo::run().map_err(|error| vec![error]))
        }
    }
}

fn wrong_usage(error: &ConfigError) -> ExitCode {
    logging::start(false);
    log::error!("{error}");
    ExitCode::from(WRONG_USAGE)
}

/// Of a running probe.
fn asked<E: Display>(ask: impl FnOnce() -> Result<(), E>) -> ExitCode {
    logging::start(false);
    report(ask().map_err(|error| vec![error]))
}

/// By whether anything is wrong.
fn checked(wrong: io::Result<bool>) -> ExitCode {
    match wrong {
        Ok(true) => ExitCode::from(FAILED),
        wrong => report(wrong.map_err(|error| vec![format!("what was found cannot be printed: {error}")])),
    }
}

fn report<T>(result: Result<T, Vec<impl Display>>) -> ExitCode {
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(errors) => {
            errors.iter().for_each(|error| log::error!("{error}"));
            ExitCode::from(FAILED)
        }
    }
}
