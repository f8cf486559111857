//! The transport that a node's options ask for.

use std::sync::Arc;

use chord::transport::Transport;
use chord_transport_quic::certs::Certificates;
use chord_transport_quic::{QuicConfig, QuicError, QuicTransport};
use chord_transport_zmq::{ZmqConfig, ZmqError, ZmqTransport};

use crate::cli::{Exit, NodeArgs};

/// Listens as `args` say.
///
/// # Errors
/// [`Exit::Usage`] for what the operator must change, [`Exit::Failure`] for what the system refused.
pub(super) async fn bind(args: &NodeArgs) -> Result<Arc<dyn Transport>, Exit> {
    match args.listen.scheme() {
        "quic" => quic(args).await,
        "zmq" => zmq(args).await,
        "mem" => {
            Err(Exit::Usage("mem:// joins nodes of one process: it is there in `chord-kv demo` only".into()))
        }
        other => Err(Exit::Usage(format!("--listen: unknown scheme {other}://, expected quic:// or zmq://"))),
    }
}

async fn quic(args: &NodeArgs) -> Result<Arc<dyn Transport>, Exit> {
    let Some(dir) = &args.certs else {
        return Err(Exit::Usage(format!(
            "quic:// needs certificates. Make them:\n\n  \
             chord-kv certs ca --dir ca\n  \
             chord-kv certs node --ca ca --out certs/{name} --name {name} --host {host}\n\n\
             and give --certs certs/{name}",
            name = args.name,
            host = args.advertise.as_ref().unwrap_or(&args.listen).host(),
        )));
    };
    let certificates = Certificates::read(dir)?;
    let config = QuicConfig {
        name: args.name.clone(),
        advertise: args.advertise.clone(),
        ..QuicConfig::new(args.listen.clone(), certificates)
    };
    match QuicTransport::bind(config).await {
        Ok(transport) => Ok(Arc::new(transport)),
        Err(error @ QuicError::InvalidConfig { .. }) => Err(Exit::Usage(error.to_string())),
        Err(error) => Err(Exit::Failure(error.to_string())),
    }
}

async fn zmq(args: &NodeArgs) -> Result<Arc<dyn Transport>, Exit> {
    let config = ZmqConfig {
        name: args.name.clone(),
        listen: args.listen.clone(),
        advertise: args.advertise.clone(),
        trusted_network: args.trusted_network,
        ..ZmqConfig::default()
    };
    match ZmqTransport::bind(config).await {
        Ok(transport) => Ok(Arc::new(transport)),
        Err(error @ ZmqError::NotTrusted { .. }) => {
            Err(Exit::Usage(format!("{error} (--trusted-network; quic:// needs no such trust)")))
        }
        Err(error @ ZmqError::Invalid { .. }) => Err(Exit::Usage(error.to_string())),
        Err(error) => Err(Exit::Failure(error.to_string())),
    }
}
