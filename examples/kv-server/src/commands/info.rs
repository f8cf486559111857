//! `INFO` and `DBSIZE`.

use std::fmt::Write as _;

use bytes::Bytes;
use chord::view::Status;

use crate::commands::Failure;
use crate::commands::connection::REDIS_VERSION;
use crate::resp::Reply;
use crate::server::Service;

const SECTIONS: &[&str] =
    &["server", "clients", "memory", "persistence", "stats", "replication", "keyspace", "chord"];

/// `DBSIZE`: asks every host.
pub(super) async fn dbsize(service: &Service, _args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let keys = service.ready()?.count().await?;
    reply.integer(i64::try_from(keys).unwrap_or(i64::MAX));
    Ok(())
}

/// `INFO [section ...]`
pub(super) async fn info(service: &Service, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let status = match service.node() {
        Some(node) => Some(node.status().await),
        None => None,
    };
    let wanted: Vec<String> =
        args[1..].iter().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
    let all = wanted.is_empty()
        || wanted.iter().any(|name| ["all", "default", "everything"].contains(&name.as_str()));
    let mut text = String::new();
    for name in SECTIONS {
        if all || wanted.iter().any(|wanted| wanted == name) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            section(name, service, status.as_ref(), &mut text);
        }
    }
    reply.bulk(text);
    Ok(())
}

fn section(name: &str, service: &Service, status: Option<&Status>, text: &mut String) {
    let mut title = name.to_owned();
    title[..1].make_ascii_uppercase();
    let _ = write!(text, "# {title}\r\n");
    let mut line = |field: &str, value: &dyn std::fmt::Display| {
        let _ = write!(text, "{field}:{value}\r\n");
    };
    let counters = service.counters();
    match name {
        "server" => {
            line("redis_version", &REDIS_VERSION);
            line("redis_mode", &"standalone");
            line("chord_kv_version", &env!("CARGO_PKG_VERSION"));
            line("os", &std::env::consts::OS);
            line("arch_bits", &usize::BITS);
            line("process_id", &std::process::id());
            line("tcp_port", &service.address().port());
            line("uptime_in_seconds", &service.uptime().as_secs());
        }
        "clients" => {
            line("connected_clients", &service.connected());
            line("maxclients", &service.settings().max_clients);
        }
        "memory" => {
            line("client_buffers_bytes", &service.budget().used());
            line("client_buffers_limit_bytes", &service.budget().limit());
            line("used_memory_dataset", &status.map_or(0, |status| status.bytes));
            line("maxmemory", &0);
        }
        "persistence" => {
            line("loading", &u8::from(status.is_none()));
            line("rdb_bgsave_in_progress", &0);
            line("aof_enabled", &0);
        }
        "stats" => {
            line("total_connections_received", &counters.accepted());
            line("total_commands_processed", &counters.commands());
            line("rejected_connections", &counters.rejected());
            line("total_error_replies", &counters.errors());
        }
        "replication" => {
            line("role", &"master");
            line("connected_slaves", &0);
        }
        "keyspace" => {
            if let Some(status) = status.filter(|status| status.keys > 0) {
                line("db0", &format!("keys={},expires=0,avg_ttl=0", status.keys));
            }
        }
        _ => chord_section(status, &mut line),
    }
}

fn chord_section(status: Option<&Status>, line: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
    let Some(status) = status else {
        line("state", &"joining");
        return;
    };
    line("state", &status.state);
    line("name", &status.name);
    line("endpoint", &status.endpoint);
    line("ring", &status.ring);
    line("ring_id", &status.ring_id);
    line("replicas", &status.replicas);
    line("virtual_nodes", &status.virtual_nodes.len());
    line("groups", &status.groups.len());
    line("transfers", &status.transfers);
    line("contacts", &status.contacts);
    line("operations", &status.counters.operations);
    line("served", &status.counters.served);
    line("calls", &status.counters.calls);
    line("call_failures", &status.counters.call_failures);
    line("redirected", &status.counters.redirected);
}
