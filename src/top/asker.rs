//! Asks the probe once a second, in a thread of its own, so that keys need not wait for its answers.

use crate::control::client::{Client, ClientError};
use crate::control::flows::Flows;
use crate::control::query::FlowQuery;
use crate::control::request::Command;
use crate::control::status::Status;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

/// How often the probe is asked.
const EVERY: Duration = Duration::from_secs(1);

/// What the probe says.
#[derive(Debug)]
pub struct Snapshot {
    /// How it is.
    pub status: Status,
    /// The flows that were asked for.
    pub flows: Flows,
}

/// News: what the probe says, or why it says nothing.
pub type News = Result<Snapshot, String>;

/// The thread that asks.
pub struct Asker {
    wishes: Sender<FlowQuery>,
    news: Receiver<News>,
}

impl Asker {
    /// Asks for the first time, and then again and again. An error if there is no probe.
    pub fn start(path: Option<&Path>, query: FlowQuery) -> Result<Self, super::TopError> {
        let mut client = Client::connect(path)?;
        let (wishes, orders) = channel();
        let (tell, news) = channel();
        let _ = tell.send(Ok(snapshot(&mut client, &query)?));
        let path = path.map(Path::to_owned);
        let asking = move || go_on(path, client, query, &orders, &tell);
        thread::Builder::new().name("asker".to_owned()).spawn(asking)?;
        Ok(Self { wishes, news })
    }

    /// Asks for these flows from now on, and for the first time at once.
    pub fn ask(&self, query: FlowQuery) {
        // without the thread there is no news, which is told
        let _ = self.wishes.send(query);
    }

    /// The latest news, if there is any that was not heard.
    pub fn news(&self) -> Option<News> {
        match self.news.try_recv() {
            Ok(news) => Some(news),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Err(io::Error::other("the thread that asks has ended").to_string()))
            }
        }
    }
}

/// Until nobody listens any more.
fn go_on(
    path: Option<PathBuf>,
    client: Client,
    mut query: FlowQuery,
    orders: &Receiver<FlowQuery>,
    tell: &Sender<News>,
) {
    let mut client = Some(client);
    loop {
        match orders.recv_timeout(EVERY) {
            Ok(order) => query = orders.try_iter().last().unwrap_or(order),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let asked = match &mut client {
            Some(client) => snapshot(client, &query),
            None => Client::connect(path.as_deref()).and_then(|mut new| {
                let asked = snapshot(&mut new, &query);
                client = Some(new);
                asked
            }),
        };
        if asked.is_err() {
            client = None;
        }
        if tell.send(asked.map_err(|error| error.to_string())).is_err() {
            return;
        }
    }
}

fn snapshot(client: &mut Client, query: &FlowQuery) -> Result<Snapshot, ClientError> {
    let status = client.ask(Command::Status)?.status.ok_or_else(|| client.nothing())?;
    let flows = client.ask(Command::Flows(query.clone()))?.flows.ok_or_else(|| client.nothing())?;
    Ok(Snapshot { status: *status, flows })
}
