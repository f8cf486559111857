//! Against a server of which some keys cannot be had.

use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::cli::file;
use crate::resp::{Limits, Parser, Request};

const OK: &str = "+OK\r\n";
const DOWN: &str = "-CLUSTERDOWN its host is dead\r\n";
/// How long the workers of these tests go on without success.
const SHORT: Duration = Duration::from_millis(100);

/// A server that answers each request by what `answer` says; its address.
async fn server(answer: impl Fn(&Request) -> &'static str + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer.clone()));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, answer: impl Fn(&Request) -> &'static str) {
    let (mut parser, mut input) = (Parser::default(), BytesMut::new());
    let limits = Limits { max_bulk_bytes: 1 << 20, max_request_bytes: 1 << 20, authenticated: true };
    while stream.read_buf(&mut input).await.is_ok_and(|read| read > 0) {
        while let Some(request) = parser.next(&mut input, &limits).unwrap() {
            stream.write_all(answer(&request).as_bytes()).await.unwrap();
        }
    }
}

fn worker(address: String, task: Task) -> Worker {
    let mut worker = Worker::new(vec![address], None, task, ProgressBar::hidden());
    worker.patience = SHORT;
    worker
}

fn lines(text: String) -> Vec<Line> {
    file::parse(text.into()).unwrap()
}

/// More lines than a window has, of a host that is dead, and behind them as many of one that lives.
fn dead_and_alive() -> Vec<Line> {
    let dead = (0..2 * WINDOW_LINES).map(|i| format!("dead{i}\tv\n"));
    lines(dead.chain((0..2 * WINDOW_LINES).map(|i| format!("alive{i}\tv\n"))).collect())
}

#[tokio::test]
async fn lines_behind_those_of_a_dead_host_go_through() {
    let half = 2 * WINDOW_LINES as u64;
    for (task, good) in [(Task::Store, OK), (Task::Compare, "$1\r\nv\r\n")] {
        let address = server(move |request| if request[1].starts_with(b"dead") { DOWN } else { good }).await;
        let tally = worker(address, task).run(dead_and_alive()).await;
        assert_eq!((tally.good, tally.failed), (half, half), "{task:?}: {:?}", tally.failures);
        assert!(tally.failures[0].starts_with("line 1: CLUSTERDOWN"), "{:?}", tally.failures);
    }
}

#[tokio::test]
async fn lines_of_a_host_that_comes_back_go_through_in_the_end() {
    let refusals = Arc::new(Mutex::new(1000));
    let address = server(move |request| {
        let mut left = refusals.lock().unwrap();
        if *left == 0 || !request[1].starts_with(b"dead") {
            return OK;
        }
        *left -= 1;
        DOWN
    });
    let mut worker = worker(address.await, Task::Store);
    worker.patience = PATIENCE;
    let tally = worker.run(dead_and_alive()).await;
    assert_eq!((tally.good, tally.failed), (4 * WINDOW_LINES as u64, 0), "{:?}", tally.failures);
}

#[tokio::test]
async fn a_line_that_failed_does_not_undo_a_later_line_of_its_key() {
    let stored: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let address = server({
        let stored = stored.clone();
        move |request| {
            if request[2].as_ref() == b"early" {
                return DOWN;
            }
            stored.lock().unwrap().push(request[2].clone());
            OK
        }
    });
    let tally = worker(address.await, Task::Store).run(lines("k\tearly\nk\tlate\n".into())).await;
    assert_eq!((tally.good, tally.failed), (1, 0), "{:?}", tally.failures);
    assert_eq!(*stored.lock().unwrap(), ["late"]);
}

#[tokio::test]
async fn of_several_lines_of_a_key_that_failed_the_last_is_sent_again() {
    let received: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let address = server({
        let received = received.clone();
        move |request| {
            let mut received = received.lock().unwrap();
            received.push(request[2].clone());
            if received.len() > 2 { OK } else { DOWN }
        }
    });
    let tally = worker(address.await, Task::Store).run(lines("k\tearly\nk\tlate\n".into())).await;
    assert_eq!((tally.good, tally.failed), (1, 0), "{:?}", tally.failures);
    assert_eq!(*received.lock().unwrap(), ["early", "late", "late"]);
}

/// A pass over the lines of a dead host may take much longer than it is worth.
#[tokio::test]
async fn lines_are_sent_again_only_while_something_goes_through() {
    let asked: Arc<Mutex<usize>> = Arc::default();
    let address = server({
        let asked = asked.clone();
        move |_| {
            *asked.lock().unwrap() += 1;
            std::thread::sleep(Duration::from_millis(1));
            DOWN
        }
    });
    let count = 8 * WINDOW_LINES;
    let all = lines((0..count).map(|i| format!("dead{i}\tv\n")).collect());
    let tally = worker(address.await, Task::Store).run(all).await;
    assert_eq!((tally.good, tally.failed), (0, count as u64));
    assert!(tally.failures[0].starts_with("line 1: CLUSTERDOWN"), "{:?}", tally.failures);
    assert!(
        *asked.lock().unwrap() <= count + WINDOW_LINES,
        "each was tried once, and no further pass was made"
    );
}
