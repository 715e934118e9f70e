use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::*;
use crate::config::document::Document;
use crate::config::read::read;
use crate::config::report::KeyPath;

/// What a type makes of texts: the text it shows, or its error.
fn each<T: FromStr<Err = ValueError> + Display>(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let shown = text.parse::<T>().map_or_else(|error| error.to_string(), |value| value.to_string());
        assert_eq!(shown, *expected, "{text:?}");
    }
}

fn from_yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let document = Document::parse("t", text).unwrap();
    let (value, report) = read::<T>(&document, &KeyPath::root());
    value.ok_or_else(|| report.to_string())
}

#[test]
fn sizes() {
    each::<ByteSize>(&[
        ("32MiB", "32MiB"),
        ("32 mib", "32MiB"),
        ("4k", "4KiB"),
        ("2G", "2GiB"),
        ("1t", "1TiB"),
        ("1024", "1KiB"),
        ("1500B", "1500"),
        ("0", "0"),
        ("10MB", "\"10MB\" could count by 1000 or by 1024; write \"10MiB\""),
        ("x", "\"x\" is not a size; write one such as \"32MiB\", \"4k\" or 512"),
        ("1.5G", "\"1.5G\" is not a size; write one such as \"32MiB\", \"4k\" or 512"),
        ("-1", "\"-1\" is not a size; write one such as \"32MiB\", \"4k\" or 512"),
        ("", "\"\" is not a size; write one such as \"32MiB\", \"4k\" or 512"),
        ("99999999T", "\"99999999T\" is too large; write at most \"16777215TiB\""),
        ("18446744073709551616", "\"18446744073709551616\" is too large; write at most \"16777215TiB\""),
    ]);
    assert_eq!("16777215TiB".parse::<ByteSize>().unwrap().bytes(), 16_777_215 << 40);
    assert_eq!(ByteSize::from_mib(2), ByteSize::from_kib(2048));
}

#[test]
fn spans() {
    let not = |text: &str| format!("{text:?} is not a duration; write one such as \"5s\", \"250ms\" or \"1h30m\"");
    each::<Span>(&[
        ("250ms", "250ms"),
        ("5s", "5s"),
        ("60m", "1h"),
        ("2h", "2h"),
        ("1d", "1d"),
        ("1h30m", "1h30m"),
        ("90s500ms", "1m30s500ms"),
        ("0s", "0s"),
        ("0ms", "\"0ms\" is zero; write \"0s\" if that is meant"),
        ("5", "\"5\" has no unit; write \"5s\" for seconds or \"5ms\" for milliseconds"),
        ("30m1h", "\"30m1h\" has its units out of order; write the largest first, such as \"1h30m\""),
        ("1s1s", "\"1s1s\" has its units out of order; write the largest first, such as \"1h30m\""),
        ("366d", "\"366d\" is too long; write at most \"365d\""),
        ("99999999999999999999s", "\"99999999999999999999s\" is too long; write at most \"365d\""),
        ("1.5s", &not("1.5s")),
        ("5sec", &not("5sec")),
        ("s", &not("s")),
        ("1h30", &not("1h30")),
        ("-1s", &not("-1s")),
        ("", &not("")),
    ]);
    assert_eq!("1m".parse::<Span>().unwrap().duration(), Duration::from_secs(60));
    assert_eq!(
        from_yaml::<Span>("5").unwrap_err(),
        "t:1:1  \"5\" has no unit; write \"5s\" for seconds or \"5ms\" for milliseconds"
    );
}

#[test]
fn networks() {
    each::<Cidr>(&[
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1/32", "10.0.0.1"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        (
            "10.0.0.1/8",
            "\"10.0.0.1/8\" has bits set behind its prefix; write \"10.0.0.0/8\", or \"10.0.0.1\" for the one address",
        ),
        ("10.0.0.0/33", "\"10.0.0.0/33\" has no prefix length from 0 to 32; write one such as \"10.0.0.0/24\""),
        ("fd00::/x", "\"fd00::/x\" has no prefix length from 0 to 128; write one such as \"fd00::/64\""),
        ("local", "\"local\" is not a network; write one such as \"10.0.0.0/8\", or an address such as \"10.0.0.1\""),
    ]);
    let net: Cidr = "10.0.0.0/8".parse().unwrap();
    assert!(net.contains("10.1.2.3".parse().unwrap()));
    assert!(net.contains("::ffff:10.1.2.3".parse().unwrap()));
    assert!(!net.contains("11.1.2.3".parse().unwrap()));
}

#[test]
fn numbers_and_flags() {
    let not = |text: &str| format!("{text:?} is not a percentage; write one from \"0%\" to \"100%\"");
    each::<Percent>(&[
        ("20%", "20%"),
        ("0.5%", "0.5%"),
        ("0.050 %", "0.05%"),
        ("100%", "100%"),
        ("20", "\"20\" has no percent sign; write \"20%\""),
        ("101%", &not("101%")),
        ("100.001%", &not("100.001%")),
        ("-1%", &not("-1%")),
        ("%", &not("%")),
        ("0.0001%", &not("0.0001%")),
    ]);
    assert!((Percent::new(20).ratio() - 0.2).abs() < 1e-12);
    assert_eq!(Percent::new(200), Percent::ALL);
    each::<Count>(&[
        ("7", "7"),
        (" 7 ", "7"),
        ("+7", "\"+7\" is not a count; write a whole number from 0 to 4294967295"),
        ("4294967296", "\"4294967296\" is not a count; write a whole number from 0 to 4294967295"),
    ]);
    for text in ["true", "Yes", "ON", "1", "'1'", "'on'"] {
        assert_eq!(from_yaml::<Flag>(text).unwrap(), Flag(true), "{text}");
    }
    for text in ["false", "no", "off", "0", "'FALSE'"] {
        assert_eq!(from_yaml::<Flag>(text).unwrap(), Flag(false), "{text}");
    }
    assert_eq!(from_yaml::<Flag>("2").unwrap_err(), "t:1:1  \"2\" is not a switch; write true or false");
    assert_eq!(from_yaml::<Flag>("[]").unwrap_err(), "t:1:1  expected true or false, found a list");
}

#[test]
fn secrets_are_never_shown() {
    let secret: Secret = from_yaml("hunter2").unwrap();
    assert_eq!(secret.expose(), "hunter2");
    assert_eq!(format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap()), "*** *** \"***\"");
    for text in ["12345", "1.5", "-4711", "true"] {
        assert_eq!(from_yaml::<Secret>(text).unwrap_err(), "t:1:1  a secret is text; put it in quotes");
    }
    assert!(from_yaml::<Secret>("''").unwrap_err().contains("the secret is empty"));
}

#[test]
fn urls() {
    let port = "has no sound port; write one from 1 to 65535, such as \":8080\"";
    let host = "has no sound host; write a name of letters, digits and dashes, or an address";
    let character = "has a character in its path that a URL can't hold; write it as % and two hexadecimal digits";
    let address = "has no sound IPv4 address; write four numbers from 0 to 255, such as \"10.0.0.1\"";
    let query = "has a query or fragment; write it without";
    let dots = "has \".\" or \"..\" in its path; write the path it leads to";
    let wrong = |text: &str, why: &str| (text.to_owned(), format!("{text:?} {why}"));
    let right = |text: &str, shown: &str| (text.to_owned(), shown.to_owned());
    let cases = [
        right("http://10.0.0.1:9186", "http://10.0.0.1:9186"),
        right("HTTPS://Name.Internal/", "https://Name.Internal"),
        right("http://[::1]:80/a/b/", "http://[::1]:80/a/b"),
        right("http://my_svc/a%20b//c;x=1", "http://my_svc/a%20b//c;x=1"),
        right("http://name.:8080", "http://name.:8080"),
        wrong("10.0.0.1:9186", "has no scheme; write \"http://10.0.0.1:9186\""),
        wrong("//x", "has no scheme; write \"http://x\""),
        wrong("ftp://x", "has the scheme \"ftp\"; write \"http\" or \"https\""),
        wrong("http://", "has no host; write one behind the \"://\""),
        wrong("http://:80", "has no host; write one behind the \"://\""),
        wrong("http://a b", host),
        wrong("http://a..b", host),
        wrong("http://é", host),
        wrong("http://10.0.0.256", address),
        wrong("http://10.1", address),
        wrong("http://x:0", port),
        wrong("http://x:", port),
        wrong("http://x:+80", port),
        wrong("http://x:65536", port),
        wrong("http://[::1]x", port),
        wrong("http://[x]", "has no IPv6 address in its brackets; write one such as \"http://[::1]:80\""),
        wrong("http://fd00::1", "has an IPv6 address without brackets; write \"[fd00::1]\""),
        wrong("http://x/?a", query),
        wrong("http://x#a", query),
        wrong("http://x/a b", character),
        wrong("http://x/%zz", character),
        wrong("http://x/%2", character),
        wrong("http://x\\a", character),
        wrong("http://x/a/../b", dots),
        wrong("", "is not a URL; write one such as \"http://10.0.0.1:8080\""),
    ];
    for (text, expected) in &cases {
        each::<HttpUrl>(&[(text, expected)]);
    }
    let url: HttpUrl = "https://[fd00::1]/Base/".parse().unwrap();
    assert_eq!((url.authority(), url.host(), url.port(), url.base_path()), ("[fd00::1]", "fd00::1", 443, "/Base"));
    assert!(url.is_https());
    let url: HttpUrl = "http://X:080".parse().unwrap();
    assert_eq!((url.authority(), url.host(), url.port(), url.base_path()), ("X:080", "X", 80, ""));
    let error = "http://u:p@x".parse::<HttpUrl>().unwrap_err().to_string();
    assert!(error.starts_with("\"***@x\" has a user in it"), "{error}");
}

#[test]
fn words_of_http() {
    each::<HeaderName>(&[
        ("X-Request-Id", "x-request-id"),
        ("x_y", "x_y"),
        ("Host:", "\"Host:\" is not a header name; write \"Host\""),
        ("x y", "\"x y\" is not a header name; write \"x-y\""),
        ("é", "\"é\" is not a header name; write letters, digits and dashes, such as \"x-request-id\""),
        ("", "\"\" is not a header name; write letters, digits and dashes, such as \"x-request-id\""),
    ]);
    each::<StatusCode>(&[
        ("404", "404"),
        ("99", "\"99\" is not a status code; write one from 100 to 599"),
        ("600", "\"600\" is not a status code; write one from 100 to 599"),
    ]);
    assert_eq!(from_yaml::<StatusCode>("503").unwrap().as_u16(), 503);
    each::<Method>(&[
        ("GET", "GET"),
        ("PROPFIND", "PROPFIND"),
        ("get", "\"get\" is not a method; write \"GET\""),
        ("G T", "\"G T\" is not a method; write one such as \"GET\""),
        ("", "\"\" is not a method; write one such as \"GET\""),
    ]);
}

#[test]
fn addresses_to_listen_on() {
    let not = |text: &str| {
        format!("{text:?} is not an address to listen on; write one such as \"0.0.0.0:80\", \"[::1]:80\" or \":80\"")
    };
    each::<ListenAddress>(&[
        ("0.0.0.0:80", "0.0.0.0:80"),
        (":80", "[::]:80"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:8080", "[::1]:8080"),
        ("127.0.0.1", "\"127.0.0.1\" has no port; write it behind the address, such as \"127.0.0.1:80\""),
        ("::1", "\"::1\" has no port; write it behind the address, such as \"[::1]:80\""),
        ("[::1]", "\"[::1]\" has no port; write it behind the address, such as \"[::1]:80\""),
        ("80", "\"80\" is only a port; write \":80\" for all addresses, or \"127.0.0.1:80\""),
        ("*:80", "\"*:80\" has no address; write \":80\" for all addresses"),
        ("localhost:80", "\"localhost:80\" has a name for its address; write \"127.0.0.1:80\""),
        ("name:80", &not("name:80")),
        (":99999", &not(":99999")),
        ("", &not("")),
    ]);
}

#[derive(Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct All {
    size: ByteSize,
    span: Span,
    share: Percent,
    count: Count,
    flag: Flag,
    net: Cidr,
    listen: ListenAddress,
    url: HttpUrl,
    status: StatusCode,
    methods: crate::config::read::OneOrMany<Method>,
    headers: BTreeMap<HeaderName, String>,
}

#[test]
fn every_type_is_read_from_yaml_and_has_a_schema() {
    let text = "size: 4096\nspan: 5s\nshare: 20%\ncount: '3'\nflag: on\nnet: 10.0.0.0/8\nlisten: :80\nurl: http://x\nstatus: '404'\n\
                methods: GET\nheaders: {X-A: b}\n";
    let all: All = from_yaml(text).unwrap();
    let back: All = from_yaml(&serde_json::to_string(&all).unwrap()).unwrap();
    assert_eq!(all, back);
    let error = from_yaml::<All>(&text.replace("X-A", "X A").replace("GET", "get").replace("4096", "[]")).unwrap_err();
    assert_eq!(
        error,
        "t:1:7  size: expected a size such as \"32MiB\", found a list\n\
         t:10:10  methods: \"get\" is not a method; write \"GET\"\n\
         t:11:11  headers.\"X A\": \"X A\" is not a header name; write \"X-A\""
    );
    let schema = serde_json::to_value(schemars::schema_for!(All)).unwrap();
    assert_eq!(schema["$defs"]["Span"]["type"], "string");
    assert_eq!(schema["properties"]["methods"]["anyOf"][1]["type"], "array");
}

fn round_trip<T: FromStr<Err = ValueError> + Display + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    prop_assert_eq!(&value.to_string().parse::<T>().unwrap(), value);
    Ok(())
}

/// A text that parses is shown in a form that parses as the same value.
fn stable<T: FromStr<Err = ValueError> + Display + PartialEq + Debug>(text: &str) -> Result<(), TestCaseError> {
    text.parse::<T>().map_or(Ok(()), |value| round_trip(&value))
}

proptest! {
    #[test]
    fn what_is_shown_is_read_back(bytes: u64, ms in 0..=365 * 86_400_000_u64, thousandths in 0..=100_000_u32, address: std::net::IpAddr, prefix: u8, port: u16) {
        round_trip(&ByteSize::from_bytes(bytes))?;
        round_trip(&ByteSize::from_kib(bytes >> 10))?;
        round_trip(&Span::from_millis(ms))?;
        let share: Percent = format!("{}.{:03}%", thousandths / 1000, thousandths % 1000).parse().unwrap();
        round_trip(&share)?;
        let net = ipnet::IpNet::new(address, prefix % 33).unwrap().trunc();
        round_trip(&net.to_string().parse::<Cidr>().unwrap())?;
        round_trip(&ListenAddress::from(std::net::SocketAddr::from((address, port))))?;
        round_trip(&Count(u32::from(port)))?;
    }

    #[test]
    fn any_text_is_a_value_or_refused(text in "(https?://)?[a-zA-Z0-9.:/%\\[\\]-]{0,16}|\\PC{0,12}|[0-9]{1,3}[a-zA-Z%]{0,3}") {
        stable::<ByteSize>(&text)?;
        stable::<Span>(&text)?;
        stable::<Percent>(&text)?;
        stable::<Count>(&text)?;
        stable::<Flag>(&text)?;
        stable::<Cidr>(&text)?;
        stable::<ListenAddress>(&text)?;
        stable::<HttpUrl>(&text)?;
        stable::<HeaderName>(&text)?;
        stable::<StatusCode>(&text)?;
        stable::<Method>(&text)?;
    }
}
