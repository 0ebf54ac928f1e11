//! What is on the screen: the probe's latest news, and what the operator wants to see of them.

use super::asker::{News, Snapshot};
use super::filter;
use super::row::{Row, rows, talkers};
use crate::control::query::{FlowQuery, Limit, Sort};
use crate::control::rates::Rate;
use crate::control::status::Status;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::collections::VecDeque;

/// Flows that are asked for: enough to tell who sends most.
const FLOWS: u32 = 1000;
/// Seconds that are remembered: more than most terminals have columns.
const REMEMBERED: usize = 300;
/// Flows that a page is taken to have.
const PAGE: usize = 10;

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing but that the screen may look different.
    Draw,
    /// Other flows are wanted.
    Ask,
    /// That is all.
    Quit,
}

/// All that is shown.
#[derive(Debug, Default)]
pub struct Screen {
    /// How the probe was when it was last heard of.
    pub status: Status,
    /// The flows that were asked for.
    pub rows: Vec<Row>,
    /// How many there are.
    pub matched: u64,
    /// Who sends most of them.
    pub talkers: Vec<(String, u64)>,
    /// The rates of the last seconds.
    pub history: VecDeque<Rate>,
    /// Why nothing is heard of the probe.
    pub silence: Option<String>,
    /// What is being typed, to be the filter.
    pub typing: Option<String>,
    /// The filter as it was typed.
    pub filter: String,
    /// What is wrong with what was typed.
    pub wrong: Option<String>,
    /// Nothing changes until it goes on.
    pub paused: bool,
    /// The keys are explained.
    pub helps: bool,
    /// The first flow that is shown.
    pub first: usize,
    query: FlowQuery,
}

impl Screen {
    /// Of a probe of which nothing was heard yet.
    pub fn new() -> Self {
        let query = FlowQuery { limit: Limit::of(FLOWS), ..FlowQuery::default() };
        Self { query, ..Self::default() }
    }

    /// The flows that are wanted.
    pub fn query(&self) -> FlowQuery {
        self.query.clone()
    }

    /// What flows are sorted by.
    pub fn sort(&self) -> Sort {
        self.query.sort
    }

    /// Shows news, unless it is not to change.
    pub fn take(&mut self, news: News) {
        match news {
            _ if self.paused => {}
            Ok(Snapshot { status, flows }) => {
                self.history.push_back(status.rates.last_second);
                if self.history.len() > REMEMBERED {
                    self.history.pop_front();
                }
                self.rows = rows(&flows);
                self.talkers = talkers(&self.rows);
                self.first = self.first.min(self.rows.len().saturating_sub(1));
                (self.status, self.matched, self.silence) = (status, flows.matched, None);
            }
            Err(reason) => self.silence = Some(reason),
        }
    }

    /// Does what a key says.
    pub fn press(&mut self, key: KeyEvent) -> Effect {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Effect::Quit } else { Effect::Draw };
        }
        match self.typing.take() {
            Some(typed) => self.type_on(typed, key.code),
            None => self.command(key.code),
        }
    }

    fn command(&mut self, key: KeyCode) -> Effect {
        let last = self.rows.len().saturating_sub(1);
        match key {
            KeyCode::Char('q') => return Effect::Quit,
            // whatever else a key does, it ends the explanation
            _ if std::mem::take(&mut self.helps) => {}
            KeyCode::Esc if self.filter.is_empty() => return Effect::Quit,
            KeyCode::Esc => return self.type_on(String::new(), KeyCode::Enter),
            KeyCode::Char('s') => {
                self.query.sort = next(self.query.sort);
                self.first = 0;
                return Effect::Ask;
            }
            KeyCode::Char('/') => self.typing = Some(self.filter.clone()),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('?' | 'h') => self.helps = true,
            KeyCode::Up => self.first = self.first.saturating_sub(1),
            KeyCode::Down => self.first = (self.first + 1).min(last),
            KeyCode::PageUp => self.first = self.first.saturating_sub(PAGE),
            KeyCode::PageDown => self.first = (self.first + PAGE).min(last),
            KeyCode::Home => self.first = 0,
            KeyCode::End => self.first = last,
            _ => {}
        }
        Effect::Draw
    }

    /// Goes on typing the filter.
    fn type_on(&mut self, mut typed: String, key: KeyCode) -> Effect {
        self.wrong = None;
        match key {
            KeyCode::Esc => return Effect::Draw,
            KeyCode::Enter => match filter::parse(&typed, self.query()) {
                Ok(query) => {
                    (self.query, self.filter, self.first) = (query, typed, 0);
                    return Effect::Ask;
                }
                Err(reason) => self.wrong = Some(reason),
            },
            KeyCode::Backspace => drop(typed.pop()),
            KeyCode::Char(letter) => typed.push(letter),
            _ => {}
        }
        self.typing = Some(typed);
        Effect::Draw
    }
}

fn next(sort: Sort) -> Sort {
    match sort {
        Sort::Octets => Sort::Packets,
        Sort::Packets => Sort::Duration,
        Sort::Duration => Sort::Last,
        Sort::Last => Sort::First,
        Sort::First => Sort::Octets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(screen: &mut Screen, keys: &str) -> Vec<Effect> {
        let code = |letter| match letter {
            '\n' => KeyCode::Enter,
            '\x08' => KeyCode::Backspace,
            '\x1b' => KeyCode::Esc,
            letter => KeyCode::Char(letter),
        };
        keys.chars().map(|letter| screen.press(KeyEvent::from(code(letter)))).collect()
    }

    #[test]
    fn keys_do_what_they_say() {
        let mut screen = Screen::new();
        assert_eq!(press(&mut screen, "sp?x"), [Effect::Ask, Effect::Draw, Effect::Draw, Effect::Draw]);
        assert_eq!((screen.sort(), screen.paused, screen.helps), (Sort::Packets, true, false));
        assert_eq!(press(&mut screen, "ssss").len(), 4);
        assert_eq!(screen.sort(), Sort::Octets);
        assert_eq!(press(&mut screen, "q"), [Effect::Quit]);
        assert_eq!(press(&mut screen, "?q"), [Effect::Draw, Effect::Quit]);
        screen = Screen::new();
        assert_eq!(press(&mut screen, "\x1b"), [Effect::Quit]);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        press(&mut screen, "/");
        assert_eq!(screen.press(interrupt), Effect::Quit);
    }

    #[test]
    fn a_filter_is_typed_mended_and_taken_back() {
        let mut screen = Screen::new();
        press(&mut screen, "/udp 5q\n");
        assert_eq!((screen.typing.as_deref(), screen.query().port), (Some("udp 5q"), None));
        assert!(screen.wrong.as_ref().unwrap().contains("`5q` is no address"));
        assert_eq!(press(&mut screen, "\x083\n").pop(), Some(Effect::Ask));
        assert_eq!((screen.filter.as_str(), screen.query().port, &screen.wrong), ("udp 53", Some(53), &None));
        press(&mut screen, "/ 10.0.0.1\x1b");
        assert_eq!((screen.filter.as_str(), &screen.typing), ("udp 53", &None));
        assert_eq!(press(&mut screen, "\x1b"), [Effect::Ask]);
        assert_eq!((screen.filter.as_str(), screen.query().port), ("", None));
    }

    #[test]
    fn while_it_is_paused_nothing_changes() {
        let mut screen = Screen::new();
        let silence = || Err("gone".to_owned());
        press(&mut screen, "p");
        screen.take(silence());
        assert_eq!(screen.silence, None);
        press(&mut screen, "p");
        screen.take(silence());
        assert_eq!(screen.silence.as_deref(), Some("gone"));
    }
}
