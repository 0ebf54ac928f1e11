//! `manual DIR`: writes the man pages and the shells' completions into DIR, from the definitions that the program itself is
//! made of.

use clap::{Arg, ArgAction, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use nfweir::cli::Cli;
use nfweir::config::{SELECTOR_KEYS, file_options};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{env, process};

/// What the definitions do not say.
const MORE_OF_NFWEIR: &str = include_str!("nfweir.1.in");
const BEFORE_OPTIONS: &str = include_str!("nfweir.toml.5.in");
const EXAMPLE: &str = include_str!("../nfweir.toml");

fn main() -> io::Result<()> {
    let Some(dir) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("manual: name the folder that pages and completions go to");
        process::exit(2);
    };
    fs::create_dir_all(&dir)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "nfweir", &dir)?;
    }
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    for subcommand in command.get_subcommands() {
        page(subcommand).generate_to(&dir)?;
    }
    let mut main_page = File::create(dir.join("nfweir.1"))?;
    page(&command).render(&mut main_page)?;
    main_page.write_all(MORE_OF_NFWEIR.as_bytes())?;
    configuration(&dir)
}

fn page(command: &Command) -> Man {
    Man::new(command.clone()).manual("nfweir")
}

/// nfweir.toml(5).
fn configuration(dir: &Path) -> io::Result<()> {
    let mut page = Roff::new();
    page.control("SH", ["OPTIONS"]);
    for option in file_options() {
        let name = option.get_long().unwrap_or_default();
        entry(&mut page, name, &value(&option), &option.get_help().map(ToString::to_string).unwrap_or_default());
    }
    page.control("SH", ["SELECTORS"]);
    page.text([roman("What is to be said of the packets of rules with a prefix: a table [[selector]] for each prefix, below all options.")]);
    for (name, help) in SELECTOR_KEYS {
        entry(&mut page, name, "", help);
    }
    page.control("SH", ["EXAMPLE"]);
    page.text([roman("The file as it is installed:")]);
    page.control("PP", []).control("nf", []);
    EXAMPLE.lines().for_each(|line| {
        page.text([roman(line)]);
    });
    page.control("fi", []).control("SH", ["SEE ALSO"]);
    page.text([bold("nfweir"), roman("(1), "), bold("nfweir-run"), roman("(1)")]);
    let mut file = File::create(dir.join("nfweir.toml.5"))?;
    file.write_all(BEFORE_OPTIONS.as_bytes())?;
    page.to_writer(&mut file)
}

/// What stands behind the equals sign.
fn value(option: &Arg) -> String {
    let name = option.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    match option.get_action() {
        ArgAction::SetTrue => "true|false".to_owned(),
        ArgAction::Append => format!("{0}|[{0}, …]", name.trim_end_matches(",…")),
        _ => name,
    }
}

fn entry(page: &mut Roff, name: &str, value: &str, help: &str) {
    page.control("TP", []);
    match value {
        "" => page.text([bold(name)]),
        _ => page.text([bold(name), roman(" = "), italic(value)]),
    };
    page.text([roman(help)]);
}
