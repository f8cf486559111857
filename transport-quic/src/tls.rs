//! The settings of TLS and QUIC.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::certs::{CA_CERTIFICATE, CertError, Certificates, NODE_CERTIFICATE, dns_name, malformed};
use crate::config::QuicConfig;

/// The protocol of this crate's streams; a host that speaks another is refused in the handshake.
const ALPN: &[u8] = b"chord/1";

/// Streams that a peer may have open at once; the three lanes, and the large frames under way.
const MAX_STREAMS: u32 = 1024;

/// Bytes of one stream that may be under way unread. With it no stream can fill the windows below, whatever
/// the number of large frames that [`Slots`](crate::large::Slots) lets through, so none can stop another.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// The round trip assumed before the first is measured: a lost first packet is sent again after about three.
const INITIAL_RTT: Duration = Duration::from_millis(20);

/// Connection attempts that wait for the listener's attention, and what they may make us remember. More are ignored:
/// who was serious sends its first packet again. One takes about 2 KiB; at worst, if it was read together with a
/// sender's other packets, the 64 KiB of them all.
const MAX_INCOMING: usize = 1024;
const INCOMING_BUFFER_BYTES: u64 = 16 << 10;
const INCOMING_BUFFERS_BYTES: u64 = 1 << 20;

/// What an endpoint needs.
pub(crate) struct Settings {
    pub(crate) endpoint: EndpointConfig,
    pub(crate) server: quinn::ServerConfig,
    pub(crate) client: quinn::ClientConfig,
}

/// TLS 1.3 with certificates of our own authority at both ends and without resumption, so that every connection
/// begins with a full check of both.
pub(crate) fn settings(config: &QuicConfig) -> Result<Settings, CertError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificates = &config.certificates;
    let roots = Arc::new(roots(certificates)?);
    let chain = certificates.chain()?;
    check_own_certificate(certificates, &chain, &roots, &provider)?;

    let unusable = |error: rustls::Error| malformed(NODE_CERTIFICATE, error);
    let client_verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| malformed(CA_CERTIFICATE, error))?;
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(client_verifier)
        .with_single_cert(chain.clone(), certificates.key()?)
        .map_err(unusable)?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;

    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, certificates.key()?)
        .map_err(unusable)?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();

    let no_suite = |error: quinn::crypto::rustls::NoInitialCipherSuite| malformed(NODE_CERTIFICATE, error);
    let server = QuicServerConfig::try_from(server).map_err(no_suite)?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(Arc::new(transport(config)));
    server.max_incoming(MAX_INCOMING);
    server.incoming_buffer_size(INCOMING_BUFFER_BYTES);
    server.incoming_buffer_size_total(INCOMING_BUFFERS_BYTES);

    let client = QuicClientConfig::try_from(client).map_err(no_suite)?;
    let mut client = quinn::ClientConfig::new(Arc::new(client));
    let mut dialled = transport(config);
    dialled.keep_alive_interval(Some(config.keep_alive));
    client.transport_config(Arc::new(dialled));

    let mut endpoint = EndpointConfig::new(reset_key(certificates)?);
    endpoint.cid_generator(|| Box::new(RandomIds(SystemRandom::new())));
    Ok(Settings { endpoint, server, client })
}

fn transport(config: &QuicConfig) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(config.idle_timeout).expect("validated: at most a day");
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(u64::from(CONNECTION_WINDOW_BYTES))
        .max_idle_timeout(Some(idle))
        .initial_rtt(INITIAL_RTT);
    transport
}

fn roots(certificates: &Certificates) -> Result<RootCertStore, CertError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates.authorities()? {
        roots.add(authority).map_err(|error| malformed(CA_CERTIFICATE, error))?;
    }
    Ok(roots)
}

/// Others will refuse a certificate that this host's own authority did not issue; better to say so here.
fn check_own_certificate(
    certificates: &Certificates,
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<(), CertError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| malformed(CA_CERTIFICATE, error))?;
    let name = ServerName::try_from(dns_name(certificates.name()))
        .map_err(|error| malformed(NODE_CERTIFICATE, error))?;
    let (first, rest) = chain.split_first().ok_or_else(|| malformed(NODE_CERTIFICATE, "it is empty"))?;
    verifier
        .verify_server_cert(first, rest, &name, &[], UnixTime::now())
        .map(|_| ())
        .map_err(|error| malformed(NODE_CERTIFICATE, error))
}

/// The key of the tokens by which this host disowns connections that it does not know. It is the same after a
/// restart, so peers learn at the first packet that their connection to the process before is gone, and need
/// not wait for the idle timeout. The connection's id must not be rejected before: see [`RandomIds`]. Source: RFC 9000, section 10.3.2.
fn reset_key(certificates: &Certificates) -> Result<Arc<ring::hmac::Key>, CertError> {
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, certificates.key()?.secret_der());
    let derived = ring::hmac::sign(&secret, b"chord quic stateless reset");
    Ok(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, derived.as_ref())))
}

/// Connection ids without a mark of the process that drew them. Quinn's own carry one, and what does not carry the
/// mark of the running process it drops unanswered: a peer that talks to the process before would never learn of
/// the restart.
struct RandomIds(SystemRandom);

const ID_BYTES: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        self.0.fill(&mut id).expect("the system has randomness: the TLS keys were made with it");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
