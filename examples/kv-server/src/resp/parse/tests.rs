use proptest::prelude::*;

use super::*;

const OPEN: Limits = Limits { max_bulk_bytes: 1 << 20, max_request_bytes: 4 << 20, authenticated: true };
const CLOSED: Limits = Limits { authenticated: false, ..OPEN };

/// Every request that comes out when the input arrives in `pieces`, and the error that ended it.
fn parse(pieces: &[&[u8]], limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let (mut parser, mut buffer, mut requests) = (Parser::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&mut buffer, limits) {
                Ok(Some(request)) => requests.push(request.iter().map(|arg| arg.to_vec()).collect()),
                Ok(None) => break,
                Err(error) => return (requests, Some(error.to_string())),
            }
        }
    }
    (requests, None)
}

fn error(input: &[u8], limits: &Limits) -> String {
    parse(&[input], limits).1.unwrap_or_else(|| panic!("{:?} was read", String::from_utf8_lossy(input)))
}

#[test]
fn requests_are_read_in_both_forms() {
    let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n\r\n*0\r\n*-1\r\nset k \"v w\"\n*1\r\n$0\r\n\r\n";
    let (requests, error) = parse(&[input], &OPEN);
    assert_eq!(error, None);
    let expected: Vec<Vec<&[u8]>> =
        vec![vec![b"GET", b"a"], vec![b"PING"], vec![b"set", b"k", b"v w"], vec![b""]];
    assert_eq!(requests, expected);
}

#[test]
fn protocol_errors_have_the_texts_of_redis() {
    let cases: [(&[u8], &str); 13] = [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*9223372036854775808\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$1048577\r\n", "invalid bulk length"),
        (b"*1\r\n*1\r\n$1\r\na\r\n", "expected '$', got '*'"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*2\r\n$1\r\na\r\nfoo\r\n", "expected '$', got 'f'"),
        (b"*1\r\n\r\n", "expected '$', got '\r'"),
        (b"set \"a\r\n", "unbalanced quotes in request"),
        (b"set 'a'b\r\n", "unbalanced quotes in request"),
    ];
    for (input, text) in cases {
        assert_eq!(
            error(input, &OPEN),
            format!("Protocol error: {text}"),
            "{:?}",
            String::from_utf8_lossy(input)
        );
    }
}

#[test]
fn strangers_have_smaller_limits() {
    assert_eq!(error(b"*11\r\n", &CLOSED), "Protocol error: unauthenticated multibulk length");
    assert_eq!(error(b"*1\r\n$16385\r\n", &CLOSED), "Protocol error: unauthenticated bulk length");
    assert_eq!(parse(&[b"*10\r\n$16384\r\n"], &CLOSED), (vec![], None));
}

#[test]
fn lines_without_an_end_are_refused_at_64_kib() {
    let long = vec![b'1'; MAX_LINE_BYTES + 1];
    assert_eq!(error(&long, &OPEN), "Protocol error: too big inline request");
    assert_eq!(error(&[b"*", long.as_slice()].concat(), &OPEN), "Protocol error: too big mbulk count string");
    assert_eq!(
        error(&[b"*1\r\n$", long.as_slice()].concat(), &OPEN),
        "Protocol error: too big bulk count string"
    );
    let mut line = vec![b'a'; MAX_LINE_BYTES];
    line.push(b'\n');
    assert_eq!(parse(&[&line], &OPEN).0.len(), 1);
}

#[test]
fn a_request_is_bounded_as_a_whole() {
    let limits = Limits { max_request_bytes: 64, ..OPEN };
    assert_eq!(
        error(b"*3\r\n$20\r\naaaaaaaaaaaaaaaaaaaa\r\n$40\r\n", &limits),
        "Protocol error: too big request"
    );
}

#[test]
fn an_announced_length_reserves_nothing() {
    let (mut parser, mut buffer) = (Parser::default(), BytesMut::from(&b"*1048576\r\n$1048576\r\n"[..]));
    assert_eq!(parser.next(&mut buffer, &OPEN), Ok(None));
    assert_eq!(parser.held_bytes(), 0);
    assert_eq!(parser.missing_bytes(buffer.len()), (1 << 20) + 2);
}

#[test]
fn arguments_share_the_receive_buffer() {
    let mut buffer = BytesMut::from(&b"*1\r\n$4\r\nabcd\r\n"[..]);
    let before = buffer.as_ptr();
    let request = Parser::default().next(&mut buffer, &OPEN).unwrap().unwrap();
    assert_eq!(request[0].as_ptr(), before.wrapping_add(8));
}

fn encoded(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut out = Vec::new();
    for request in requests {
        out.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
        for arg in request {
            out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            out.extend_from_slice(arg);
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

proptest! {
    #[test]
    fn what_was_sent_is_what_is_read(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..6), 0..6),
    ) {
        let input = encoded(&requests);
        prop_assert_eq!(parse(&[&input], &OPEN), (requests, None));
    }

    #[test]
    fn any_split_of_any_input_gives_the_same(
        input in prop::collection::vec(
            prop_oneof![Just(b"*2\r\n".to_vec()), Just(b"*1\r\n".to_vec()), Just(b"$3\r\nabc\r\n".to_vec()),
                Just(b"$0\r\n\r\n".to_vec()), Just(b"ping \"x y\"\r\n".to_vec()), Just(b"\r\n".to_vec()),
                Just(b"\r".to_vec()), Just(b"*".to_vec()), Just(b"$".to_vec()), Just(b"$12\r".to_vec()),
                prop::collection::vec(any::<u8>(), 0..6)],
            0..12).prop_map(|pieces| pieces.concat()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect();
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        let whole = parse(&[&input], &OPEN);
        prop_assert_eq!(&parse(&pieces, &OPEN), &whole);
        prop_assert_eq!(&parse(&bytes, &OPEN), &whole);
    }

    #[test]
    fn random_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..300)) {
        parse(&[&input], &OPEN);
        parse(&[&input], &CLOSED);
    }
}
