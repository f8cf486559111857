//! Who may talk to whom.

mod support;

use chord::transport::{Endpoint, Transport};
use chord_transport_quic::certs::{Authority, CertError, Certificates};
use chord_transport_quic::{QuicError, QuicTransport};
use support::{answer_with_name, ask, bind, config, unreachable};

fn at(endpoint: &Endpoint, name: &str) -> Endpoint {
    endpoint.with_name(name).expect("a host name")
}

/// `endpoint` without its name, and with another host in place of its own.
fn unnamed(endpoint: &Endpoint, host: &str) -> Endpoint {
    format!("quic://{host}:{}", endpoint.port()).parse().expect("an endpoint")
}

#[tokio::test]
async fn hosts_of_one_authority_know_each_other_by_name_whatever_it_looks_like() {
    let names = ["node_0", "-_-", "NODE-7", "node-7", "127", &"Z".repeat(63)];
    let certificates = Certificates::ephemeral(&names).unwrap();
    let server = bind(&certificates[0]).await;
    answer_with_name(&server);
    assert_eq!(server.endpoint().name(), Some("node_0"));
    for (name, certificates) in names.iter().zip(&certificates).skip(1) {
        let caller = bind(certificates).await;
        assert_eq!(ask(&caller, server.endpoint()).await.as_deref(), Ok(*name));
        answer_with_name(&caller);
        assert_eq!(ask(&server, caller.endpoint()).await.as_deref(), Ok("node_0"));
    }
}

#[tokio::test]
async fn a_host_of_another_authority_is_refused_as_caller_and_as_called() {
    let ours = Certificates::ephemeral(&["ours"]).unwrap();
    let theirs = Certificates::ephemeral(&["theirs"]).unwrap();
    let (our, their) = (bind(&ours[0]).await, bind(&theirs[0]).await);
    answer_with_name(&our);
    answer_with_name(&their);
    assert!(unreachable(ask(&our, their.endpoint()).await).contains("certificate"));
    assert!(unreachable(ask(&their, our.endpoint()).await).contains("certificate"));
    assert_eq!(ask(&our, our.endpoint()).await.as_deref(), Ok("ours"));
}

/// The caller of `a_host_of_another_authority...` notices the stranger itself; here it trusts both authorities,
/// so that only the called host can refuse.
#[tokio::test]
async fn the_called_host_refuses_a_stranger_before_anything_is_delivered() {
    let (ours, theirs) = (Authority::ephemeral().unwrap(), Authority::ephemeral().unwrap());
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let hosts: &[&str] = &[];
    ours.issue("server", hosts).unwrap().write(&dirs[0], false).unwrap();
    theirs.issue("stranger", hosts).unwrap().write(&dirs[1], false).unwrap();
    let read = |dir: &tempfile::TempDir, file| std::fs::read_to_string(dir.path().join(file)).unwrap();
    let both = read(&dirs[0], "ca.crt") + &read(&dirs[1], "ca.crt");
    let stranger = Certificates::from_pem(&both, &read(&dirs[1], "node.crt"), &read(&dirs[1], "node.key"));

    let server = bind(&Certificates::read(&dirs[0]).unwrap()).await;
    let stranger = bind(&stranger.unwrap()).await;
    let refused = unreachable(ask(&stranger, server.endpoint()).await);
    assert!(refused.contains("certificate") || refused.contains("authority"), "{refused}");
    let friend = bind(&ours.issue("friend", hosts).unwrap()).await;
    answer_with_name(&server);
    assert_eq!(ask(&friend, server.endpoint()).await.as_deref(), Ok("friend"));
}

#[tokio::test]
async fn dialling_one_host_and_reaching_another_fails() {
    let certificates = Certificates::ephemeral(&["caller", "server", "other"]).unwrap();
    let (caller, server) = (bind(&certificates[0]).await, bind(&certificates[1]).await);
    answer_with_name(&server);
    for wrong in ["other", "Server", "server_", "localhost"] {
        let refused = unreachable(ask(&caller, &at(server.endpoint(), wrong)).await);
        assert!(refused.contains("certificate"), "{refused}");
    }
    assert_eq!(ask(&caller, server.endpoint()).await.as_deref(), Ok("caller"));
}

#[tokio::test]
async fn without_a_name_the_address_is_verified() {
    let authority = Authority::ephemeral().unwrap();
    let server = bind(&authority.issue("server", &["127.0.0.1", "localhost"]).unwrap()).await;
    let elsewhere = bind(&authority.issue("elsewhere", &["10.0.0.1", "example.org"]).unwrap()).await;
    let caller = bind(&authority.issue("caller", &["127.0.0.1"]).unwrap()).await;
    answer_with_name(&server);
    answer_with_name(&elsewhere);
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(ask(&caller, &unnamed(server.endpoint(), host)).await.as_deref(), Ok("caller"));
        unreachable(ask(&caller, &unnamed(elsewhere.endpoint(), host)).await);
    }
    assert_eq!(ask(&caller, elsewhere.endpoint()).await.as_deref(), Ok("caller"));
}

#[tokio::test]
async fn endpoints_of_other_transports_and_of_no_port_are_unreachable() {
    let certificates = Certificates::ephemeral(&["caller"]).unwrap();
    let caller = bind(&certificates[0]).await;
    for wrong in ["zmq://peer@127.0.0.1:9", "quic://peer@127.0.0.1:0", "quic://peer@no-such-host.invalid:9"] {
        unreachable(ask(&caller, &wrong.parse().unwrap()).await);
    }
}

#[tokio::test]
async fn what_is_advertised_carries_the_name_and_the_port_listened_on() {
    let certificates = Certificates::ephemeral(&["host"]).unwrap();
    let mut config = config(&certificates[0]);
    config.listen = "quic://0.0.0.0:0".parse().unwrap();
    let refused = QuicTransport::bind(config.clone()).await;
    assert!(matches!(refused, Err(QuicError::InvalidConfig { field: "advertise", .. })), "{refused:?}");
    config.advertise = Some("quic://127.0.0.1:0".parse().unwrap());
    let transport = QuicTransport::bind(config.clone()).await.unwrap();
    assert_eq!(transport.endpoint().name(), Some("host"));
    assert_eq!(transport.endpoint().host(), "127.0.0.1");
    assert_ne!(transport.endpoint().port(), 0);
    config.advertise = Some("quic://proxy.example.org:4000".parse().unwrap());
    let transport = QuicTransport::bind(config).await.unwrap();
    assert_eq!(transport.endpoint().as_str(), "quic://host@proxy.example.org:4000");
}

#[tokio::test]
async fn a_configuration_that_makes_no_sense_is_refused_by_field() {
    let certificates = Certificates::ephemeral(&["host"]).unwrap();
    let good = config(&certificates[0]);
    good.validate().unwrap();
    type Change = fn(&mut chord_transport_quic::QuicConfig);
    let changes: [(&str, Change); 9] = [
        ("name", |c| c.name = "no name".into()),
        ("certificates", |c| c.name = "another".into()),
        ("listen", |c| c.listen = "zmq://127.0.0.1:0".parse().unwrap()),
        ("advertise", |c| c.advertise = Some("quic://another@127.0.0.1:1".parse().unwrap())),
        ("max_frame_bytes", |c| c.max_frame_bytes = 1000),
        ("max_in_flight", |c| c.max_in_flight = 0),
        ("accept_queue", |c| c.accept_queue = usize::MAX),
        ("max_connections", |c| c.max_connections = 0),
        ("keep_alive", |c| c.keep_alive = c.idle_timeout),
    ];
    for (field, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        match QuicTransport::bind(bad).await {
            Err(QuicError::InvalidConfig { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_certificate_that_the_own_authority_did_not_issue_is_refused_at_the_start() {
    let hosts: &[&str] = &[];
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for dir in &dirs {
        Authority::ephemeral().unwrap().issue("host", hosts).unwrap().write(dir, false).unwrap();
    }
    for (file, what) in [("ca.crt", "node.crt"), ("node.key", "node.crt")] {
        let mixed = tempfile::tempdir().unwrap();
        for name in ["ca.crt", "node.crt", "node.key"] {
            let from = if name == file { &dirs[1] } else { &dirs[0] };
            std::fs::copy(from.path().join(name), mixed.path().join(name)).unwrap();
        }
        let result = QuicTransport::bind(config(&Certificates::read(&mixed).unwrap())).await;
        let found = matches!(&result, Err(QuicError::Certificates(CertError::Malformed { what: found, .. })) if *found == what);
        assert!(found, "{file}: {result:?}");
    }
}
