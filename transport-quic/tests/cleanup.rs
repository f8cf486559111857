//! What is left of a transport. One test in a process of its own: it counts the sockets of the process.

mod support;

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use chord::transport::{Frame, Transport};
use chord_transport_quic::certs::Certificates;
use support::{answer_with_name, ask, bind, call};
use tokio::time::Instant;

/// The UDP sockets of this process.
fn udp_sockets() -> usize {
    let mut inodes = HashSet::new();
    for table in ["/proc/self/net/udp", "/proc/self/net/udp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        inodes.extend(
            text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9).map(str::to_owned)),
        );
    }
    let links =
        fs::read_dir("/proc/self/fd").expect("Linux").filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let inode = |link: &str| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    links.filter_map(|link| inode(&link.to_string_lossy())).filter(|inode| inodes.contains(inode)).count()
}

#[test]
fn closing_or_dropping_leaves_no_task_and_no_socket() {
    let certificates = Certificates::ephemeral(&["left", "right"]).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let tasks = || runtime.metrics().num_alive_tasks();
    assert_eq!((tasks(), udp_sockets()), (0, 0));

    for close in [true, false] {
        runtime.block_on(async {
            let (left, right) = (bind(&certificates[0]).await, bind(&certificates[1]).await);
            let servers = [answer_with_name(&left), answer_with_name(&right)];
            assert_eq!(ask(&left, right.endpoint()).await.as_deref(), Ok("left"));
            assert_eq!(ask(&right, left.endpoint()).await.as_deref(), Ok("right"));
            call(&left, right.endpoint(), Frame::new("", vec![1; 1 << 20])).await.unwrap();
            assert_eq!(udp_sockets(), 2);
            if close {
                left.close().await;
                assert_eq!(udp_sockets(), 1);
                right.close().await;
                assert_eq!(udp_sockets(), 0, "at once, while the closed transports still exist");
            }
            for server in servers {
                if !close {
                    server.abort();
                }
                let _ = server.await;
            }
        });
        let end = Instant::now() + Duration::from_secs(10);
        while tasks() + udp_sockets() > 0 {
            assert!(Instant::now() < end, "{} tasks and {} sockets are left", tasks(), udp_sockets());
            std::thread::yield_now();
        }
    }
}
