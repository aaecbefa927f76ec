use super::*;

/// The bodies measured from real peers, with a real optsdata.
fn optsdata() -> OptsData {
    OptsData::new(Secret::new(vec![9; 32]), [7; 16], &format!("sha256:{}", "0".repeat(64))).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn wrap_body(parameters: &str) -> String {
    format!(
        r#"{{"op":"keywrap","keywrapparams":{{"ec":{{"Parameters":{parameters},"DecryptConfig":{{"Parameters":{{}}}}}},"optsdata":"{}"}},"keyunwrapparams":{{"dc":null,"annotation":null}}}}"#,
        base64(optsdata().raw().expose())
    )
}

fn unwrap_body(dc: &str) -> String {
    format!(
        r#"{{"op":"keyunwrap","keywrapparams":{{"ec":null,"optsdata":null}},"keyunwrapparams":{{"dc":{dc},"annotation":"{}"}}}}"#,
        base64(b"packet")
    )
}

fn recipients(parameters: &[&str]) -> Result<Recipients, String> {
    let list: Vec<_> = parameters.iter().map(|p| format!("\"{}\"", base64(p.as_bytes()))).collect();
    let body = wrap_body(&format!(r#"{{"holdfast":[{}],"pubkeys":["AAAA"]}}"#, list.join(",")));
    WrapRequest::parse(body.as_bytes()).unwrap().recipients("holdfast").map_err(|e| e.to_string())
}

#[test]
fn skopeos_wrap_request_parses() {
    let united = recipients(&["images+spare;env=prod", "other;team=a;env=prod"]).unwrap();
    assert_eq!(united.aliases, ["images", "spare", "other"]);
    assert_eq!(united.labels.iter().collect::<Vec<_>>(), [("env", "prod"), ("team", "a")]);
}

#[test]
fn enabled_leaves_the_choice_to_the_daemon() {
    assert_eq!(recipients(&["Enabled"]).unwrap(), Recipients::default());
}

#[test]
fn misshapen_parameters_are_told() {
    assert!(recipients(&["a;env=prod", "b;env=test"]).unwrap_err().contains("two different values"));
    assert!(recipients(&["a;env"]).unwrap_err().contains("name=value"));
    assert!(recipients(&["a b"]).unwrap_err().contains("an alias has"));
    assert!(recipients(&[";env=prod"]).unwrap_err().contains("an alias has"));
    assert!(recipients(&["a++b"]).unwrap_err().contains("an alias has"));
}

#[test]
fn another_providers_parameters_are_not_ours() {
    let body = wrap_body(r#"{"kp":["RW5hYmxlZA=="]}"#);
    let request = WrapRequest::parse(body.as_bytes()).unwrap();
    let error = request.recipients("holdfast").unwrap_err().to_string();
    assert!(error.contains("provider:holdfast:ALIAS"), "{error}");
}

#[test]
fn every_dc_that_peers_send_parses_and_private_keys_are_counted() {
    for (dc, count) in [
        ("null", 0),
        (r#"{"Parameters":null}"#, 0),
        (r#"{"Parameters":{}}"#, 0),
        (r#"{"Parameters":{"kp":["RW5hYmxlZA=="]}}"#, 0),
        (r#"{"Parameters":{"gpg-privatekeys":[""]}}"#, 0),
        (r#"{"Parameters":{"privkeys":["UEVN","UEVN"],"privkeys-passwords":["",""]}}"#, 2),
        (r#"{"Parameters":{"pkcs11-yamls":["UEVN"],"kp":["eA=="]}}"#, 1),
        (r#"[1,"x",{"privkeys":7}]"#, 1),
        (r#""junk""#, 0),
        ("-1.5e3", 0),
    ] {
        let request =
            UnwrapRequest::parse(unwrap_body(dc).as_bytes()).unwrap_or_else(|e| panic!("{dc}: {e}"));
        assert_eq!(request.private_values, count, "{dc}");
        assert_eq!(request.annotation, b"packet");
    }
}

#[test]
fn the_rust_clients_arrays_are_bytes_too() {
    let body = r#"{"op":"keyunwrap","keywrapparams":{},"keyunwrapparams":{"dc":{"Parameters":{}},"annotation":[112,107]}}"#;
    assert_eq!(UnwrapRequest::parse(body.as_bytes()).unwrap().annotation, b"pk");
}

#[test]
fn a_request_for_the_other_operation_is_refused() {
    assert!(WrapRequest::parse(unwrap_body("null").as_bytes()).is_err());
    assert!(UnwrapRequest::parse(wrap_body("{}").as_bytes()).is_err());
    assert!(UnwrapRequest::parse(b"{}").is_err());
    assert!(UnwrapRequest::parse(b"").is_err());
}

#[test]
fn an_error_never_quotes_what_was_sent() {
    let secret = "c2VjcmV0LWtleS1tYXRlcmlhbA";
    for body in [
        unwrap_body(&format!(r#"{{"Parameters":{{"privkeys":["{secret}"]"#)),
        format!(r#"{{"op":"{secret}"}}"#),
        format!(r#"{{"keyunwrapparams":"{secret}"}}"#),
        wrap_body("{}").replace("\"optsdata\":\"", &format!("\"optsdata\":\"{secret}")),
    ] {
        for error in [UnwrapRequest::parse(body.as_bytes()).err(), WrapRequest::parse(body.as_bytes()).err()]
        {
            let error = format!("{:?}", error.expect("refused"));
            assert!(!error.contains("c2Vj"), "{error}");
        }
    }
}

#[test]
fn answers_are_arrays_that_both_peers_take() {
    #[derive(Deserialize)]
    struct Answer {
        keyunwrapresults: Results,
    }
    #[derive(Deserialize)]
    struct Results {
        optsdata: Vec<u8>,
    }
    let answer: Answer = serde_json::from_slice(&unwrap_response(&optsdata())).unwrap();
    assert_eq!(answer.keyunwrapresults.optsdata, optsdata().raw().expose());
    assert_eq!(wrap_response(b"\x00\xff"), br#"{"keywrapresults":{"annotation":[0,255]}}"#);
}

#[test]
fn a_deep_request_is_an_error_and_not_a_stack_overflow() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(UnwrapRequest::parse(unwrap_body(&deep).as_bytes()).is_err());
}
