//! Parses the command line, does what it says, and exits with 0 (done), 1 (failed while running) or 2 (wrong usage).

use clap::Parser;
use nfweir::cli::{Cli, Command};
use nfweir::{daemon, demo, logging, read};
use std::fmt::Display;
use std::process::ExitCode;

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(options) => match options.resolve() {
            Ok(config) => {
                logging::start(config.syslog);
                report(daemon::run(config).map_err(|error| vec![error]))
            }
            Err(error) => {
                logging::start(false);
                log::error!("{error}");
                ExitCode::from(WRONG_USAGE)
            }
        },
        Command::Read(options) => {
            logging::start(options.log.syslog());
            report(read::read(options.files, &options.export.resolve()))
        }
        Command::Demo => {
            logging::start(false);
            report(demo::run().map_err(|error| vec![error]))
        }
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
