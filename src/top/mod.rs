//! `nfweir top`: the running probe on a live screen, by its control socket alone.
//!
//! A thread asks the probe once a second (`asker`); what it says and what keys are pressed makes the `screen`, which
//! `view` draws. The terminal is put back as it was at the end, by a signal too, and where the program panics (the hook of
//! [`ratatui::init()`], which runs before a panic aborts).

mod asker;
mod filter;
mod panels;
mod plain;
mod row;
mod screen;
mod view;

use crate::control::AskOptions;
use crate::control::client::ClientError;
use asker::Asker;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::execute;
use screen::{Effect, Screen};
use std::io::{self, IsTerminal};
use std::panic;
use std::time::Duration;

/// How often it is looked for news, where no key is pressed.
const LOOK: Duration = Duration::from_millis(100);

/// Why there is no screen; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// Where it goes to, nothing can be drawn.
    #[error("top needs a terminal: `nfweir status` and `nfweir flows` print to whatever is there")]
    NoTerminal,
    /// There is no probe to look at.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The terminal does not serve.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] io::Error),
}

/// Shows the probe until the operator has seen enough.
pub fn run(options: &AskOptions) -> Result<(), TopError> {
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    // before there is another thread, which inherits it
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    ends.thread_block().map_err(io::Error::from)?;
    let signals =
        SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(io::Error::from)?;
    let mut screen = Screen::new();
    let asker = Asker::start(options.path(), screen.query())?;
    let mut terminal = ratatui::try_init()?;
    show_cursor_at_panic();
    let shown = show(&mut terminal, &mut screen, &asker, &signals);
    ratatui::try_restore()?;
    Ok(shown?)
}

/// What the hook of [`ratatui::init()`] leaves to destructors, of which there are none where a panic aborts.
fn show_cursor_at_panic() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let _ = execute!(io::stdout(), Show);
        hook(panic);
    }));
}

fn show(terminal: &mut DefaultTerminal, screen: &mut Screen, asker: &Asker, signals: &SignalFd) -> io::Result<()> {
    asker.news().into_iter().for_each(|news| screen.take(news));
    loop {
        terminal.draw(|frame| view::draw(frame, screen))?;
        loop {
            if signals.read_signal()?.is_some() {
                return Ok(());
            }
            if let Some(news) = asker.news() {
                screen.take(news);
                break;
            }
            if !event::poll(LOOK)? {
                continue;
            }
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                match screen.press(key) {
                    Effect::Quit => return Ok(()),
                    Effect::Ask => asker.ask(screen.query()),
                    Effect::Draw => {}
                }
            }
            break;
        }
    }
}
